"""Start of Keras and its backend with threads, devices and seeds.

TensorFlow is imported only where it is needed: here, in training/history.py and for models/export.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mirex_submission.errors import UsageError
from mirex_submission.system.environment import check_address_space
from mirex_submission.system.installation import installed
from mirex_submission.system.progress import printable, shortened

_SHOWN_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


def versions(*more: str) -> dict[str, str]:
    """Return the versions of Python and of the installed packages that affect a result.

    `more` names packages beside those that networks need.
    """
    packages = ("mirex-submission", "keras", "tensorflow", "numpy", "scipy", "librosa", "soundfile", "soxr")
    numbers = {package: installed(package) for package in (*packages, *more)}
    return {"python": platform.python_version()} | {package: number for package, number in numbers.items() if number}


class Keras(NamedTuple):
    """The state of Keras after its start.

    Parameters
    ----------
    description : str
        Versions and devices.
    n_gpus : int
        GPUs that it uses.
    has_bfloat16 : bool
        Whether the GPUs compute with bfloat16.
    strategy : tf.distribute.Strategy or None
        Set where several GPUs train one model.
    """

    description: str
    n_gpus: int
    has_bfloat16: bool
    strategy: Any


def check_one_host() -> None:
    """Check that $TF_CONFIG does not name several hosts.

    Training services also set it on a single host, which then trains alone.

    Raises
    ------
    UsageError
        $TF_CONFIG names several hosts, or is not the JSON object that TensorFlow defines.
    """
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        hosts = [host for job in json.loads(text).get("cluster", {}).values() for host in job]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        expected = '{"cluster": {"worker": ["host:port"]}, "task": {"type": "worker", "index": 0}}'
        text = f"TF_CONFIG={printable(shortened(text))}: not a JSON object such as {expected}"
        raise UsageError(f"{text}: unset it to train on this machine", code="usage.tf-config") from error
    if len(hosts) > 1:
        raise UsageError(
            f"TF_CONFIG names {len(hosts)} hosts, but a model is trained on one: give each host its own folds "
            "(`--name fold1`, `--name fold2`, ... on a shared scratch folder), and unset TF_CONFIG",
            code="usage.several-hosts",
        )


def start_keras(*, threads: int, seed: int, gpus: Sequence[int] = (), together: bool = False) -> Keras:
    """Set up Keras and its backend.

    Parameters
    ----------
    threads : int
        Threads of the backend.
    seed : int
        Seed of Python, NumPy and the backend.
    gpus : sequence of int
        GPUs that may be used, as numbers among those that $CUDA_VISIBLE_DEVICES shows.
    together : bool
        Train one model on all these GPUs.

    Raises
    ------
    ResourceError
        `ulimit -v` leaves too little address space.
    """
    check_address_space(threads, keras=True)
    os.environ["CUDA_VISIBLE_DEVICES"] = _visible(gpus)
    if gpus:  # a setting of JAX; TensorFlow has its own
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    with _without_import_chatter(), _without_matplotlib():
        import keras

    keras.utils.set_random_seed(seed)
    strategy = None
    backend = keras.backend.backend()
    if backend == "tensorflow":
        version, n_gpus, has_bfloat16 = _start_tensorflow(threads)
        if together and n_gpus > 1:
            import tensorflow as tf

            # Without names of devices, TensorFlow would use those of $TF_CONFIG.
            strategy = tf.distribute.MirroredStrategy([f"GPU:{k}" for k in range(n_gpus)])
    else:
        version, n_gpus, has_bfloat16 = _start_torch(threads) if backend == "torch" else _start_jax()
    device = f"{n_gpus} GPU" if n_gpus else "CPU"
    description = f"Keras {keras.__version__} on {version}, {device}, {threads} threads"
    return Keras(description, n_gpus, has_bfloat16, strategy)


def _start_tensorflow(threads: int) -> tuple[str, int, bool]:
    """Return the version, the number of GPUs, and whether they compute with bfloat16."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # in a second training TensorFlow runs already, and keeps its threads
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already
            tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    tf.get_logger().setLevel("ERROR")  # its warnings are about this program's code, which users cannot change
    has_bfloat16 = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    return f"TensorFlow {tf.__version__}", len(gpus), has_bfloat16


def _start_torch(threads: int) -> tuple[str, int, bool]:
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    n_gpus = torch.cuda.device_count()
    return f"PyTorch {torch.__version__}", n_gpus, bool(n_gpus) and torch.cuda.is_bf16_supported()


def _start_jax() -> tuple[str, int, bool]:
    import jax

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    return f"JAX {jax.__version__}", len(gpus), all(float(device.compute_capability) >= 8 for device in gpus)


def _visible(gpus: Sequence[int]) -> str:
    """Return $CUDA_VISIBLE_DEVICES for these of the GPUs that it showed when this program started."""
    if _SHOWN_GPUS is None:
        return ",".join(map(str, gpus)) or "-1"
    shown = _SHOWN_GPUS.split(",")
    return ",".join(shown[gpu] for gpu in gpus if gpu < len(shown)) or "-1"


@contextlib.contextmanager
def _without_import_chatter() -> Iterator[None]:
    """Drop the lines that TensorFlow's C++ code prints to stderr while it loads, because no setting disables them."""
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
    """Keep Keras from importing matplotlib, which takes a second and makes folders."""
    loaded = sys.modules.get("matplotlib")
    if loaded is None:
        # None forbids the import; the type of sys.modules does not know that.
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if loaded is None:
            del sys.modules["matplotlib"]
