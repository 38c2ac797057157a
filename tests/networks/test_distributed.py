"""One model on several devices or hosts ends where one device does with the same mini-batches, within rounding."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from project import PROJECT

from mirex_submission.errors import UsageError
from mirex_submission.models import bundle as bundles
from mirex_submission.system.runtime import hosts

pytest.importorskip("tensorflow")


TWO_DEVICES = """
import json, sys
sys.path.insert(0, TESTS)
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)
from epochs import epoch_of
from mirex_submission.networks.sizes import initial_weights
from mirex_submission.networks.keras_network import KerasNetwork
from mirex_submission.networks.keras_steps import gather

rng = np.random.default_rng(0)
x, y = rng.normal(size=(47, 18, 53)).astype(np.float32), rng.integers(0, 3, 47)
weights = initial_weights("2", n_bands=18, n_frames=53, n_classes=3, mean=np.zeros(18), std=np.ones(18), seed=0)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
result = {"replicas": strategy.num_replicas_in_sync, "gathered": gather(4.0, strategy), "runs": []}
more = [{"frames_bytes": 10**9}, {"frames_bytes": 10**9, "strategy": strategy}, {"strategy": strategy}]
for kind in more:
    network = KerasNetwork("2", weights, n_frames=53, **kind)
    # 15 is odd: one replica has a segment less; and the last mini-batch has 2.
    found = [list(network.train(epoch_of(x, y, batch_size=15, learning_rate=0.1, number=k,
                                         class_weights=np.float32([1, 2, 3])))) for k in range(2)]
    end = network.weights
    result["runs"].append({"found": found, "p": network.probabilities(x).tolist(),
                           "weights": {name: value.tolist() for name, value in end.items()}})
result["moved"] = float(np.abs(end["dense/kernel"] - weights["dense/kernel"]).max())
print(json.dumps(result))
"""


def test_two_devices_end_where_one_does():
    code = f"TESTS = {str(PROJECT / 'tests/support')!r}\n{TWO_DEVICES}"
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    got = json.loads(run.stdout)
    assert got["replicas"] == 2 and got["gathered"] == [4.0, 4.0] and got["moved"] > 1e-3
    one, *others = got["runs"]
    for two in others:
        np.testing.assert_allclose(two["found"], one["found"], rtol=1e-5)
        np.testing.assert_allclose(two["p"], one["p"], rtol=1e-4)
        for name, value in one["weights"].items():
            np.testing.assert_allclose(two["weights"][name], value, rtol=0, atol=1e-6, err_msg=name)


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_two_hosts(corpus, scratches, options):
    workers, processes = [f"127.0.0.1:{port}" for port in free_ports(2)], []
    for index, (scratch, own) in enumerate(zip(scratches, options, strict=True)):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "MIREX_PYTHON": sys.executable}
        environment.pop("KERAS_BACKEND", None)
        command = [PROJECT / "bin/train.sh", "-numThreads", "1", *own, scratch, corpus["train"]]
        processes.append(
            subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        )  # fmt: skip
    return processes


def train_on_two_hosts(corpus, scratches, options):
    processes = start_two_hosts(corpus, scratches, options)
    said = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], said


QUICK = ("--epochs", "2", "--segments-per-track", "5", "--patience", "5", "--model", "1")


@pytest.mark.slow
def test_two_hosts_train_the_model_of_one(corpus, run_script, tmp_path):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    one = run_script("train.sh", *QUICK, alone, corpus["train"], env={"KERAS_BACKEND": "tensorflow"})
    assert one.returncode == 0, one.stderr
    statuses, said = train_on_two_hosts(corpus, [shared, shared], [QUICK, QUICK])
    assert statuses == [0, 0], said
    assert "2 replicas by " in said[0] and "the model is written by the first host" in said[1]
    models = [bundles.load(scratch / "model") for scratch in (alone, shared)]
    weights = [bundles.load_weights(s / "model", model, "1") for s, model in zip((alone, shared), models, strict=True)]
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=0, atol=1e-4, err_msg=name)
    for a, b in zip(models[0].history["1"], models[1].history["1"], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["validation_loss"] == pytest.approx(b["validation_loss"], rel=1e-3)


@pytest.mark.slow
def test_two_hosts_go_on_together_or_say_why_not(corpus, tmp_path):
    shared = tmp_path / "shared"

    def both(*scratches, epochs=(3, 3), model=("1", "1")):
        options = [["--epochs", str(n), "--model", m, *QUICK[2:6]] for n, m in zip(epochs, model, strict=True)]
        return train_on_two_hosts(corpus, scratches or (shared, shared), options)

    assert both(epochs=(2, 2))[0] == [0, 0]
    statuses, said = both()
    assert statuses == [0, 0] and all("goes on after epoch 2 of 3" in each for each in said)
    assert len(bundles.load(shared / "model").history["1"]) == 3
    statuses, said = both()
    assert statuses == [0, 0] and all("nothing to do" in each for each in said)
    apart = both(shared, tmp_path / "own"), both(epochs=(4, 3)), both(epochs=(3, 4)), both(model=("1", "2"))
    for statuses, said in apart:
        assert statuses == [2, 2], said
        for each in said:
            assert "do not begin with the same: give all of them the same lists, options and scratch folder" in each


@pytest.mark.slow
def test_a_host_that_is_lost_ends_the_other_with_a_word(corpus, tmp_path):
    endless = ["--epochs", "100000", *QUICK[2:]]
    processes = start_two_hosts(corpus, [tmp_path, tmp_path], [endless, endless])
    for line in processes[0].stdout:
        if "an epoch takes" in line:
            break
    processes[1].kill()
    said = processes[0].communicate(timeout=120)[0]
    assert processes[0].returncode == 6
    assert "a host of TF_CONFIG is gone" in said and "Traceback" not in said


def test_a_host_that_nobody_joins_ends_with_a_word():
    code = """
import logging
from mirex_submission.system import runtime
logging.basicConfig(level=logging.INFO)
runtime.HOSTS_WAIT_S = 1
try:
    runtime.start_keras(threads=1, seed=0, together=True)
except runtime.DeviceError as error:
    print(error)
"""
    config = {"cluster": {"worker": [f"127.0.0.1:{p}" for p in free_ports(2)]}, "task": {"type": "worker", "index": 0}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config), "KERAS_BACKEND": "tensorflow"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert f"waited 1 s in vain for {config['cluster']['worker'][1]}, which TF_CONFIG names: start all" in run.stdout


def test_hosts_are_those_of_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert hosts() == (0, 1)
    cluster = {"worker": ["a:1", "b:1", "c:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 2}}))
    assert hosts() == (2, 3)
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}))
    assert hosts() == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '{"cluster": 1}',
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a", "b"]}, "task": {"index": 0}}',
        '{"cluster": {"worker": "127.0.0.1:9"}, "task": {"index": 0}}',
        '{"cluster": {"worker": [1, 2]}, "task": {"index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1.9}}',
        '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"index": 0}}',
        '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"index": 0}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_tf_config_that_says_nothing_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=r"TF_CONFIG=.*give .*cluster.*or unset it"):
        hosts()
