"""Which engine computes the networks: the native kernel, unless a GPU, $KERAS_BACKEND or a missing compiler says so."""

import pytest

from mirex_submission.errors import DeviceError
from mirex_submission.models import engine as engines


@pytest.fixture(autouse=True)
def _no_backend(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_native_kernel_on_a_machine_without_a_gpu(device, monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: False)
    started = engines.start(device, threads=3, seed=0)
    assert started.native and "native kernel, CPU" in started.said and "3 threads" in started.said


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_keras_where_the_user_names_its_backend(device, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    started = engines.start(device, threads=2, seed=0)
    assert not started.native and "TensorFlow" in started.said


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_keras_where_no_compiler_was(device, monkeypatch):
    monkeypatch.setattr(engines, "kernel", None)
    assert not engines.start(device, threads=2, seed=0).native


def test_a_device_node_alone_is_no_gpu(monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "start_keras", lambda **_: ("TensorFlow of this test", False))
    assert engines.start("auto", threads=2, seed=0).native


def test_a_gpu_that_is_found_is_used(monkeypatch):
    monkeypatch.setattr(engines, "_may_have_gpu", lambda: True)
    monkeypatch.setattr(engines, "start_keras", lambda **_: ("TensorFlow of this test, 1 GPU", True))
    assert not engines.start("auto", threads=2, seed=0).native


def test_a_gpu_that_is_asked_for_and_not_there_is_status_6_with_the_usual_causes():
    with pytest.raises(DeviceError, match=r"no GPU is found .*--gpus all.*nvidia-smi.*\[gpu\]") as raised:
        engines.start("gpu", threads=2, seed=0)
    assert raised.value.exit_status == 6
