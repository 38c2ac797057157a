/* The Python module: checks the arguments and calls the functions for the requested number of lanes. */

#include "../../csrc/processor.h"
#include "kernel.h"

#include <stdlib.h>

typedef struct {
    int lanes;
    void (*band_powers)(const band_work *, void *here, void *there);
} variant;

static const variant variants[] = {
    {4, band_powers_4},
#ifdef __x86_64__
    {8, band_powers_8},
    {16, band_powers_16},
#endif
};

static const variant *variant_of(int lanes)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        if (variants[i].lanes == lanes && can_run(lanes))
            return &variants[i];
    return NULL;
}

static int is_window(ptrdiff_t n)
{
    if (n < 2 * MOST_LANES)
        return 0;
    while (n % 2 == 0)
        n /= 2;
    return n == 1 || n == 3;
}

/* Returns the error of the arguments, or NULL. */
static const char *problem_of(const band_work *w, ptrdiff_t n_samples, ptrdiff_t n_roots, ptrdiff_t n_falling, ptrdiff_t n_rising)
{
    const ptrdiff_t n_bins = w->window / 2 + 1;
    if (!is_window(w->window))
        return "weights: a window has 2^k or 3 * 2^k samples, 32 or more";
    if (n_roots != w->window)
        return "roots: one a sample of the window";
    if (w->hop < 1 || w->hop > PTRDIFF_MAX / 4)
        return "hop: 1 or more";
    if (w->n_bands < 1 || w->slopes[0] < 0 || w->slopes[w->n_bands + 1] > n_bins)
        return "slopes: one or more bands, on bins 0 to window / 2";
    for (ptrdiff_t band = 0; band <= w->n_bands; band++)
        if (w->slopes[band] > w->slopes[band + 1])
            return "slopes: not in order";
    if (n_falling != n_bins || n_rising != n_bins)
        return "falling, rising: window / 2 + 1 weights";
    if (w->n_frames && (n_samples < w->window || (n_samples - w->window) / w->hop < w->n_frames - 1))
        return "out: more frames than the samples have";
    return NULL;
}

static PyObject *run(const band_work *w, const variant *variant)
{
    const size_t room = sizeof(float) * variant->lanes * (w->window + 2);
    const size_t buffer = (room + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; /* so that the second buffer is aligned too */
    char *const memory = aligned_alloc(ALIGNMENT, 2 * buffer);
    if (!memory)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    variant->band_powers(w, memory, memory + buffer);
    Py_END_ALLOW_THREADS
    free(memory);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(band_powers_doc,
    "band_powers(samples, is_int16, hop, weights, roots, slopes, falling, rising, out, lanes)\n--\n\n"
    "Fill `out` with the Mel band powers of the frames of `samples`. All arrays are C-contiguous.\n\n"
    "samples : [n], int16 if `is_int16`, else float32.\n"
    "weights : [window], float32, the window function; a window has 2^k or 3 * 2^k samples, 32 or more.\n"
    "roots : [window], complex64, exp(-2 pi i k / window).\n"
    "slopes : [n_bands + 2], int32, the first bin of each slope between two bands' centres, and the end of the last one.\n"
    "falling, rising : [window / 2 + 1], float32, a bin's weight in the band before its slope and in the band after it.\n"
    "out : [n_frames, n_bands], float32.\n"
    "lanes : number of frames to compute at a time, one of LANES.\n\n"
    "Raises ValueError if the sizes do not agree, and MemoryError.");

static PyObject *band_powers(PyObject *self, PyObject *args)
{
    (void)self;
    enum { SAMPLES, WEIGHTS, ROOTS, SLOPES, FALLING, RISING, OUT, N_BUFFERS };
    Py_buffer b[N_BUFFERS];
    band_work w;
    int lanes;
    if (!PyArg_ParseTuple(args, "y*pny*y*y*y*y*w*i", &b[SAMPLES], &w.is_int16, &w.hop, &b[WEIGHTS], &b[ROOTS],
            &b[SLOPES], &b[FALLING], &b[RISING], &b[OUT], &lanes))
        return NULL;
    w.samples = b[SAMPLES].buf, w.weights = b[WEIGHTS].buf, w.roots = b[ROOTS].buf, w.slopes = b[SLOPES].buf;
    w.falling = b[FALLING].buf, w.rising = b[RISING].buf, w.out = b[OUT].buf;
    w.window = b[WEIGHTS].len / 4;
    w.n_bands = b[SLOPES].len / 4 - 2;
    w.n_frames = w.n_bands > 0 ? b[OUT].len / 4 / w.n_bands : 0;
    const char *problem
        = problem_of(&w, b[SAMPLES].len / (w.is_int16 ? 2 : 4), b[ROOTS].len / 8, b[FALLING].len / 4, b[RISING].len / 4);
    const variant *const chosen = variant_of(lanes);
    if (!problem && !chosen)
        problem = "lanes: none of LANES";
    PyObject *result = NULL;
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else
        result = run(&w, chosen);
    for (int i = 0; i < N_BUFFERS; i++)
        PyBuffer_Release(&b[i]);
    return result;
}

PyDoc_STRVAR(mix_doc,
    "mix(block, is_int16, n_channels, scale, most, mono)\n--\n\n"
    "Fill `mono` with the sums of the channels times `scale`. Both arrays are C-contiguous.\n\n"
    "block : [n, n_channels], int16 if `is_int16`, else float32.\n"
    "most : samples beyond +-most, and NaN, become 0.\n"
    "mono : [n], float32.\n\n"
    "Returns the number of these samples. Raises ValueError if the sizes do not agree.");

static PyObject *mix_channels(PyObject *self, PyObject *args)
{
    (void)self;
    Py_buffer block, mono;
    int is_int16, n_channels;
    float scale, most;
    if (!PyArg_ParseTuple(args, "y*piffw*", &block, &is_int16, &n_channels, &scale, &most, &mono))
        return NULL;
    const ptrdiff_t n_frames = mono.len / 4;
    int32_t n_bad = -1;
    if (n_channels > 0 && n_frames <= INT32_MAX && block.len == n_frames * n_channels * (is_int16 ? 2 : 4)) {
        Py_BEGIN_ALLOW_THREADS
        n_bad = mix(block.buf, is_int16, (int32_t)n_frames, n_channels, scale, most, mono.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&block);
    PyBuffer_Release(&mono);
    return n_bad < 0 ? PyErr_Format(PyExc_ValueError, "block: not the frames of mono times the channels")
                     : PyLong_FromLong(n_bad);
}

static PyMethodDef methods[] = {
    {"band_powers", band_powers, METH_VARARGS, band_powers_doc},
    {"mix", mix_channels, METH_VARARGS, mix_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_kernel",
    .m_doc = "Mel band powers and the mean of channels.\n\n"
             "LANES : tuple of int, the numbers of frames that this processor can transform at a time.",
    .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernel(void) { return module_with_lanes(&definition); }
