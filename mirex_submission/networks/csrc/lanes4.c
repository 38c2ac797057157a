/* Vectors of 128 bits, for every processor. */
#define LANES 4
#define TILE 6
#define TARGET
#define FORWARD forward_4
#define BACKWARD backward_4
#include "lanes.h"
