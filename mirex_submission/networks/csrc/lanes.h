/* One pipeline of a network, forward and backward, in vectors of LANES floats. This file is included once for each number
 * of lanes.
 *
 * Only the maximum of each pooling window has a gradient: in these networks one cell in 15 to 20. So the convolution is
 * never stored: TILE places of a window at a time are summed in registers, for two vectors of filters, and compared. Bias
 * and leaky ReLU are increasing functions, so they are applied to the maxima. A filter's gradient is the sum of the few
 * patches of the input that gave its maxima. The order of the sums does not depend on the lanes; but AVX2 and AVX-512
 * round once after a multiplication and an addition, other processors twice.
 */

#include "kernel.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define ROWS 5 /* rows of a filter's gradient at a time: so many independent sums hide the latency of an addition */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
/* Values at any address, aligned or not. */
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE mask choose(mask which, mask yes, mask no) { return (yes & which) | (no & ~which); }

/* Compares n_places places of a pooling window, `step` values apart. n_places is a constant, so that all sums stay in
 * registers. */
INLINE void compare_places(const int n_places, const pipeline *p, const float *x, ptrdiff_t step,
    const vec *kernel, int32_t first, vec best[2], mask places[2])
{
    vec sums[TILE][2];
    for (int n = 0; n < n_places; n++)
        sums[n][0] = sums[n][1] = (vec){0};
    for (ptrdiff_t r = 0; r < p->rows; r++, x += p->width)
        for (ptrdiff_t k = 0; k < p->columns; k++, kernel += 2) {
            const vec low = kernel[0], high = kernel[1];
#pragma GCC unroll 16
            for (int n = 0; n < n_places; n++) {
                const float value = x[k + n * step];
                sums[n][0] += value * low;
                sums[n][1] += value * high;
            }
        }
#pragma GCC unroll 16
    for (int n = 0; n < n_places; n++)
        for (int half = 0; half < 2; half++) {
            const mask larger = sums[n][half] > best[half];
            best[half] = (vec)choose(larger, (mask)sums[n][half], (mask)best[half]);
            places[half] = choose(larger, (mask){0} + (first + n), places[half]);
        }
}

TARGET void FORWARD(
    const pipeline *p, const float *kernel, const float *bias, float *out, int32_t *places, float *room)
{
    const ptrdiff_t taps = p->rows * p->columns, n_places = p->pool_rows * p->pool_columns;
    const ptrdiff_t step = p->pool_rows > 1 ? p->width : 1, n_windows = p->out_height * p->out_width;
    const ptrdiff_t n_tiles = (n_places + TILE - 1) / TILE, tile = (n_places + n_tiles - 1) / n_tiles;
    for (ptrdiff_t filter = 0; filter < p->filters; filter += 2 * LANES) {
        const ptrdiff_t n_filters = p->filters - filter < 2 * LANES ? p->filters - filter : 2 * LANES;
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            for (ptrdiff_t f = 0; f < 2 * LANES; f++)
                room[tap * 2 * LANES + f] = f < n_filters ? kernel[tap * p->filters + filter + f] : 0;
        for (ptrdiff_t w = 0; w < p->n * n_windows; w++) {
            const ptrdiff_t segment = w / n_windows, window = w % n_windows;
            const ptrdiff_t i = window / p->out_width, j = window % p->out_width;
            const float *const x
                = p->x + (segment * p->height + i * p->pool_rows) * p->width + j * p->pool_columns;
            vec best[2] = {(vec){0} - __builtin_inff(), (vec){0} - __builtin_inff()};
            mask at[2] = {{0}, {0}};
            for (ptrdiff_t place = 0; place < n_places; place += tile)
                switch (n_places - place < tile ? n_places - place : tile) {
#define CASE(N) \
    case N: \
        compare_places(N, p, x + place * step, step, (const vec *)room, (int32_t)place, best, at); \
        break;
                    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#if TILE > 6
                    CASE(7) CASE(8) CASE(9) CASE(10)
#endif
#undef CASE
                }
            float *const to = out + segment * p->out_stride + p->out_offset + window * p->filters + filter;
            for (ptrdiff_t f = 0; f < n_filters; f++) {
                const float value = best[f / LANES][f % LANES] + bias[filter + f];
                to[f] = value > 0 ? value : p->slope * value;
            }
            memcpy(places + w * p->filters + filter, at, 4 * n_filters);
        }
    }
}

/* Adds for each cell its weight times the input values from its start on, to n_rows rows (a constant) of a filter. */
INLINE void add_cells(const int n_rows, ptrdiff_t width, const float *x, ptrdiff_t n_cells, const int32_t *starts,
    const float *weights, float *sums, ptrdiff_t row_room)
{
    vec sum[ROWS];
    for (int r = 0; r < n_rows; r++)
        sum[r] = *(const loose_vec *)(sums + r * row_room);
    for (ptrdiff_t cell = 0; cell < n_cells; cell++) {
        const float *const from = x + starts[cell];
        const float weight = weights[cell];
#pragma GCC unroll 5
        for (int r = 0; r < n_rows; r++)
            sum[r] += weight * *(const loose_vec *)(from + r * width);
    }
    for (int r = 0; r < n_rows; r++)
        *(loose_vec *)(sums + r * row_room) = sum[r];
}

TARGET void BACKWARD(const pipeline *p, const float *out, const int32_t *places, const float *upstream,
    float *by_kernel, float *by_bias, float *room)
{
    const ptrdiff_t n_cells = p->out_height * p->out_width, size = p->height * p->width;
    const ptrdiff_t row_room = (p->columns + LANES - 1) / LANES * LANES, filter_room = p->rows * row_room;
    float *const x = room, *const weights = x + size + MOST_LANES, *const sums = weights + n_cells;
    int32_t *const corners = (int32_t *)(sums + p->filters * filter_room), *const starts = corners + n_cells;
    const int32_t step = (int32_t)(p->pool_rows > 1 ? p->width : 1);
    memset(sums, 0, 4 * p->filters * filter_room);
    memset(by_bias, 0, 4 * p->filters);
    memset(x + size, 0, 4 * MOST_LANES); /* these floats behind the last row are read for columns that no filter has */
    for (ptrdiff_t i = 0; i < p->out_height; i++) /* first cell of each pooling window */
        for (ptrdiff_t j = 0; j < p->out_width; j++)
            corners[i * p->out_width + j] = (int32_t)(i * p->pool_rows * p->width + j * p->pool_columns);
    for (ptrdiff_t segment = 0; segment < p->n; segment++, places += n_cells * p->filters) {
        const ptrdiff_t own = segment * p->out_stride + p->out_offset;
        memcpy(x, p->x + segment * size, 4 * size);
        for (ptrdiff_t f = 0; f < p->filters; f++) {
            for (ptrdiff_t cell = 0; cell < n_cells; cell++) {
                const ptrdiff_t at = cell * p->filters + f;
                starts[cell] = corners[cell] + places[at] * step;
                weights[cell] = upstream[own + at] * (out[own + at] > 0 ? 1 : p->slope);
                by_bias[f] += weights[cell];
            }
            for (ptrdiff_t r = 0; r < p->rows; r += ROWS)
                for (ptrdiff_t k = 0; k < p->columns; k += LANES) {
                    const float *const from = x + r * p->width + k;
                    float *const to = sums + f * filter_room + r * row_room + k;
                    switch (p->rows - r < ROWS ? p->rows - r : ROWS) {
#define CASE(N) \
    case N: \
        add_cells(N, p->width, from, n_cells, starts, weights, to, row_room); \
        break;
                        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#undef CASE
                    }
                }
        }
    }
    for (ptrdiff_t r = 0; r < p->rows; r++)
        for (ptrdiff_t k = 0; k < p->columns; k++)
            for (ptrdiff_t f = 0; f < p->filters; f++)
                by_kernel[(r * p->columns + k) * p->filters + f] = sums[f * filter_room + r * row_room + k];
}
