/* For AVX-512. */
#ifdef __x86_64__
#define LANES 16
#define TILE 10
#define TARGET __attribute__((target("avx512f,fma")))
#define FORWARD forward_16
#define BACKWARD backward_16
#include "lanes.h"
#endif
