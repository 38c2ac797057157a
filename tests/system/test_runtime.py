"""Threads, settings and seeds, each in a process of its own, because the libraries read them once."""

import json
import os
import re
import subprocess
import sys

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.system import environment
from mirex_submission.system.environment import default_threads


def in_process(code, **environment):
    """Run code that prints one JSON value; returns the value and what came on stderr."""
    code = f"import json, os, sys\nfrom mirex_submission.system.runtime import *\n{code}"
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_threads_are_at_most_four_and_at_most_the_processors():
    assert 1 <= default_threads() <= 4
    one, _ = in_process("os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); print(default_threads())")
    assert one == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_n_threads_means_n_for_every_library(threads):
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]
    names += ["TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS"]
    code = f"prepare('/scratch', threads={threads}); print(json.dumps([os.environ[name] for name in {names}]))"
    got, _ = in_process(code, OMP_NUM_THREADS="64", OPENBLAS_NUM_THREADS="64")
    assert got == [str(threads)] * (len(names) - 1) + ["1"]  # OpenBLAS does small products only


def test_one_thread_means_that_numpy_starts_no_other():
    code = """
prepare("/scratch", threads=1)
import numpy as np
np.ones((500, 500)) @ np.ones((500, 500))
print(len(os.listdir("/proc/self/task")))
"""
    n_threads, _ = in_process(code, OMP_NUM_THREADS="8", OPENBLAS_NUM_THREADS="8")
    assert n_threads == 1


def test_temporary_arrays_of_joblib_go_to_the_scratch_folder():
    code = "prepare('/my scratch', threads=1); print(json.dumps(os.environ['JOBLIB_TEMP_FOLDER']))"
    assert in_process(code)[0] == "/my scratch/tmp"


def test_the_users_choice_of_backend_and_log_level_stays():
    code = """
prepare("/scratch", threads=1)
print(json.dumps([os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"]]))
"""
    assert in_process(code, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="0")[0] == ["tensorflow", "0"]


@pytest.mark.parametrize("backend", ["theano", "os"])
def test_a_backend_that_is_none_is_a_usage_error(backend, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", {**os.environ, "KERAS_BACKEND": backend})
    with pytest.raises(UsageError, match=f"KERAS_BACKEND={backend}: not installed, or not one of tensorflow"):
        environment.prepare(tmp_path, threads=1)


def test_preparing_loads_nothing_heavy_and_makes_nothing(tmp_path):
    code = f"""
prepare({str(tmp_path / "scratch")!r}, threads=1)
print(json.dumps(sorted({{"numpy", "scipy", "joblib", "keras", "tensorflow"}} & set(sys.modules))))
"""
    assert in_process(code)[0] == []
    assert os.listdir(tmp_path) == []


START = """
prepare("/scratch", threads=2)
started = start_keras(threads=2, seed=7)
import keras, numpy as np, tensorflow as tf
first = np.asarray(keras.random.normal((5,))).tolist() + np.random.random(5).tolist()
start_keras(threads=2, seed=7)  # again, when TensorFlow is running
again = np.asarray(keras.random.normal((5,))).tolist() + np.random.random(5).tolist()
get = tf.config.threading
threads = [get.get_intra_op_parallelism_threads(), get.get_inter_op_parallelism_threads()]
print(json.dumps({"said": started.said, "n_gpus": started.n_gpus, "first": first, "again": again, "threads": threads}))
"""


def test_keras_starts_with_n_threads_and_the_seed_silently_and_writes_nowhere(tmp_path):
    got, stderr = in_process(START, HOME=str(tmp_path), KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1")
    assert re.fullmatch(r"Keras 3\S+ on TensorFlow 2\S+, CPU, 2 threads", got["said"])
    assert got["n_gpus"] == 0
    assert got["threads"] == [2, 2]
    assert got["first"] == got["again"]
    assert not re.search(r"^I\d{4} |All log messages before", stderr, re.MULTILINE)
    assert os.listdir(tmp_path) == []
