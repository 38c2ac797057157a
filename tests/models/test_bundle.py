"""The trained model on disk: read back as it was, refused when anything about it is not as it was."""

import dataclasses
import errno
import fcntl
import io
import json
import os
import pickle

import numpy as np
import pytest

from mirex_submission.errors import ModelError, StorageError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import (
    Bundle,
    TrainedTrack,
    folder_of,
    load,
    load_weights,
    locked,
    save,
    save_weights,
)
from mirex_submission.networks.sizes import initial_weights
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec(11025, 10, 31)  # the smallest for model 1
TRACKS = (
    TrainedTrack("/Müsik/ä b.wav", "Häuser & Höfe", "aa"),
    TrainedTrack("/2.wav", 'a "quoted", label ', "bb"),
    TrainedTrack("/3.wav", 'a "quoted", label ', "cc"),
)


def network(seed=0, *, n_bands=SPEC.n_bands, n_frames=SPEC.n_frames, n_classes=2):
    """The weights of a network of model 1."""
    sizes = {"n_bands": n_bands, "n_frames": n_frames, "n_classes": n_classes}
    return initial_weights("1", **sizes, mean=np.arange(n_bands) - 5.0, std=np.arange(n_bands) + 1.0, seed=seed)


def make(weights):
    history = {"1": [{"loss": 0.7, "accuracy": 0.5}, {"loss": 0.1, "accuracy": 1.0}]}
    return Bundle(
        classes=('a "quoted", label ', "Häuser & Höfe"),
        spec=SPEC,
        recipe=Recipe(model="1", epochs=2, seed=9, segments="fresh", class_weights="balanced"),
        tracks=TRACKS,
        weights=weights,
        keys={"1": "0123abcd"},
        versions={"keras": "3"},
        engine="native kernel, CPU, vectors of 16, 4 threads",
        history=history,
    )


@pytest.fixture
def saved(tmp_path):
    """A model's folder and what was put there: (folder, bundle, weights)."""
    folder = tmp_path / "Mödel folder" / "model"
    weights = network()
    bundle = make({"1": save_weights(folder, weights)})
    save(folder, bundle)
    return folder, bundle, weights


def put(folder, bundle, data):
    """The bundle that names these bytes as the weights of model 1."""
    name = f"{bundles.digest(data)}.weights.npz"
    (folder / name).write_bytes(data)
    return dataclasses.replace(bundle, weights={"1": name})


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_a_loaded_model_equals_the_saved_one(saved):
    folder, bundle, weights = saved
    assert load(folder) == bundle
    loaded = load_weights(folder, load(folder), "1")
    assert list(loaded) == list(weights)
    for name, value in weights.items():
        assert loaded[name].dtype == np.float32
        np.testing.assert_array_equal(loaded[name], value)


def test_training_tracks_versions_and_engine_are_stored(saved):
    found = load(saved[0])
    assert found.keys == {"1": "0123abcd"}
    assert found.engine == "native kernel, CPU, vectors of 16, 4 threads"
    assert found.recipe.segments == "fresh" and found.recipe.class_weights == "balanced"


def test_a_path_that_is_not_utf8_is_stored_unchanged(saved):
    folder, bundle, _ = saved
    odd = dataclasses.replace(bundle, tracks=(TrainedTrack("/\udcff/1.wav", "Häuser & Höfe", "aa"), *TRACKS[1:]))
    save(folder, odd)
    assert load(folder) == odd


def test_class_shares_count_the_training_tracks(saved):
    np.testing.assert_allclose(saved[1].class_shares, [2 / 3, 1 / 3])


def test_weights_are_named_by_the_hash_of_their_bytes(saved, tmp_path):
    folder, bundle, weights = saved
    name = bundle.weights["1"]
    assert name == f"{bundles.digest((folder / name).read_bytes())}.weights.npz"
    assert save_weights(tmp_path / "another", weights) == name  # the same weights, the same bytes, the same name
    assert save_weights(tmp_path / "another", network(seed=1)) != name


def test_weights_of_the_previous_model_stay_and_older_ones_are_deleted(saved):
    folder, bundle, _ = saved
    new = save_weights(folder, network(seed=1))
    assert load(folder) == bundle and load_weights(folder, bundle, "1")  # until the new bundle is in place
    save(folder, make({"1": new}))
    assert load_weights(folder, bundle, "1")  # for a classification that began with the old model
    newest = save_weights(folder, network(seed=2))
    save(folder, make({"1": newest}))
    assert sorted(file.name for file in folder.iterdir()) == sorted(["bundle.json", new, newest])


def test_a_flipped_byte_anywhere_in_the_bundle_is_a_model_error(saved):
    folder, _, _ = saved
    file = folder / "bundle.json"
    good = file.read_bytes()
    for i in range(len(good)):
        file.write_bytes(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        with pytest.raises(ModelError, match=r"bundle\.json: .*train again"):
            load(folder)
    file.write_bytes(good)
    assert load(folder)


@pytest.mark.parametrize("keep", [0, 1, 41, 200, -2])
def test_a_truncated_bundle_is_a_model_error(saved, keep):
    folder, _, _ = saved
    file = folder / "bundle.json"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"bundle\.json: .*train again"):
        load(folder)


def test_a_flipped_byte_anywhere_in_the_weights_is_a_model_error(saved):
    folder, bundle, _ = saved
    file = folder / bundle.weights["1"]
    good = file.read_bytes()
    for i in [*range(0, len(good), len(good) // 50), len(good) - 1]:
        file.write_bytes(good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :])
        with pytest.raises(ModelError, match=rf"{file.name}: .*\[model\.damaged\]"):
            load_weights(folder, bundle, "1")
    file.write_bytes(good)
    assert load_weights(folder, bundle, "1")


def test_a_missing_model_is_a_model_error_with_advice(tmp_path):
    with pytest.raises(ModelError, match=r"bin/train\.sh.*\[model\.missing\]"):
        load(tmp_path)


def test_missing_weights_are_a_model_error(saved):
    folder, bundle, _ = saved
    (folder / bundle.weights["1"]).unlink()
    with pytest.raises(ModelError, match=r"\[model\.unreadable\]"):
        load_weights(folder, bundle, "1")


def test_another_format_is_refused(saved, monkeypatch):
    folder, bundle, _ = saved
    with monkeypatch.context() as later:
        later.setattr(bundles, "FORMAT", bundles.FORMAT + 1)
        save(folder, bundle)
    with pytest.raises(ModelError, match=r"\[model\.other-version\]"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"model": "9"}},
        {"recipe": {"colour": "red"}},
        {"spec": {"rate_hz": 8000}},
        {"tracks": [{"path": "/a.wav"}]},
        {"weights": 3},
        {"keys": 3},
        {"classes": None},
        {"classes": []},
        {"classes": ["Häuser & Höfe"]},
        {"classes": ['a "quoted", label ', "Häuser & Höfe", "Häuser & Höfe"]},
        {"classes": ["a\nb"], "tracks": [{"path": "/a.wav", "label": "a\nb", "content": "aa"}]},
        *({"spec": {"rate_hz": rate}} for rate in (22050.0, True, "22050")),
        *({"recipe": {"segments_per_track": n}} for n in (True, 1.5, 2.0)),
        *({"recipe": {"seed": seed}} for seed in (1.5, True, 2.0)),
        {
            "tracks": [
                {"path": [], "label": label, "content": "aa"} for label in ('a "quoted", label ', "Häuser & Höfe")
            ]
        },
        {
            "tracks": [
                {"path": "/a", "label": label, "content": {}} for label in ('a "quoted", label ', "Häuser & Höfe")
            ]
        },
        *(
            {"recipe": {"model": "1"}, "history": {"1": [epoch]}}
            for epoch in (1, {"loss": 0.1}, {"loss": "x", "accuracy": 1.0})
        ),
        {"classes": [3], "tracks": [{"path": "/a.wav", "label": 3, "content": "aa"}]},
    ],
)
def test_inconsistent_fields_are_a_model_error(saved, change):
    folder, bundle, _ = saved
    body = json.dumps({"format": bundles.FORMAT, **dataclasses.asdict(bundle), **change})
    (folder / "bundle.json").write_bytes(bundles.seal(body.encode()))
    with pytest.raises(ModelError, match=r"\[model\.damaged\]"):
        load(folder)


def test_too_deeply_nested_json_is_a_model_error(saved):
    folder, _, _ = saved
    (folder / "bundle.json").write_bytes(bundles.seal(b"[" * 100_000))
    with pytest.raises(ModelError, match=r"\[model\.damaged\]"):
        load(folder)


@pytest.mark.parametrize("name", ["../evil.weights.npz", "/tmp/evil.weights.npz", "evil.npz", "0" * 32, "", "."])
def test_a_bundle_cannot_point_outside_its_folder(saved, name):
    folder, bundle, _ = saved
    with pytest.raises(ModelError, match=r"\[model\.damaged\]"):
        load_weights(folder, dataclasses.replace(bundle, weights={"1": name}), "1")


@pytest.mark.parametrize("sizes", [{"n_bands": 12}, {"n_frames": 51}, {"n_classes": 3}])
def test_weights_of_another_network_are_a_model_error(saved, sizes):
    folder, bundle, _ = saved
    bundle = dataclasses.replace(bundle, weights={"1": save_weights(folder, network(**sizes))})
    with pytest.raises(ModelError, match=r"\[model\.other-weights\]"):
        load_weights(folder, bundle, "1")


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("dense/bias"),
        lambda weights: weights.update({"dense/more": np.zeros(3, np.float32)}),
        lambda weights: weights.update({"dense/kernel": weights["dense/kernel"].T}),
    ],
)
def test_a_missing_added_or_transposed_weight_is_a_model_error(saved, change):
    folder, bundle, weights = saved
    change(weights)
    bundle = dataclasses.replace(bundle, weights={"1": save_weights(folder, weights)})
    with pytest.raises(ModelError, match=r"\[model\.other-weights\]"):
        load_weights(folder, bundle, "1")


def test_weights_that_are_not_an_npz_file_are_a_model_error(saved):
    folder, bundle, weights = saved
    one_array = io.BytesIO()
    np.save(one_array, weights["dense/kernel"])
    for data in (b"import os; os.abort()", b"PK\x03\x04", npz(**weights)[:-1], one_array.getvalue()):
        with pytest.raises(ModelError, match=r"\.npz: .*\[model\.damaged\]"):
            load_weights(folder, put(folder, bundle, data), "1")


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_with_a_pickle_are_a_model_error_and_run_no_code(saved, tmp_path):
    folder, bundle, weights = saved
    made = tmp_path / "made by the model"
    evil = np.array([Evil(made)] * 200, dtype=object)
    data = npz(**{**weights, "dense/bias": evil})
    for bad in (data, pickle.dumps(Evil(made))):
        with pytest.raises(ModelError, match=r"\.npz: .*\[model\.damaged\]"):
            load_weights(folder, put(folder, bundle, bad), "1")
    assert not made.exists()
    with np.load(io.BytesIO(data), allow_pickle=True) as trusting:
        trusting["dense/bias"][0].close()
    assert made.exists()  # it would have


def test_models_of_several_names_share_a_scratch_folder(tmp_path):
    assert folder_of(tmp_path, None) == tmp_path / "model"
    assert folder_of(tmp_path, "fold 1") == tmp_path / "models" / "fold 1"


def test_a_second_training_on_the_same_model_is_refused_while_the_first_runs(tmp_path):
    refused = pytest.raises(UsageError, match=r"\[usage\.locked\]")
    with locked(tmp_path / "model"):
        with refused, locked(tmp_path / "model"):
            pytest.fail("two trainings at once")
        with locked(tmp_path / "models" / "another"):
            pass
    with locked(tmp_path / "model"):  # free again
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_allows_a_training_with_a_warning(tmp_path, monkeypatch, caplog, code):
    def flock(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / "model"):
        pass
    assert os.strerror(code) in caplog.text and "[disk.no-locks]" in caplog.text


def test_another_error_of_a_lock_is_a_storage_error(tmp_path, monkeypatch):
    def flock(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="Input/output error"), locked(tmp_path / "model"):
        pass
