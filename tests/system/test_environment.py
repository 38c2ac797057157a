"""Environment variables for the libraries."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import threadpoolctl

from mirex_submission.errors import ResourceError, UsageError
from mirex_submission.system import environment
from mirex_submission.system.environment import (
    DEFAULT_THREADS,
    check_address_space,
    default_threads,
    prepare,
    prepared,
)

THREADS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """A copy of the environment, with other numbers of threads, in place of this process' environment."""
    copy = {**os.environ, **dict.fromkeys(THREADS, "64"), "OPENBLAS_NUM_THREADS": "64"}
    copy.pop("KERAS_BACKEND", None)
    monkeypatch.setattr(os, "environ", copy)
    return copy


def test_threads_are_at_most_four_and_at_most_the_processors(monkeypatch):
    assert 1 <= default_threads() <= DEFAULT_THREADS == 4
    for n, threads in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, n=n: set(range(n)))
        assert default_threads() == threads


@pytest.mark.parametrize("threads", [1, 3])
def test_n_threads_means_n_for_every_library(variables, threads):
    prepare("/scratch", threads=threads)
    assert {variables[name] for name in THREADS} == {str(threads)}
    assert variables["OPENBLAS_NUM_THREADS"] == "1"  # it computes small products only


def test_temporary_files_of_libraries_go_to_the_scratch_folder(variables, tmp_path):
    prepare(tmp_path / "my scratch", threads=1)
    assert variables["JOBLIB_TEMP_FOLDER"] == f"{tmp_path}/my scratch/tmp"
    assert os.listdir(tmp_path) == []


def test_without_a_scratch_folder_temporary_folders_are_not_changed(variables):
    before = variables.get("JOBLIB_TEMP_FOLDER")
    prepare(None, threads=1)
    assert variables.get("JOBLIB_TEMP_FOLDER") == before and variables["OMP_NUM_THREADS"] == "1"


def test_the_backend_and_the_log_level_of_the_user_are_kept(variables):
    variables.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="0")
    prepare("/scratch", threads=1)
    assert (variables["KERAS_BACKEND"], variables["TF_CPP_MIN_LOG_LEVEL"]) == ("tensorflow", "0")


@pytest.mark.parametrize("backend", ["theano", "os"])
def test_another_backend_is_a_usage_error(variables, backend):
    variables["KERAS_BACKEND"] = backend
    with pytest.raises(UsageError, match=f"^KERAS_BACKEND={backend}: ") as caught:
        prepare("/scratch", threads=1)
    assert caught.value.code == "usage.keras-backend"


@pytest.mark.parametrize("backend", environment.BACKENDS)
def test_a_backend_that_is_not_installed_is_a_usage_error(variables, monkeypatch, backend):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    variables["KERAS_BACKEND"] = backend
    with pytest.raises(UsageError) as caught:
        prepare("/scratch", threads=1)
    assert caught.value.code == "usage.keras-backend"


@pytest.mark.parametrize(
    ("kernel", "keras", "enough_mib"),
    [(True, False, 270), (False, False, 590), (True, True, 2440), (False, True, 2440)],
)
def test_librosa_and_keras_need_more_addresses_than_the_kernels(monkeypatch, kernel, keras, enough_mib):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if kernel else None)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(environment.machine, "memory_room", lambda: {"ulimit -v": enough_mib << 20})
    check_address_space(1, keras=keras)
    with pytest.raises(ResourceError, match="Keras" if keras else "threads need") as caught:
        check_address_space(2, keras=keras)
    assert caught.value.code == "limits.memory"
    monkeypatch.setitem(sys.modules, "keras", None)  # loaded already
    if keras:
        check_address_space(2, keras=True)


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_a_run_from_python_restores_the_environment(variables, tmp_path, error):
    variables.pop("ORT_DISABLE_TELEMETRY", None)
    before = dict(variables)
    try:
        with prepared(tmp_path, threads=3):
            assert variables["OMP_NUM_THREADS"] == "3" and "ORT_DISABLE_TELEMETRY" in variables
            if error:
                raise error
    except RuntimeError:
        pass
    assert variables == before


def test_runs_that_overlap_in_threads_restore_everything(variables, tmp_path):
    before, of_blas = dict(os.environ), threadpoolctl.threadpool_info()
    first, second = prepared(tmp_path / "a", threads=1), prepared(tmp_path / "b", threads=2)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["OMP_NUM_THREADS"] == "2"  # the second run still has its own
    second.__exit__(None, None, None)
    assert dict(os.environ) == before and threadpoolctl.threadpool_info() == of_blas


def test_a_run_restores_the_global_random_generators(variables, tmp_path):
    def states():
        return random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    with prepared(tmp_path, threads=1):
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
    assert states() == before


def test_one_thread_means_that_numpy_starts_no_other_and_nothing_heavy_is_loaded():
    code = """
import json, os, sys
from mirex_submission.system.environment import prepare
prepare("/scratch", threads=1)
heavy = sorted({"numpy", "scipy", "joblib", "keras", "tensorflow"} & set(sys.modules))
import numpy as np
np.ones((500, 500)) @ np.ones((500, 500))
print(json.dumps([heavy, len(os.listdir("/proc/self/task"))]))
"""
    variables = {**os.environ, "OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "8"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], 1]


@pytest.mark.parametrize("count", ["x", "", "1.5", "0x10", "\x1b[2J", "4 processors"])
def test_an_invalid_number_of_processors_is_a_usage_error(variables, count):
    variables["LOKY_MAX_CPU_COUNT"] = count
    with pytest.raises(UsageError, match=r"^LOKY_MAX_CPU_COUNT=") as caught:
        prepare(None, threads=1)
    assert caught.value.code == "usage.processors" and str(caught.value).isprintable()
    for accepted in ("1", " 3 ", "-1"):
        variables["LOKY_MAX_CPU_COUNT"] = accepted
        prepare(None, threads=1)


def test_a_cache_of_compiled_code_is_in_a_private_folder(variables, tmp_path, monkeypatch):
    """Reading such a cache runs what it holds."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # librosa's own folder, as in an image
    variables.pop("NUMBA_CACHE_DIR", None)
    prepare(tmp_path, threads=1)
    folder = variables["NUMBA_CACHE_DIR"]
    assert os.stat(folder).st_mode & 0o077 == 0 and not folder.startswith(str(tmp_path)) and os.listdir(folder) == []
