/* Mixes the channels of a block of decoded audio. */

#include "kernel.h"

#include <math.h>

static inline __attribute__((always_inline)) int32_t mix_channels(
    const void *block, int is_int16, int32_t n_frames, int32_t n_channels, float scale, float most, float *mono)
{
    int32_t n_bad = 0;
    for (int32_t n = 0; n < n_frames; n++) {
        float sum = 0;
        for (int32_t c = 0; c < n_channels; c++) {
            const ptrdiff_t at = (ptrdiff_t)n * n_channels + c;
            sum += is_int16 ? (float)((const int16_t *)block)[at] : ((const float *)block)[at];
        }
        sum *= scale;
        const int is_bad = !(fabsf(sum) <= most); /* true for NaN too */
        mono[n] = is_bad ? 0 : sum;
        n_bad += is_bad;
    }
    return n_bad;
}

int32_t mix(
    const void *block, int is_int16, int32_t n_frames, int32_t n_channels, float scale, float most, float *mono)
{
    /* The compiler can vectorise the loop if the number of channels is a constant. */
    if (n_channels == 1)
        return is_int16 ? mix_channels(block, 1, n_frames, 1, scale, most, mono)
                        : mix_channels(block, 0, n_frames, 1, scale, most, mono);
    if (n_channels == 2)
        return is_int16 ? mix_channels(block, 1, n_frames, 2, scale, most, mono)
                        : mix_channels(block, 0, n_frames, 2, scale, most, mono);
    return mix_channels(block, is_int16, n_frames, n_channels, scale, most, mono);
}
