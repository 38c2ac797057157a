/* Window, real FFT, power spectrum and Mel filters for LANES frames at a time. This file is included once for each number
 * of lanes.
 *
 * A vector has the same point of LANES frames. The first step transposes the samples; all others are plain arithmetic on
 * whole vectors, so a frame's result does not depend on its neighbours. The FFT is Stockham's self-sorting FFT, radix 4,
 * then 2 and 3 (C. Van Loan, Computational Frameworks for the Fast Fourier Transform, SIAM 1992, sections 1.7 and 2.4). It
 * has half as many points as the window: the even samples are the real parts, the odd samples the imaginary parts, and a
 * last step separates the two spectra (ibid., section 4.3).
 */

#include "kernel.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t vec_of_indices __attribute__((vector_size(4 * LANES)));
/* Samples at any address, aligned or not. */
typedef float loose_floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int16_t loose_shorts __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

typedef struct {
    vec re, im;
} complex_vec;

INLINE complex_vec add(complex_vec a, complex_vec b) { return (complex_vec){a.re + b.re, a.im + b.im}; }
INLINE complex_vec subtract(complex_vec a, complex_vec b) { return (complex_vec){a.re - b.re, a.im - b.im}; }
INLINE complex_vec times_minus_i(complex_vec a) { return (complex_vec){a.im, -a.re}; }
INLINE complex_vec times(complex_vec a, complex_float w)
{
    return (complex_vec){a.re * w.re - a.im * w.im, a.re * w.im + a.im * w.re};
}

/* Transposes LANES samples of LANES frames, from a row for each frame to a row for each sample, by log2(LANES) perfect
 * shuffles of the rows. */
INLINE void transpose(vec rows[LANES])
{
#if LANES == 16
    const vec_of_indices low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
#elif LANES == 8
    const vec_of_indices low = {0, 8, 1, 9, 2, 10, 3, 11};
#else
    const vec_of_indices low = {0, 4, 1, 5};
#endif
    const vec_of_indices high = low + LANES / 2;
    for (int stage = 1; stage < LANES; stage *= 2) {
        vec shuffled[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            shuffled[2 * i] = __builtin_shuffle(rows[i], rows[i + LANES / 2], low);
            shuffled[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + LANES / 2], high);
        }
        memcpy(rows, shuffled, sizeof shuffled);
    }
}

/* out[n] = sample n of the frames, times weights[n]. */
INLINE void load_frames(const void *const frames[LANES], int is_int16, const float *weights, ptrdiff_t window, vec *out)
{
    for (ptrdiff_t n = 0; n < window; n += LANES) {
        const vec weight = *(const loose_floats *)(weights + n);
        vec rows[LANES];
        for (int f = 0; f < LANES; f++) {
            const vec samples = is_int16
                ? __builtin_convertvector(*(const loose_shorts *)((const int16_t *)frames[f] + n), vec)
                : (vec) * (const loose_floats *)((const float *)frames[f] + n);
            rows[f] = samples * weight;
        }
        transpose(rows);
        memcpy(out + n, rows, sizeof rows);
    }
}

/* The passes of Stockham's FFT: `stride` interleaved transforms of `length` points become 4, 3 or 2 times as many
 * transforms with a fourth, a third or half of the points. roots[step * k] is exp(-2 pi i k / length). */
INLINE void radix4(
    const complex_vec *in, complex_vec *out, ptrdiff_t length, ptrdiff_t stride, const complex_float *roots, ptrdiff_t step)
{
    const ptrdiff_t part = stride * (length / 4);
    for (ptrdiff_t k = 0; k < length / 4; k++) {
        const complex_float w1 = roots[step * k], w2 = roots[step * 2 * k], w3 = roots[step * 3 * k];
        for (ptrdiff_t s = 0; s < stride; s++, in++) {
            complex_vec *to = out + 4 * stride * k + s;
            const complex_vec a = in[0], b = in[part], c = in[2 * part], d = in[3 * part];
            const complex_vec even = add(a, c), odd = subtract(a, c);
            const complex_vec even_2 = add(b, d), odd_2 = times_minus_i(subtract(b, d));
            to[0] = add(even, even_2);
            to[stride] = times(add(odd, odd_2), w1);
            to[2 * stride] = times(subtract(even, even_2), w2);
            to[3 * stride] = times(subtract(odd, odd_2), w3);
        }
    }
}

INLINE void radix2(
    const complex_vec *in, complex_vec *out, ptrdiff_t length, ptrdiff_t stride, const complex_float *roots, ptrdiff_t step)
{
    const ptrdiff_t part = stride * (length / 2);
    for (ptrdiff_t k = 0; k < length / 2; k++)
        for (ptrdiff_t s = 0; s < stride; s++, in++) {
            complex_vec *to = out + 2 * stride * k + s;
            to[0] = add(in[0], in[part]);
            to[stride] = times(subtract(in[0], in[part]), roots[step * k]);
        }
}

/* The last pass: transforms of 3 points, which need no other roots. */
INLINE void radix3(const complex_vec *in, complex_vec *out, ptrdiff_t stride)
{
    const float half = 0.5f, sine = 0.86602540378443864676f; /* of 120 degrees: -half and sine */
    for (ptrdiff_t s = 0; s < stride; s++) {
        const complex_vec a = in[s], b = in[s + stride], c = in[s + 2 * stride];
        const complex_vec sum = add(b, c), turned = times_minus_i(subtract(b, c));
        const complex_vec rest = {a.re - half * sum.re, a.im - half * sum.im};
        const complex_vec side = {sine * turned.re, sine * turned.im};
        out[s] = add(a, sum);
        out[s + stride] = add(rest, side);
        out[s + 2 * stride] = subtract(rest, side);
    }
}

INLINE void swap(complex_vec **a, complex_vec **b)
{
    complex_vec *const held = *a;
    *a = *b, *b = held;
}

/* Computes the power in bins 0 to `points` of a real signal of 2 * points samples, from the FFT of its pairs of samples. */
INLINE void real_power(const complex_vec *pairs, vec *power, ptrdiff_t points, const complex_float *roots)
{
    const vec first = pairs[0].re + pairs[0].im, last = pairs[0].re - pairs[0].im;
    power[0] = first * first;
    power[points] = last * last;
    for (ptrdiff_t k = 1; k <= points / 2; k++) {
        const complex_vec a = pairs[k], b = {pairs[points - k].re, -pairs[points - k].im};
        const complex_vec even = add(a, b), odd = times(times_minus_i(subtract(a, b)), roots[k]); /* both doubled */
        const complex_vec low = add(even, odd), high = subtract(even, odd);
        power[k] = 0.25f * (low.re * low.re + low.im * low.im);
        power[points - k] = 0.25f * (high.re * high.re + high.im * high.im);
    }
}

/* Sums the bins into bands. A bin is between the centres of two bands: on the falling slope of the first and on the rising
 * slope of the second. */
INLINE void mel_bands(const band_work *w, const vec *power, float *out, ptrdiff_t n_frames)
{
    vec risen = {0};
    for (ptrdiff_t slope = 0; slope <= w->n_bands; slope++) {
        vec falls = risen, rises = {0};
        for (ptrdiff_t k = w->slopes[slope]; k < w->slopes[slope + 1]; k++) {
            falls += power[k] * w->falling[k];
            rises += power[k] * w->rising[k];
        }
        for (ptrdiff_t f = 0; slope && f < n_frames; f++)
            out[f * w->n_bands + slope - 1] = falls[f];
        risen = rises;
    }
}

TARGET void BAND_POWERS(const band_work *w, void *buffer, void *other_buffer)
{
    const ptrdiff_t points = w->window / 2, frame_bytes = w->hop * (w->is_int16 ? 2 : 4);
    for (ptrdiff_t first = 0; first < w->n_frames; first += LANES) {
        const ptrdiff_t n_frames = w->n_frames - first < LANES ? w->n_frames - first : LANES;
        complex_vec *here = buffer, *there = other_buffer;
        const void *frames[LANES];
        for (ptrdiff_t f = 0; f < LANES; f++) /* unused lanes repeat the last frame */
            frames[f] = (const char *)w->samples + frame_bytes * (first + (f < n_frames ? f : n_frames - 1));
        if (w->is_int16)
            load_frames(frames, 1, w->weights, w->window, (vec *)here);
        else
            load_frames(frames, 0, w->weights, w->window, (vec *)here);

        ptrdiff_t length = points, stride = 1;
        for (; length % 4 == 0; length /= 4, stride *= 4, swap(&here, &there))
            radix4(here, there, length, stride, w->roots, 2 * stride);
        for (; length % 2 == 0; length /= 2, stride *= 2, swap(&here, &there))
            radix2(here, there, length, stride, w->roots, 2 * stride);
        for (; length == 3; length /= 3, swap(&here, &there))
            radix3(here, there, stride);

        real_power(here, (vec *)there, points, w->roots);
        mel_bands(w, (const vec *)there, w->out + first * w->n_bands, n_frames);
    }
}
