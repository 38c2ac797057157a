"""Keras starts with threads, seeds and devices, in a process of its own, for it reads them once."""

import json
import os
import re
import subprocess
import sys

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.system.runtime import check_one_host


def in_process(code, **environment):
    """Run code that prints one JSON value; returns the value, and stderr."""
    imports = "import json, os, sys\nfrom mirex_submission.system import environment"
    code = f"{imports}\nfrom mirex_submission.system.runtime import *\n{code}"
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


START = """
environment.prepare("/scratch", threads=2)
started = start_keras(threads=2, seed=7)
import keras, numpy as np, tensorflow as tf
first = np.asarray(keras.random.normal((5,))).tolist() + np.random.random(5).tolist()
start_keras(threads=2, seed=7)  # again, when TensorFlow is running
again = np.asarray(keras.random.normal((5,))).tolist() + np.random.random(5).tolist()
get = tf.config.threading
threads = [get.get_intra_op_parallelism_threads(), get.get_inter_op_parallelism_threads()]
print(json.dumps({"description": started.description, "n_gpus": started.n_gpus, "threads": threads, "first": first,
                  "again": again}))
"""


@pytest.mark.slow
def test_keras_starts_with_n_threads_and_the_seed_silently_and_writes_nowhere(tmp_path):
    got, stderr = in_process(START, HOME=str(tmp_path), KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1")
    assert re.fullmatch(r"Keras 3\S+ on TensorFlow 2\S+, CPU, 2 threads", got["description"])
    assert got["n_gpus"] == 0
    assert got["threads"] == [2, 2]
    assert got["first"] == got["again"]
    assert not re.search(r"^I\d{4} |All log messages before", stderr, re.MULTILINE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["[" * 100_000, '{"cluster": ' * 50_000, "{" + "\x1b" * 10_000, "1", '{"cluster": 1}'])
def test_an_invalid_tf_config_is_a_short_usage_error(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=r"^TF_CONFIG=.*unset it to .*machine \[usage\.tf-config\]$") as caught:
        check_one_host()
    assert len(str(caught.value)) < 1200 and str(caught.value).isprintable()
