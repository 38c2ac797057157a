/* For AVX2. */
#ifdef __x86_64__
#define LANES 8
#define TARGET __attribute__((target("avx2,fma")))
#define BAND_POWERS band_powers_8
#include "lanes.h"
#endif
