/* The Python module: checks the arguments and calls the functions for the requested number of lanes. */

#include "../../csrc/processor.h"
#include "kernel.h"

#include <stdlib.h>

typedef struct {
    int lanes;
    forward *forward;
    backward *backward;
} variant;

static const variant variants[] = {
    {4, forward_4, backward_4},
#ifdef __x86_64__
    {8, forward_8, backward_8},
    {16, forward_16, backward_16},
#endif
};

static const variant *variant_of(int lanes)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (variants[i].lanes == lanes && can_run(lanes))
            return &variants[i];
    return NULL;
}

size_t forward_room(const pipeline *p, ptrdiff_t lanes) { return p->rows * p->columns * 2 * lanes; }

size_t backward_room(const pipeline *p, ptrdiff_t lanes)
{
    const size_t n_cells = p->out_height * p->out_width, row_room = (p->columns + lanes - 1) / lanes * lanes;
    return p->height * p->width + MOST_LANES + 3 * n_cells + p->filters * p->rows * row_room;
}

/* Derives the sizes of the output; returns the error of the other sizes, or NULL. */
static const char *complete(pipeline *p)
{
    const ptrdiff_t given[]
        = {p->height, p->width, p->rows, p->columns, p->filters, p->pool_rows, p->pool_columns};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i] < 1 || given[i] > 1 << 20)
            return "sizes: from 1 to 2^20";
    if (p->n < 0 || p->n > 1 << 20 || p->height * p->width > 1 << 28 || p->rows * p->columns * p->filters > 1 << 28)
        return "segments or kernel: too many, or too large";
    if (p->rows > p->height || p->columns > p->width)
        return "kernel: larger than a segment";
    if (p->pool_rows > 1 && p->pool_columns > 1)
        return "pool: along one axis only";
    p->out_height = (p->height - p->rows + 1) / p->pool_rows;
    p->out_width = (p->width - p->columns + 1) / p->pool_columns;
    const ptrdiff_t n_out = p->out_height * p->out_width * p->filters;
    if (!n_out)
        return "pool: larger than the convolution";
    if (p->out_offset < 0 || p->out_stride < n_out || p->out_stride > 1 << 28 || p->out_offset > p->out_stride - n_out)
        return "out: a segment's outputs do not fit";
    return NULL;
}

/* The first arguments of both functions: (n, height, width), (rows, columns, filters), (pool_rows, pool_columns),
 * (out_stride, out_offset), slope, lanes, x. */
#define SIZES_FORMAT "(nnn)(nnn)(nn)(nn)fiy*"
#define SIZES_OF(p, lanes, x) \
    &p.n, &p.height, &p.width, &p.rows, &p.columns, &p.filters, &p.pool_rows, &p.pool_columns, &p.out_stride, \
        &p.out_offset, &p.slope, &lanes, &x

#define SIZES_DOC \
    "segments : (n, height, width), shape of x, float32.\n" \
    "filters : (rows, columns, filters), shape of the kernel. bias : [filters].\n" \
    "pool : (rows, columns), one of them 1; an incomplete window is dropped.\n" \
    "layout : (stride, offset), length of a row of `out`, and where the outputs of this pipeline begin in it.\n" \
    "slope : slope of the leaky ReLU below 0.\n" \
    "lanes : number of floats in a vector, one of LANES.\n\n" \
    "All arrays are C-contiguous. Raises ValueError if sizes do not agree, and MemoryError."

static float *room_for(size_t n_floats)
{
    return aligned_alloc(ALIGNMENT, (4 * n_floats + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

PyDoc_STRVAR(forward_doc,
    "forward(segments, filters, pool, layout, slope, lanes, x, kernel, bias, out, places)\n--\n\n"
    "Fill `out` (float32) with the leaky ReLU of the bias plus the maximum of each pooling window of the convolution, and\n"
    "`places` (int32) with the position of each maximum in its window, counted row by row.\n\n" SIZES_DOC);

static PyObject *call_forward(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer x, kernel, bias, out, places;
    pipeline p;
    int lanes;
    if (!PyArg_ParseTuple(args, SIZES_FORMAT "y*y*w*w*", SIZES_OF(p, lanes, x), &kernel, &bias, &out, &places))
        return NULL;
    const variant *const variant = variant_of(lanes);
    const char *problem = complete(&p);
    if (!problem && !variant)
        problem = "lanes: none of LANES";
    if (!problem
        && (x.len != 4 * p.n * p.height * p.width || kernel.len != 4 * p.rows * p.columns * p.filters
            || bias.len != 4 * p.filters || out.len != 4 * p.n * p.out_stride
            || places.len != 4 * p.n * p.out_height * p.out_width * p.filters))
        problem = "arrays: not of these sizes";
    float *const room = problem ? NULL : room_for(forward_room(&p, lanes));
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else if (!room)
        PyErr_NoMemory();
    else {
        p.x = x.buf;
        Py_BEGIN_ALLOW_THREADS
        variant->forward(&p, kernel.buf, bias.buf, out.buf, places.buf, room);
        Py_END_ALLOW_THREADS
    }
    free(room);
    PyBuffer_Release(&x), PyBuffer_Release(&kernel), PyBuffer_Release(&bias);
    PyBuffer_Release(&out), PyBuffer_Release(&places);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(backward_doc,
    "backward(segments, filters, pool, layout, slope, lanes, x, out, places, upstream, by_kernel, by_bias)\n--\n\n"
    "Fill `by_kernel` and `by_bias` with the gradients with respect to kernel and bias, from `upstream`, the gradient with\n"
    "respect to `out` (all float32), and from the `places` (int32) of `forward`.\n\n" SIZES_DOC);

static PyObject *call_backward(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer x, out, places, upstream, by_kernel, by_bias;
    pipeline p;
    int lanes;
    if (!PyArg_ParseTuple(args, SIZES_FORMAT "y*y*y*w*w*", SIZES_OF(p, lanes, x), &out, &places, &upstream,
            &by_kernel, &by_bias))
        return NULL;
    const variant *const variant = variant_of(lanes);
    const char *problem = complete(&p);
    const ptrdiff_t n_places = problem ? 0 : p.n * p.out_height * p.out_width * p.filters;
    if (!problem && !variant)
        problem = "lanes: none of LANES";
    if (!problem
        && (x.len != 4 * p.n * p.height * p.width || by_kernel.len != 4 * p.rows * p.columns * p.filters
            || by_bias.len != 4 * p.filters || out.len != 4 * p.n * p.out_stride || upstream.len != out.len
            || places.len != 4 * n_places))
        problem = "arrays: not of these sizes";
    for (ptrdiff_t i = 0; !problem && i < n_places; i++)
        if (((const uint32_t *)places.buf)[i] >= p.pool_rows * p.pool_columns)
            problem = "places: outside of the pooling's windows";
    float *const room = problem ? NULL : room_for(backward_room(&p, lanes));
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else if (!room)
        PyErr_NoMemory();
    else {
        p.x = x.buf;
        Py_BEGIN_ALLOW_THREADS
        variant->backward(&p, out.buf, places.buf, upstream.buf, by_kernel.buf, by_bias.buf, room);
        Py_END_ALLOW_THREADS
    }
    free(room);
    PyBuffer_Release(&x), PyBuffer_Release(&out), PyBuffer_Release(&places), PyBuffer_Release(&upstream);
    PyBuffer_Release(&by_kernel), PyBuffer_Release(&by_bias);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"forward", call_forward, METH_VARARGS, forward_doc},
    {"backward", call_backward, METH_VARARGS, backward_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernel",
    .m_doc = "One pipeline of a network: convolution, pooling, bias and leaky ReLU; and its gradients.\n\n"
             "LANES : tuple of int, the numbers of floats that a vector of this processor can have.",
    .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernel(void) { return module_with_lanes(&definition); }
