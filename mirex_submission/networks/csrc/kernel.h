/* The functions of the kernel; module.c makes them a Python module. */

#include <stddef.h>
#include <stdint.h>

/* Largest number of floats in a vector, and alignment of the buffers of vectors in bytes. */
#define MOST_LANES 16
#define ALIGNMENT 64

/* Valid convolution of segments of one channel, max pooling along one of the axes, bias and leaky ReLU. */
typedef struct {
    ptrdiff_t n, height, width;        /* number and size of the segments */
    ptrdiff_t rows, columns, filters;  /* size of the convolution */
    ptrdiff_t pool_rows, pool_columns; /* one of them is 1 */
    ptrdiff_t out_height, out_width;   /* size of the pooled output; an incomplete window is dropped */
    ptrdiff_t out_stride, out_offset;  /* floats in a row of `out`; where this pipeline's part of it begins */
    float slope;                       /* slope of the leaky ReLU below 0; above 0 it is 1 */
    const float *x;                    /* [n, height, width] */
} pipeline;

/* Number of floats of working memory for one call of a function with this number of lanes. */
size_t forward_room(const pipeline *, ptrdiff_t lanes);
size_t backward_room(const pipeline *, ptrdiff_t lanes);

/* out : [n, out_stride]; the pipeline's own part of it is filled, as [out_height, out_width, filters]. places : [n,
 * out_height, out_width, filters], the position of each maximum in its window, counted row by row; the first of equal
 * maxima counts. kernel : [rows, columns, filters]; bias : [filters]. */
typedef void forward(
    const pipeline *, const float *kernel, const float *bias, float *out, int32_t *places, float *room);

/* The gradients of the loss with respect to kernel and bias, from `upstream`, the gradient with respect to `out`, which
 * has the layout of `out`. */
typedef void backward(const pipeline *, const float *out, const int32_t *places, const float *upstream,
    float *by_kernel, float *by_bias, float *room);

forward forward_4;
backward backward_4;
#ifdef __x86_64__
forward forward_8, forward_16;
backward backward_8, backward_16;
#endif
