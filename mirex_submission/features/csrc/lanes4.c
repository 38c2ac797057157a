/* For every processor: vectors of 128 bits. */
#define LANES 4
#define TARGET
#define BAND_POWERS band_powers_4
#include "lanes.h"
