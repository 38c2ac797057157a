/* For AVX2. */
#ifdef __x86_64__
#define LANES 8
#define TILE 6
#define TARGET __attribute__((target("avx2,fma")))
#define FORWARD forward_8
#define BACKWARD backward_8
#include "lanes.h"
#endif
