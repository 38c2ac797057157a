"""One model on several devices ends where one device does with the same mini-batches, within rounding."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from project import PROJECT

from mirex_submission.errors import UsageError
from mirex_submission.system.runtime import check_one_host

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

rng = np.random.default_rng(0)
x, y = rng.normal(size=(47, 18, 53)).astype(np.float32), rng.integers(0, 3, 47)
weights = initial_weights("2", n_bands=18, n_frames=53, n_classes=3, mean=np.zeros(18), std=np.ones(18), seed=0)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
result = {"replicas": strategy.num_replicas_in_sync, "runs": []}
for kind in ({}, {"strategy": strategy}):
    network = KerasNetwork("2", weights, n_frames=53, **kind)
    # The last mini-batch has 15: one replica has a segment less.
    found = [list(network.train(epoch_of(x, y, batch_size=16, learning_rate=0.1, number=k,
                                         class_weights=np.float32([1, 2, 3])))) for k in range(2)]
    end = network.weights
    result["runs"].append({"found": found, "p": network.probabilities(x).tolist(),
                           "weights": {name: value.tolist() for name, value in end.items()}})
result["moved"] = float(np.abs(end["dense/kernel"] - weights["dense/kernel"]).max())
print(json.dumps(result))
"""


@pytest.mark.slow
def test_two_devices_train_to_the_weights_of_one():
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
    assert got["replicas"] == 2 and got["moved"] > 1e-3
    one, two = got["runs"]
    # Keras weighs the loss that it reports by each replica's share: with odd mini-batches that is not exact.
    np.testing.assert_allclose(two["found"], one["found"], rtol=0.03)
    np.testing.assert_allclose(two["p"], one["p"], rtol=1e-4)
    for name, value in one["weights"].items():
        np.testing.assert_allclose(two["weights"][name], value, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}},
        {"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}},
        {"environment": "cloud"},
    ],
)
def test_one_host_in_tf_config_trains_alone(config, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    check_one_host()
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    check_one_host()


@pytest.mark.parametrize("jobs", [{"worker": ["a:1", "b:1"]}, {"chief": ["a:1"], "worker": ["b:1"]}])
def test_several_hosts_in_tf_config_are_an_error(jobs, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": {"type": "worker", "index": 0}}))
    with pytest.raises(UsageError) as raised:
        check_one_host()
    assert raised.value.code == "usage.several-hosts" and "folds" in raised.value.text


@pytest.mark.parametrize("text", ["{", "3", '{"cluster": 1}', '{"cluster": {"worker": 1}}'])
def test_an_invalid_tf_config_is_an_error(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError) as raised:
        check_one_host()
    assert raised.value.code == "usage.tf-config"


def test_train_sh_refuses_several_hosts_before_it_reads_audio(corpus, run_script, tmp_path):
    config = json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}})
    done = run_script("train.sh", "--no-check", tmp_path / "s", corpus["train"], env={"TF_CONFIG": config})
    assert done.returncode == 2 and "[usage.several-hosts]" in done.stderr
    assert not (tmp_path / "s/features").exists()
