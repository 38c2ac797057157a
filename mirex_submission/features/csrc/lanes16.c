/* For AVX-512. */
#ifdef __x86_64__
#define LANES 16
#define TARGET __attribute__((target("avx512f,fma")))
#define BAND_POWERS band_powers_16
#include "lanes.h"
#endif
