"""The example of a view from a pretrained network: without its weights, and with them as a user has them."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from project import PROJECT

from mirex_submission.errors import UsageError
from mirex_submission.features.spec import VIEW_RATES_HZ
from mirex_submission.protocol.lists import read_labelled

FOLDER = PROJECT / "examples/musicnn_view"
VIEWS = ("--recipe", "modulation", "--views", "mel-modulation,musicnn")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder into which the example is installed."""
    folder = tmp_path_factory.mktemp("musicnn")
    shutil.copytree(FOLDER, folder / "source")  # where the build leaves its files
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--target", folder / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, folder / "source"], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def example():
    """The module of the example."""
    spec = importlib.util.spec_from_file_location("musicnn_view", FOLDER / "musicnn_view.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def random_network(example):
    return example.build()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of musicnn: $MUSICNN_WHEEL, or downloaded by the example's script."""
    if "MUSICNN_WHEEL" in os.environ:
        return os.environ["MUSICNN_WHEEL"]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    command = [FOLDER / "fetch.sh", tmp_path_factory.mktemp("wheel")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the wheel of musicnn cannot be fetched: {done.stderr[-300:]}")
    return done.stdout.strip()


def music(seconds, rate_hz):
    """Synthesise a falling tone with noise."""
    t = np.arange(max(1, int(seconds * rate_hz))) / rate_hz
    noise = np.random.default_rng(0).standard_normal(len(t))
    return (0.3 * np.sin(2 * np.pi * (880 * t - 20 * t**2)) + 0.05 * noise).astype(np.float32)


# Without the wheel.


def test_the_view_is_registered_and_known_without_loading_it(site):
    code = (
        "import sys\nfrom mirex_submission.features.views import PLUGINS, view_spec\n"
        "print(PLUGINS.names, PLUGINS.package_of('musicnn'))\nassert 'musicnn_view' not in sys.modules\n"
        "print(view_spec('musicnn', 22050).id)\n"
        "assert not {'tensorflow', 'keras', 'librosa', 'soxr'} & set(sys.modules)"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['musicnn'] ('musicnn-view', '0.1.0')\nmusicnn-22050hz-1756-v1\n"


def test_a_missing_or_wrong_wheel_is_a_usage_error_with_advice(example, monkeypatch, tmp_path):
    (tmp_path / "text.whl").write_text("no wheel")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as other:
        other.writestr("other/__init__.py", "")
    for path in (None, tmp_path / "none.whl", tmp_path / "text.whl", tmp_path / "other.whl"):
        if path is None:
            monkeypatch.delenv("MUSICNN_WHEEL", raising=False)
        else:
            monkeypatch.setenv("MUSICNN_WHEEL", str(path))
        with pytest.raises(UsageError, match=r"fetch\.sh FOLDER.* MUSICNN_WHEEL .*\[usage\.plugin-fails\]"):
            example.musicnn(np.zeros(100, np.float32), 22050)


def test_a_training_without_the_wheel_is_status_2_and_stores_nothing(site, corpus, run_script, tmp_path):
    env = {"PYTHONPATH": str(site), "MUSICNN_WHEEL": str(tmp_path / "none.whl")}
    done = run_script("train.sh", *VIEWS, tmp_path / "s", corpus["features"], corpus["train"], env=env)
    assert done.returncode == 2, done.stderr
    assert "fetch.sh FOLDER" in done.stderr and "[usage.plugin-fails]" in done.stderr
    assert not list(tmp_path.glob("s/features/**/*.view"))


@pytest.mark.parametrize("rate_hz", VIEW_RATES_HZ)
def test_every_clip_has_finite_reproducible_vectors_of_the_declared_length(
    example, random_network, rate_hz, monkeypatch
):
    monkeypatch.setattr(example, "_network", lambda: random_network)
    clips = {"silence": np.zeros(rate_hz, np.float32), "one sample": music(0, rate_hz), "10 s": music(10, rate_hz)}
    for samples in clips.values():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vectors = example.musicnn(samples, rate_hz)
        n_patches = -(-len(samples) // (3 * rate_hz))
        assert vectors.shape == (n_patches, example.view.length)
        assert vectors.dtype == np.float32 and np.isfinite(vectors).all()
        np.testing.assert_array_equal(example.musicnn(samples, rate_hz), vectors)


def test_patches_do_not_overlap_and_the_last_one_continues_with_the_beginning(example):
    (whole,) = example.patches(music(2, 22050), 22050)
    n = 1 + 2 * example.RATE_HZ // example.HOP
    np.testing.assert_array_equal(whole[n:], whole[: example.N_FRAMES - n])
    long = example.patches(music(10, 22050), 22050)
    n = 1 + 10 * example.RATE_HZ // example.HOP - 3 * example.N_FRAMES
    np.testing.assert_array_equal(long[3, n:], long[0, : example.N_FRAMES - n])


# With the wheel.


@pytest.mark.slow
def test_it_extracts_trains_and_classifies_by_the_shell_scripts(site, wheel, corpus, run_script, tmp_path):
    env = {"PYTHONPATH": str(site), "MUSICNN_WHEEL": wheel}
    done = run_script("train.sh", *VIEWS, tmp_path / "s", corpus["features"], corpus["train"], env=env)
    assert done.returncode == 0, done.stderr
    bundle = json.loads((tmp_path / "s/model/bundle.json").read_text().partition("\n")[2])
    assert bundle["recipe"]["views"] == ["mel-modulation", "musicnn"]
    assert bundle["packages"] == {"musicnn": ["musicnn-view", "0.1.0"]}
    assert "musicnn-view 0.1.0" in (tmp_path / "s/model/MODEL_CARD.md").read_text()
    done = run_script("classify.sh", tmp_path / "s", corpus["test"], tmp_path / "out.txt", env=env)
    assert done.returncode == 0, done.stderr
    labels = dict(line.split("\t") for line in (tmp_path / "out.txt").read_text().splitlines())
    truth = {track.path: track.label for track in read_labelled(corpus["truth"])}
    assert labels.keys() == truth.keys()
    assert sum(truth[path] == label for path, label in labels.items()) > 0.8 * len(labels)


@pytest.mark.slow
def test_features_and_tags_equal_those_of_musicnns_own_graph(example, wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICNN_WHEEL", wheel)
    samples = music(7, 22050)
    expected = of_the_graph_in(wheel, example.patches(samples, 22050)[..., 0], tmp_path)
    vectors = example.musicnn(samples, 22050)
    assert np.ptp(expected[:, -50:], axis=0).max() > 0.01  # the patches differ
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-4)


def of_the_graph_in(wheel, patches, folder):
    """Compute the features with the authors' own graph, which is in the wheel beside the weights."""
    import tensorflow as tf

    tf1 = tf.compat.v1
    with zipfile.ZipFile(wheel) as archive:
        for suffix in ("index", "data-00000-of-00001"):
            (folder / f"weights.{suffix}").write_bytes(archive.read(f"musicnn/MTT_musicnn/.{suffix}"))
        meta = tf1.MetaGraphDef.FromString(archive.read("musicnn/MTT_musicnn/.meta"))
    pools, last = ["model/moments/Squeeze", "model/Max"], ["model/batch_normalization_10/batchnorm/add_1"]
    outputs = [*pools, *last, "model/Sigmoid"]
    # Without the training part: this version of TensorFlow refuses its gradients.
    graph_def = tf1.graph_util.extract_sub_graph(meta.graph_def, [*outputs, "save/restore_all"])
    for node in graph_def.node:
        if node.op == "RandomUniform":  # of a dropout that does not run: it needs a seed after a test of training
            node.attr["seed"].i = 1
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf1.import_graph_def(graph_def, name="")
        session.run("save/restore_all", {"save/Const:0": str(folder / "weights")})
        inputs = [node.outputs[0] for node in graph.get_operations() if node.type == "Placeholder"]
        feeds = {node: False if node.dtype == tf.bool else patches for node in inputs}
        arrays = session.run([f"{name}:0" for name in outputs], feeds)
    return np.concatenate([array.reshape(len(patches), -1) for array in arrays], axis=1)
