/* For every processor: vectors of 128 bits. */
#define LANES 4
#define TILE 6
#define TARGET
#define FORWARD forward_4
#define BACKWARD backward_4
#include "lanes.h"
