"""Networks that packages add: the example, installed, by the shell scripts; and packages of every other kind."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from project import PROJECT

from mirex_submission.errors import ModelError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.networks import engine as engines
from mirex_submission.networks import registry as networks
from mirex_submission.protocol.lists import read_labelled, read_paths
from mirex_submission.runs import fitting
from mirex_submission.runs.classify import classify as classify_list
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec()
QUICK = Recipe(model="own", epochs=3, segments_per_track=5)  # 80 segments of 16 tracks, 2 mini-batches
WITH_STATE = """
from keras import layers

def network(segments):
    x = layers.MaxPooling2D((8, 8))(layers.BatchNormalization()(segments))
    return layers.Dropout(0.5)(layers.Dense(8, activation="relu")(layers.Flatten()(x)))
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The folder into which examples/fourth_network is installed."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(PROJECT / "examples/fourth_network", folder / "source")  # where the build leaves its files
    how = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--target", folder / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *how, folder / "source"], check=True)
    return folder / "site"


@pytest.fixture
def install(install_package):
    """Install packages of one module that adds one network."""

    def add(code, *, network="own", value="their_module:network", **package):
        install_package(code, networks.NETWORKS.group, name=network, value=value, **package)

    return add


@pytest.fixture
def tracks(corpus):
    return read_labelled(corpus["train"])


RUN = RunOptions(threads=2, device="cpu", no_check=True)


def train(scratch, tracks, recipe=QUICK, **options):
    training = TrainingOptions(**options)
    return fitting.train(scratch, tracks, recipe, SPEC, training=training, run=RUN)


def classify(scratch, corpus, output):
    return classify_list(scratch, corpus["test"], output, run=RUN)


# The example, as its user has it.


@pytest.fixture(scope="module")
def trained(example, corpus, tmp_path_factory):
    """A scratch folder that bin/train.sh has left."""
    scratch = tmp_path_factory.mktemp("trained") / "scratch"
    call = [PROJECT / "bin/train.sh", "--model", "separable", "--epochs", "2", "--segments-per-track", "5"]
    env = {**os.environ, "MIREX_PYTHON": sys.executable, "PYTHONPATH": str(example)}
    done = subprocess.run([*call, scratch, corpus["train"]], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Keras" in done.stderr
    return scratch


@pytest.mark.slow
def test_the_example_classifies_by_the_shell_scripts(trained, example, corpus, run_script, tmp_path):
    calls = trained, corpus["test"], tmp_path / "out.txt"
    done = run_script("classify.sh", "--probabilities", tmp_path / "p.csv", *calls, env={"PYTHONPATH": str(example)})
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [path for path, _ in lines] == read_paths(corpus["test"])
    assert {label for _, label in lines} <= {track.label for track in read_labelled(corpus["train"])}
    kept = json.loads((trained / "model/bundle.json").read_text().partition("\n")[2])
    assert kept["recipe"]["model"] == "separable" and kept["packages"] == {"separable": ["fourth-network", "0.1.0"]}
    assert "fourth-network 0.1.0" in (trained / "model/MODEL_CARD.md").read_text()


@pytest.mark.slow
def test_without_its_package_a_model_is_status_5_that_names_it_and_a_training_is_status_2(
    trained, corpus, run_script, tmp_path
):
    done = run_script("classify.sh", trained, corpus["test"], tmp_path / "out.txt")
    assert done.returncode == 5
    assert "model separable: no installed package adds" in done.stderr
    assert "package fourth-network 0.1.0: install it" in done.stderr
    assert not (tmp_path / "out.txt").exists()
    done = run_script("train.sh", "--model", "separable", tmp_path / "s", corpus["train"])
    assert done.returncode == 2 and "choose one of 1, 2, 3, all" in done.stderr
    done = run_script("mirex-submission.sh", "check", trained, "--train", corpus["train"])
    assert done.returncode == 0 and "package fourth-network 0.1.0: install it" in done.stdout


def test_an_added_network_is_listed_without_loading_it_or_keras(example):
    code = (
        "import sys\nfrom mirex_submission.networks.registry import NETWORKS\nprint(NETWORKS.names)\n"
        "assert not {'fourth_network', 'keras', 'numpy'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(example), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['separable']\n"


# What a training keeps of it.


@pytest.mark.slow
@pytest.mark.backends
def test_a_network_with_dropout_and_moving_averages_resumes_bit_identically(install, tracks, corpus, tmp_path):
    install(WITH_STATE)
    straight = bundles.load(train(tmp_path / "straight", tracks))
    train(tmp_path / "s", tracks, dataclasses.replace(QUICK, epochs=1))
    went_on = bundles.load(train(tmp_path / "s", tracks))
    assert len(went_on.history["own"]) == 3 and went_on == straight
    weights = bundles.load_weights(tmp_path / "s/model", went_on, "own")
    assert any(name.endswith("/moving_mean") and np.any(value) for name, value in weights.items())
    for scratch in ("straight", "s"):
        classify(tmp_path / scratch, corpus, tmp_path / f"{scratch}.txt")
    assert (tmp_path / "s.txt").read_bytes() == (tmp_path / "straight.txt").read_bytes()


def test_a_changed_module_or_version_is_a_new_training(install):
    found = []
    for code, version in ((WITH_STATE, "1.0"), (WITH_STATE.replace("relu", "tanh"), "1.0"), (WITH_STATE, "1.1")):
        install(code, version=version)
        found.append(networks.NETWORKS.identity("own"))
    assert len(set(found)) == 3
    install(WITH_STATE)
    assert networks.NETWORKS.identity("own") == found[0]


def test_another_fitting_version_is_logged_and_one_that_does_not_fit_is_a_model_error(
    install, tracks, corpus, tmp_path, caplog
):
    install(WITH_STATE)
    train(tmp_path, tracks, dataclasses.replace(QUICK, epochs=1))
    install(WITH_STATE, version="1.1")
    classify(tmp_path, corpus, tmp_path / "out.txt")
    assert "trained with their-package 1.0, but their-package 1.1 is installed" in caplog.text
    for other in (WITH_STATE.replace("Dense(8", "Dense(9"), WITH_STATE.replace("Flatten()(x)", "Flatten()")):
        install(other, version="2.0")
        with pytest.raises(ModelError, match=r"model\.network-(changed|fails)"):
            classify(tmp_path, corpus, tmp_path / "out.txt")
    install(WITH_STATE, package="another-package")
    install(WITH_STATE, network="no-more")
    with pytest.raises(ModelError, match=r"their-package, .*another-package.*\[model\.package\]"):
        classify(tmp_path, corpus, tmp_path / "out.txt")


# Packages that are wrong.


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "their-package 1.0 cannot be loaded: ModuleNotFoundError"),
        ("raise SyntaxError('here')", "cannot be loaded: SyntaxError: here"),
        ("", "cannot be loaded: AttributeError"),
        ("network = 3", "registers their_module:network, .*usage\\.plugin-fails"),
        (
            "def network(): pass",
            "the function of their-package 1.0 fails on segments of 40 bands x 80 frames: TypeError",
        ),
        (
            "import keras\ndef network(x): return keras.layers.ReLU()(x)",
            r"model\.network-output",
        ),
        ("def network(x): return 3", r"model\.network-output"),
        ("import keras\ndef network(x): return keras.Input((8,))", "fails on segments.* ValueError"),
        (WITH_STATE.replace("Flatten()", "Flatten(name='standardise')"), "fails on segments.* ValueError"),
        ("import keras\ndef network(x): return keras.layers.Conv2D(3, 100)(x)", "fails on segments of 40 bands"),
    ],
)
def test_an_invalid_network_is_a_usage_error_before_extraction(install, tracks, tmp_path, code, said):
    install(code)
    with pytest.raises(UsageError, match=said):
        train(tmp_path / "s", tracks)
    assert not (tmp_path / "s/features").exists()


def test_two_packages_of_one_name_are_a_usage_error_that_names_both(install):
    install(WITH_STATE)
    install(WITH_STATE, package="their-rival")
    with pytest.raises(UsageError, match=r"their-\w+ 1.0 and their-\w+ 1.0 .*\[usage\.plugin-twice\]"):
        networks.NETWORKS.package_of("own")


def test_packages_cannot_take_the_papers_names_or_invalid_ones(install):
    for k, name in enumerate(("1", "all", "4", "a b", "own")):
        install(WITH_STATE, package=f"package{k}", network=name)
    assert networks.NETWORKS.names == ["own"]


@pytest.fixture
def named(tmp_path):
    """Write a whole bundle whose model, of a package, has the name that is given; returns its folder."""

    def write(name, package="their-package"):
        tracks = tuple(bundles.TrainedTrack(f"/{label}.wav", label, "aa") for label in "ab")
        history = {name: [{"loss": 1.0, "accuracy": 0.5}]}
        of_network = {"weights": {name: "0.weights.npz"}, "keys": {name: "k"}, "history": history}
        bundle = bundles.Bundle(
            ("a", "b"), SPEC, Recipe(), tracks, **of_network, versions={}, engine="", packages={name: (package, "1.0")}
        )
        fields = {"format": bundles.FORMAT, **dataclasses.asdict(bundle)}
        fields["recipe"]["model"] = name
        (tmp_path / "bundle.json").write_bytes(bundles.seal(json.dumps(fields).encode()))
        return tmp_path

    return write


@pytest.mark.parametrize("name", ["os:system", "their_module:network", "../own", "/tmp/own", "a/b", "1.py", "", 3])
def test_a_name_in_a_bundle_runs_only_registered_code(install, named, tmp_path, name):
    install(f"open({str(tmp_path / 'ran')!r}, 'w')\n{WITH_STATE}")
    with pytest.raises(ModelError, match=r"\[model\.damaged\]"):
        bundles.load(named(name))
    for unknown in ("their_module", "os", "their_module.network"):
        with pytest.raises(ModelError, match=rf"model {unknown}: .*\[model\.package\]"):
            bundles.load(named(unknown))
    with pytest.raises(ModelError, match=r"package os, .*\[model\.package\]"):
        bundles.load(named("own", package="os"))
    assert bundles.load(named("own")).recipe.model == "own"
    assert not (tmp_path / "ran").exists()  # not even then: it is loaded when it is computed


def test_several_gpus_train_only_the_papers_networks():
    with pytest.raises(UsageError, match=r"own.*\[usage\.several-gpus\]"):
        engines.start("gpu:0,1", threads=1, seed=0, networks=["own"], together=True)
