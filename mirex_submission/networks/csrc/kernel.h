/* The kernel's functions; module.c makes them Python's. */

#include <stddef.h>
#include <stdint.h>

/* The most floats that a vector has here, and the bytes at which buffers of vectors begin. */
#define MOST_LANES 16
#define ALIGNMENT 64

/* Valid convolution of segments of one channel, max pooling along one of the axes, bias and leaky ReLU. */
typedef struct {
    ptrdiff_t n, height, width;        /* the segments */
    ptrdiff_t rows, columns, filters;  /* of the convolution */
    ptrdiff_t pool_rows, pool_columns; /* one of them is 1 */
    ptrdiff_t out_height, out_width;   /* of what is pooled: the pooling drops an incomplete rest */
    ptrdiff_t out_stride, out_offset;  /* a segment's outputs are out_height * out_width * filters of out_stride floats */
    float slope;                       /* of the leaky ReLU below 0; above it is 1 */
    const float *x;                    /* [n, height, width] */
} pipeline;

/* Floats of working memory for one call of a function with this many lanes. */
size_t forward_room(const pipeline *, ptrdiff_t lanes);
size_t backward_room(const pipeline *, ptrdiff_t lanes);

/* out : [n, out_stride], of which the pipeline's own part is filled, as [out_height, out_width, filters]. places : [n,
 * out_height, out_width, filters], where in its window each maximum is, counted row by row: the first of equals.
 * kernel : [rows, columns, filters]; bias : [filters]. */
typedef void forward(
    const pipeline *, const float *kernel, const float *bias, float *out, int32_t *places, float *room);

/* The gradients by kernel and bias, from `upstream`, that by `out`, laid out like it. */
typedef void backward(const pipeline *, const float *out, const int32_t *places, const float *upstream,
    float *by_kernel, float *by_bias, float *room);

forward forward_4;
backward backward_4;
#ifdef __x86_64__
forward forward_8, forward_16;
backward backward_8, backward_16;
#endif
