/* The kernel's functions; module.c makes them Python's. */

#include <stddef.h>
#include <stdint.h>

/* The most floats that a vector has here, and the bytes at which buffers of vectors begin. */
#define MOST_LANES 16
#define ALIGNMENT 64

/* Fills mono[n_frames] with the channels' sums times `scale`; what is beyond +-most or NaN becomes 0 and is counted.
 * block : [n_frames, n_channels], int16 or float32. */
int32_t mix(
    const void *block, int is_int16, int32_t n_frames, int32_t n_channels, float scale, float most, float *mono);

typedef struct {
    float re, im;
} complex_float;

typedef struct {
    const void *samples; /* [n], int16 or float32 */
    int is_int16;
    ptrdiff_t n_frames, window, hop, n_bands;
    const float *weights;          /* [window] */
    const complex_float *roots;    /* [window], exp(-2 pi i k / window) */
    const int32_t *slopes;         /* [n_bands + 2], the first bin of each slope, and the end of the last */
    const float *falling, *rising; /* [window / 2 + 1], a bin's weight in the band before its slope and after it */
    float *out;                    /* [n_frames, n_bands] */
} band_work;

/* Mel band powers, 4, 8 or 16 frames side by side. `here` and `there` have room for window + 2 vectors each. */
void band_powers_4(const band_work *, void *here, void *there);
#ifdef __x86_64__
void band_powers_8(const band_work *, void *here, void *there);
void band_powers_16(const band_work *, void *here, void *there);
#endif
