/* The functions of the kernel; module.c makes them a Python module. */

#include <stddef.h>
#include <stdint.h>

/* Largest number of floats in a vector, and alignment of the buffers of vectors in bytes. */
#define MOST_LANES 16
#define ALIGNMENT 64

/* Fills mono[n_frames] with the sums of the channels times `scale`. Sums that are NaN or beyond +-most become 0; their
 * number is returned. block : [n_frames, n_channels], int16 or float32. */
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
    const int32_t *slopes;         /* [n_bands + 2], the first bin of each slope, and the end of the last one */
    const float *falling, *rising; /* [window / 2 + 1], a bin's weight in the band before its slope and in that after it */
    float *out;                    /* [n_frames, n_bands] */
} band_work;

/* Mel band powers, 4, 8 or 16 frames at a time. `here` and `there` have room for window + 2 vectors each. */
void band_powers_4(const band_work *, void *here, void *there);
#ifdef __x86_64__
void band_powers_8(const band_work *, void *here, void *there);
void band_powers_16(const band_work *, void *here, void *there);
#endif
