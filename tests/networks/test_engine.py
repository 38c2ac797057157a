"""Choice of the engine: the native kernel, unless there is a GPU, $KERAS_BACKEND is set, or no compiler was present."""

from types import SimpleNamespace

import pytest

from mirex_submission.errors import DeviceError, UsageError
from mirex_submission.networks import engine as engines
from mirex_submission.system import runtime
from mirex_submission.system.runtime import Keras


@pytest.fixture(autouse=True)
def _no_backend(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.fixture(autouse=True)
def _kernel(monkeypatch):
    """Here engines are only chosen: where no compiler was found, a stand-in takes the kernel's place."""
    monkeypatch.setattr(engines, "compiled", engines.compiled or SimpleNamespace(LANES=(4,)))


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_native_kernel_on_a_machine_without_a_gpu(device, monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: False)
    started = engines.start(device, threads=3, seed=0)
    assert started.keras is None and "native kernel, CPU" in started.description and "3 threads" in started.description


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_keras_where_the_user_names_its_backend(device, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    started = engines.start(device, threads=2, seed=0)
    assert started.keras and "TensorFlow" in started.description


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_keras_computes_without_a_compiled_kernel(device, monkeypatch):
    monkeypatch.setattr(engines, "compiled", None)
    assert engines.start(device, threads=2, seed=0).keras


def test_a_device_node_alone_is_no_gpu(monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "start_keras", lambda **_: Keras("TensorFlow of this test", 0, False, None))
    assert engines.start("auto", threads=2, seed=0).keras is None


def test_a_gpu_that_is_found_is_used(monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "start_keras", lambda **_: Keras("TensorFlow of this test, 1 GPU", 1, True, None))
    assert engines.start("auto", threads=2, seed=0).on_gpu


def test_a_missing_gpu_is_status_6_with_the_usual_causes():
    causes = r"no driver.*nvidia-smi.*--gpus all.*NVIDIA container runtime.*\[gpu\].*image for CPUs"
    with pytest.raises(DeviceError, match=causes) as raised:
        engines.start("gpu", threads=2, seed=0)
    assert raised.value.exit_status == 6 and raised.value.code == "device.no-gpu"


def finds(n_gpus, *, has_bfloat16=True, asked=None):
    """A start_keras that finds so many GPUs, and notes what it is asked for."""

    def start(**options):
        if asked is not None:
            asked.update(options)
        return Keras("Keras of this test", n_gpus, has_bfloat16, None)

    return start


@pytest.mark.parametrize(("device", "gpus"), [("gpu", [0]), ("gpu:3", [3]), ("gpu:1,2", [1, 2])])
def test_the_gpus_that_are_named_are_used_and_without_a_name_the_first(device, gpus, monkeypatch):
    asked = {}
    monkeypatch.setattr(engines, "start_keras", finds(len(gpus), asked=asked))
    assert engines.start(device, threads=2, seed=0, together=True).on_gpu
    assert asked["gpus"] == gpus and asked["together"]


def test_more_gpus_than_present_are_status_6(monkeypatch):
    monkeypatch.setattr(engines, "start_keras", finds(1))
    with pytest.raises(DeviceError, match=r"2 GPU .* 1.*\[device\.no-gpu\]"):
        engines.start("gpu:0,1", threads=2, seed=0)


@pytest.mark.parametrize(
    ("shown", "gpus", "visible"),
    [
        (None, [], "-1"),
        (None, [0], "0"),
        (None, [1, 2], "1,2"),
        ("4,5,6", [0], "4"),
        ("4,5,6", [2, 1], "6,5"),
        ("4", [0, 1], "4"),
        ("", [0], "-1"),
        ("-1", [0], "-1"),
    ],
)
def test_numbers_of_gpus_count_the_visible_gpus(shown, gpus, visible, monkeypatch):
    monkeypatch.setattr(runtime, "_SHOWN_GPUS", shown)
    assert runtime._visible(gpus) == visible


def test_several_gpus_need_tensorflow(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UsageError, match=r"KERAS_BACKEND=jax.*\[usage\.several-gpus\]"):
        engines.start("gpu:0,1", threads=2, seed=0)


@pytest.mark.parametrize(
    ("precision", "n_gpus", "has_bfloat16", "dtype"),
    [
        ("float32", 1, True, "float32"),
        ("auto", 1, True, "mixed_bfloat16"),
        ("auto", 1, False, "float32"),
        ("auto", 0, True, "float32"),
    ],
)
def test_bfloat16_only_on_request_and_on_a_gpu_that_supports_it(precision, n_gpus, has_bfloat16, dtype, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(engines, "start_keras", finds(n_gpus, has_bfloat16=has_bfloat16))
    started = engines.start("auto", threads=2, seed=0, precision=precision)
    assert started.dtype == dtype
    assert started.description.endswith(", bfloat16" if dtype == "mixed_bfloat16" else ", float32")


def test_a_cpu_computes_in_float32_and_the_description_names_it():
    assert engines.start("cpu", threads=2, seed=0, precision="auto").description.endswith("2 threads, float32")


# --engine.


def test_keras_on_a_cpu_where_it_is_requested():
    started = engines.start("cpu", threads=2, seed=0, engine="keras")
    assert started.name == "keras" and "TensorFlow" in started.description and "CPU" in started.description


def test_the_native_kernel_where_it_is_requested_despite_gpus_and_backends(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "start_keras", None)
    assert engines.start("auto", threads=2, seed=0, engine="native").name == "native"


@pytest.mark.parametrize(
    ("device", "networks", "error", "code"),
    [("gpu:0", (), UsageError, "usage.native-gpu"), ("cpu", ("own",), UsageError, "usage.native-network")],
)
def test_the_native_kernel_refuses_gpus_and_added_networks(device, networks, error, code):
    with pytest.raises(error) as raised:
        engines.start(device, threads=2, seed=0, networks=networks, engine="native")
    assert raised.value.code == code


def test_the_native_kernel_without_a_compiler_is_status_6(monkeypatch):
    monkeypatch.setattr(engines, "compiled", None)
    with pytest.raises(DeviceError) as raised:
        engines.start("cpu", threads=2, seed=0, engine="native")
    assert raised.value.code == "device.no-kernel"


@pytest.mark.parametrize(
    ("engine", "backend", "expected"),
    [("auto", "", False), ("auto", "jax", True), ("keras", "", True), ("native", "jax", False)],
)
def test_needs_keras_is_true_where_start_loads_keras(engine, backend, expected, monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: False)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert engines.needs_keras("auto", ["2"], engine) == expected
