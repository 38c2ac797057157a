"""Environment variables for the libraries, set before the libraries that read them are imported."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from mirex_submission.errors import ResourceError, UsageError
from mirex_submission.system import machine
from mirex_submission.system.import_path import leave_out_current_folder
from mirex_submission.system.progress import printable
from mirex_submission.system.standard_streams import never_none

DEFAULT_THREADS = 4  # MIREX allows four threads
# Measured bytes of address space: NumPy, the decoder and the kernels; librosa, which replaces a missing kernel of the
# features in worker processes; Keras on TensorFlow.
_LIBRARY_ADDRESSES, _LIBROSA_ADDRESSES, _KERAS_ADDRESSES = 130 << 20, 450 << 20, 2300 << 20
_THREAD_ADDRESSES = 140 << 20  # 8 MiB of stack, and the 128 MiB that glibc maps to align a new heap
BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def default_threads() -> int:
    """Return the number of processors that this process may use, at most DEFAULT_THREADS."""
    return min(DEFAULT_THREADS, len(os.sched_getaffinity(0)))


def prepare(scratch: str | os.PathLike[str] | None, *, threads: int) -> None:
    """Set the environment of this process: import path, number of threads, temporary folders, no telemetry.

    Call it before NumPy, joblib, Keras or ONNX Runtime is imported: they read these variables once.

    Parameters
    ----------
    scratch : path or None
        Folder below which libraries may write temporary files.
    threads : int
        Threads of every library.

    Raises
    ------
    UsageError
        $KERAS_BACKEND names a backend that is not installed, or $LOKY_MAX_CPU_COUNT is not a number.
    """
    leave_out_current_folder()
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    # NumPy's BLAS computes only one small product, whose bits must not depend on the number of threads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if scratch:
        # joblib would use /dev/shm, which has 64 MB in a container.
        os.environ["JOBLIB_TEMP_FOLDER"] = str(Path(scratch) / "tmp")
        # Without the compiled kernel librosa computes features, and numba caches compiled code beside librosa, or else
        # in the home folder. Loading a cache runs its code, so it must not be in the scratch folder.
        librosa = importlib.util.find_spec("librosa")
        if librosa and librosa.origin and not os.access(os.path.dirname(librosa.origin), os.W_OK):
            os.environ.setdefault("NUMBA_CACHE_DIR", _private_folder())
    # In /dev/null Keras can neither read nor write its settings file, so that none of its settings affects a result.
    os.environ["KERAS_HOME"] = os.devnull
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _check_loky()
    backend = os.environ.get("KERAS_BACKEND")
    if backend and (backend not in BACKENDS or importlib.util.find_spec(backend) is None):
        raise UsageError(
            f"KERAS_BACKEND={backend}: not installed, or not one of {', '.join(BACKENDS)}: install it, or unset it",
            code="usage.keras-backend",
        )


def _check_loky() -> None:
    """Check $LOKY_MAX_CPU_COUNT, the number of processors for joblib, which accepts whole numbers only."""
    count = os.environ.get("LOKY_MAX_CPU_COUNT", "1")
    try:
        int(count)
    except ValueError:
        text = f"LOKY_MAX_CPU_COUNT={printable(count)}: not a whole number: give the number of processors, or unset it"
        raise UsageError(text, code="usage.processors") from None


@functools.cache
def _private_folder() -> str:
    """Make a folder that no other user can write to, and delete it when this process ends."""
    folder = tempfile.mkdtemp(prefix="mirex-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_address_space(threads: int, *, keras: bool = False) -> None:
    """Check that `ulimit -v` leaves enough addresses for the libraries and threads of a run.

    With fewer addresses, OpenBLAS or TensorFlow ends the process, and Python can wait forever for a thread that cannot
    start.

    Parameters
    ----------
    threads : int
        Threads of the run.
    keras : bool
        Check for the start of Keras; if Keras is loaded already, the check is skipped.

    Raises
    ------
    ResourceError
        The limit is too low.
    """
    if keras and "keras" in sys.modules:
        return
    room = machine.memory_room().get("ulimit -v")
    if keras:
        libraries, library_bytes = "Keras and ", _KERAS_ADDRESSES
    elif importlib.util.find_spec("mirex_submission.features._kernel") is None:
        libraries, library_bytes = "librosa and ", _LIBROSA_ADDRESSES
    else:
        libraries, library_bytes = "", _LIBRARY_ADDRESSES
    need = library_bytes + threads * _THREAD_ADDRESSES
    if room is not None and room < need:
        raise ResourceError(
            f"`ulimit -v` leaves {machine.size(room)} of address space, but {libraries}{threads} threads need "
            f"{machine.size(need)}: raise it or give a smaller -numThreads",
            code="limits.memory",
        )


_runs = contextlib.ExitStack()  # restores the caller's state when the last run ends
_n_runs = 0
_lock = threading.Lock()


@contextlib.contextmanager
def prepared(scratch: Path, *, threads: int) -> Iterator[None]:
    """Prepare the process for a run from Python, and restore the caller's state afterwards.

    It restores environment variables, the import path, the threads of BLAS, and the states of Python's and NumPy's
    random generators, which Keras seeds. If runs overlap in threads, the last one restores them.
    """
    global _n_runs
    check_address_space(threads)
    with _lock:
        if not _n_runs:
            _runs.enter_context(_restored())
        _n_runs += 1
    try:
        prepare(scratch, threads=threads)
        yield
    finally:
        with _lock:
            _n_runs -= 1
            if not _n_runs:
                _runs.close()


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    before, import_path = dict(os.environ), sys.path[:]
    leave_out_current_folder()
    import random

    from threadpoolctl import threadpool_limits

    python_state = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy and numpy.random.get_state()
    try:
        with never_none(), threadpool_limits(1, "blas"):  # for a BLAS that is loaded already
            yield
    finally:
        random.setstate(python_state)
        if numpy:
            numpy.random.set_state(numpy_state)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        sys.path[:] = import_path
