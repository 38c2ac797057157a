"""Threads, libraries' settings and seeds: decided here, before the libraries that obey them are loaded.

With models/curve.py the only place that imports TensorFlow by name, and only where it is Keras' backend.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mirex_submission.errors import UsageError

DEFAULT_THREADS = 4  # what MIREX grants
BACKENDS = ("tensorflow", "jax", "torch")
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def default_threads() -> int:
    """The processors that this process may use, at most DEFAULT_THREADS."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        available = os.cpu_count() or 1
    return min(DEFAULT_THREADS, available)


def prepare(scratch: str | os.PathLike[str] | None, *, threads: int) -> None:
    """Set the environment for `threads` threads and for writing nowhere but to `scratch`.

    To be called before numpy, joblib or Keras is imported: they read these variables once.
    """
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    # The one product that numpy's BLAS does is small, and its bits are not to depend on the number of threads.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # joblib would use /dev/shm, which is 64 MB in a container. Keras would read and write ~/.keras: under /dev/null it
    # can do neither, so that no setting left on a machine decides a result.
    if scratch:
        os.environ["JOBLIB_TEMP_FOLDER"] = str(Path(scratch) / "tmp")
        os.environ["MPLCONFIGDIR"] = str(Path(scratch) / "tmp" / "matplotlib")  # else in the home folder
    os.environ["KERAS_HOME"] = os.devnull
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    _check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS or importlib.util.find_spec(backend) is None:
        raise UsageError(f"KERAS_BACKEND={backend}: not installed, or not one of {', '.join(BACKENDS)}")


def start_keras(*, threads: int, seed: int, gpu: bool = True) -> tuple[str, bool]:
    """Set up Keras and its backend.

    gpu : whether one may be used.

    Returns a line that says which versions and devices are used, and whether one of them is a GPU.
    """
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with _without_import_chatter(), _without_matplotlib():
        import keras

    backend = keras.backend.backend()
    keras.utils.set_random_seed(seed)
    if backend == "tensorflow":
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:  # TensorFlow is running already, as when one process trains twice: it keeps its threads
            pass
        tf.config.experimental.enable_op_determinism()
        gpus = tf.config.list_physical_devices("GPU")
        for gpu_device in gpus:
            with contextlib.suppress(RuntimeError):  # TensorFlow is running already
                tf.config.experimental.set_memory_growth(gpu_device, True)
        n_gpus, version = len(gpus), f"TensorFlow {tf.__version__}"
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        n_gpus, version = torch.cuda.device_count(), f"PyTorch {torch.__version__}"
    else:
        import jax

        n_gpus, version = sum(d.platform == "gpu" for d in jax.devices()), f"JAX {jax.__version__}"
    device = f"{n_gpus} GPU" if n_gpus else "CPU"
    return f"Keras {keras.__version__} on {version}, {device}, {threads} threads", bool(n_gpus)


@contextlib.contextmanager
def _without_import_chatter() -> Iterator[None]:
    """Keep from stderr what TensorFlow's C++ says while it loads and no setting silences; all else is passed on."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with os.fdopen(os.memfd_create("stderr"), "w+b") as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not re.match(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog", line):
                    os.write(2, line)


@contextlib.contextmanager
def _without_matplotlib() -> Iterator[None]:
    """Keras loads matplotlib where it is installed, which costs a second and makes folders; nothing here needs that."""
    loaded = sys.modules.get("matplotlib")
    if loaded is None:
        # Python's own way to forbid an import, which the type of sys.modules leaves out.
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if loaded is None:
            del sys.modules["matplotlib"]


def on_tensorflow_cpu() -> bool:
    """Whether Keras computes with TensorFlow and has no GPU."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def compile_with_xla() -> bool | str:
    """Keras' `jit_compile` for this machine.

    On a CPU XLA made these networks 1.4 to 4 times slower than TensorFlow's oneDNN kernels; on a GPU it is the reverse.
    """
    return False if on_tensorflow_cpu() else "auto"
