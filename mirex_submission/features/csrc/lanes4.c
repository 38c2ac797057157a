/* Vectors of 128 bits, for every processor. */
#define LANES 4
#define TARGET
#define BAND_POWERS band_powers_4
#include "lanes.h"
