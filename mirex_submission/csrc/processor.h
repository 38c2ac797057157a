/* The number of floats in the processor's vectors, for both kernels. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Returns whether this processor can run the code for this number of lanes. */
static int can_run(int lanes)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (lanes == 16)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
    if (lanes == 8)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return lanes == 4;
}

/* Makes the module, with LANES: the numbers of lanes that this processor can run, smallest first. */
static PyObject *module_with_lanes(struct PyModuleDef *definition)
{
    PyObject *const module = PyModule_Create(definition), *const list = module ? PyList_New(0) : NULL;
    int failed = !list;
    for (int lanes = 4; !failed && lanes <= 16; lanes *= 2) {
        PyObject *const number = can_run(lanes) ? PyLong_FromLong(lanes) : NULL;
        failed = PyErr_Occurred() || (number && PyList_Append(list, number) < 0);
        Py_XDECREF(number);
    }
    PyObject *const tuple = failed ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    if (!tuple || PyModule_AddObject(module, "LANES", tuple) < 0) {
        Py_XDECREF(tuple);
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
