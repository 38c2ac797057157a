"""Keras and its backend: started with threads, devices and seeds.

TensorFlow is imported by name here, in models/keras_steps.py and in models/curve.py, each when it is needed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mirex_submission.errors import DeviceError, UsageError
from mirex_submission.system.installation import installed

log = logging.getLogger(__name__)

HOSTS_WAIT_S = 600  # for all hosts to have started
_BETWEEN_TRIES_S = 1.0
_SHOWN_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


def versions() -> dict[str, str]:
    """The versions of what decides a result."""
    packages = ("mirex-submission", "keras", "tensorflow", "numpy", "scipy", "soundfile", "soxr")
    found = {package: installed(package) for package in packages}  # "": another backend, or not installed
    return {"python": platform.python_version()} | {package: version for package, version in found.items() if version}


class Keras(NamedTuple):
    """Keras as it was started.

    said : its versions and devices. has_bfloat16 : whether the GPUs compute with it. strategy : of tf.distribute, where
    several GPUs or hosts train one model.
    """

    said: str
    n_gpus: int
    has_bfloat16: bool
    strategy: Any


def hosts() -> tuple[int, int]:
    """The number of this host, from 0, and how many train together, by $TF_CONFIG as TensorFlow defines it.

    Raises UsageError.
    """
    number, workers = _cluster()
    return number, max(1, len(workers))


def _cluster() -> tuple[int, list[str]]:
    """This host's number and the HOST:PORT of all."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        workers = cluster.get("worker", [])
        number = task["index"] if cluster else 0
        if set(cluster) - {"worker"} or task.get("type", "worker") != "worker":
            raise ValueError("a cluster of other than workers")
        if not isinstance(workers, list) or not all(re.fullmatch(r".+:\d+", host) for host in workers):
            raise ValueError("not HOST:PORT each")
        if len(set(workers)) < len(workers) or number not in range(max(1, len(workers))):
            raise ValueError("a worker twice, or a number that none has")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f'TF_CONFIG={text}: {error!r}: give {{"cluster": {{"worker": ["HOST:PORT", ...]}}, '
            '"task": {"type": "worker", "index": NUMBER}}, or unset it'
        ) from error
    return number, workers


def start_keras(*, threads: int, seed: int, gpus: Sequence[int] = (), together: bool = False) -> Keras:
    """Set up Keras and its backend.

    gpus : the numbers of those that may be used, among those that $CUDA_VISIBLE_DEVICES shows.
    together : one model is trained on all these GPUs, and on all hosts().
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = _visible(gpus)
    if gpus:  # JAX's; TensorFlow has a switch of its own
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    with _without_import_chatter(), _without_matplotlib():
        import keras

    backend, strategy = keras.backend.backend(), None
    keras.utils.set_random_seed(seed)
    if backend == "tensorflow":
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:  # TensorFlow is running already, as when one process trains twice: it keeps its threads
            pass
        tf.config.experimental.enable_op_determinism()
        found = tf.config.list_physical_devices("GPU")
        for gpu_device in found:
            with contextlib.suppress(RuntimeError):  # TensorFlow is running already
                tf.config.experimental.set_memory_growth(gpu_device, True)
        details = [tf.config.experimental.get_device_details(gpu_device) for gpu_device in found]
        has_bfloat16 = all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
        n_gpus, version = len(found), f"TensorFlow {tf.__version__}"
        tf.get_logger().setLevel("ERROR")  # its warnings are about how we use it, which no user can mend
        if together and hosts()[1] > 1:
            _meet()
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        elif together and n_gpus > 1:
            strategy = tf.distribute.MirroredStrategy()
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        n_gpus, version = torch.cuda.device_count(), f"PyTorch {torch.__version__}"
        has_bfloat16 = bool(n_gpus) and torch.cuda.is_bf16_supported()
    else:
        import jax

        on_gpu = [device for device in jax.devices() if device.platform == "gpu"]
        n_gpus, version = len(on_gpu), f"JAX {jax.__version__}"
        has_bfloat16 = all(float(device.compute_capability) >= 8 for device in on_gpu)
    device = f"{n_gpus} GPU" if n_gpus else "CPU"
    said = f"Keras {keras.__version__} on {version}, {device}, {threads} threads"
    return Keras(said, n_gpus, has_bfloat16, strategy)


def _meet() -> None:
    """Wait until all hosts of $TF_CONFIG have come this far. TensorFlow itself waits for them without end or a word.

    Each opens its port until it has reached the ports of all others, or what TensorFlow has opened there since.
    """
    number, workers = _cluster()
    ends_s = time.monotonic() + HOSTS_WAIT_S
    missing = {*workers} - {workers[number]}
    log.info("waiting for %s", ", ".join(sorted(missing)))
    try:
        with socket.create_server(("", int(workers[number].rpartition(":")[2]))):
            while missing:
                missing = {worker for worker in missing if not _answers(worker)}
                if missing and time.monotonic() > ends_s:
                    raise DeviceError(
                        f"waited {HOSTS_WAIT_S} s in vain for {', '.join(sorted(missing))}, which TF_CONFIG names: "
                        "start all hosts, with the same lists and options"
                    )
                time.sleep(_BETWEEN_TRIES_S if missing else 0)
    except OSError as error:
        raise DeviceError(f"{workers[number]}, this host's port in TF_CONFIG: {error}: give another one") from error


def _answers(worker: str) -> bool:
    host, _, port = worker.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_BETWEEN_TRIES_S).close()
    except OSError:
        return False
    return True


def _visible(gpus: Sequence[int]) -> str:
    """$CUDA_VISIBLE_DEVICES for these of the GPUs that it showed when this program began."""
    if _SHOWN_GPUS is None:
        return ",".join(map(str, gpus)) or "-1"
    shown = _SHOWN_GPUS.split(",")
    return ",".join(shown[gpu] for gpu in gpus if gpu < len(shown)) or "-1"


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
