"""The trained model on disk: read back as it was, refused when anything about it is not as it was."""

import dataclasses
import json

import numpy as np
import pytest

from mirex_submission.errors import ModelError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models.architectures import build, set_standardisation
from mirex_submission.models.bundle import (
    Bundle,
    TrainedTrack,
    folder_of,
    load,
    load_network,
    locked,
    save,
    save_weights,
)
from mirex_submission.models.recipe import Recipe

SPEC = FeatureSpec(11025, 10, 31)  # the smallest for model 1
TRACKS = (
    TrainedTrack("/Müsik/ä b.wav", "Häuser & Höfe", "aa"),
    TrainedTrack("/2.wav", 'a "quoted", label ', "bb"),
    TrainedTrack("/3.wav", 'a "quoted", label ', "cc"),
)


def network(seed=0):
    model = build("1", n_bands=SPEC.n_bands, n_frames=SPEC.n_frames, n_classes=2, seed=seed)
    set_standardisation(model, np.arange(10) - 5.0, np.arange(10) + 1.0)
    return model


def make(weights):
    history = {"1": [{"loss": 0.7, "accuracy": 0.5}, {"loss": 0.1, "accuracy": 1.0}]}
    classes = ('a "quoted", label ', "Häuser & Höfe")
    return Bundle(classes, SPEC, Recipe(model="1", epochs=2, seed=9), TRACKS, weights, {"keras": "3"}, history)


@pytest.fixture
def saved(tmp_path):
    """A model's folder and what was put there: (folder, bundle, network)."""
    folder = tmp_path / "Mödel folder" / "model"
    model = network()
    bundle = make({"1": save_weights(folder, model)})
    save(folder, bundle)
    return folder, bundle, model


def test_what_is_loaded_equals_what_was_saved(saved):
    folder, bundle, model = saved
    assert load(folder) == bundle
    loaded = load_network(folder, load(folder), "1")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = np.random.default_rng(0).normal(size=(5, 10, 31)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict_on_batch(x), model.predict_on_batch(x))


def test_class_shares_are_those_of_the_training_tracks(saved):
    np.testing.assert_allclose(saved[1].class_shares, [2 / 3, 1 / 3])


def test_weights_are_named_by_the_hash_of_their_bytes(saved, tmp_path):
    folder, bundle, model = saved
    name = bundle.weights["1"]
    assert name == f"{bundles.digest((folder / name).read_bytes())}.weights.h5"
    assert save_weights(tmp_path / "another", model) == name  # the same weights, the same bytes, the same name
    assert save_weights(tmp_path / "another", network(seed=1)) != name


def test_weights_stay_for_one_more_model_and_are_dropped_then(saved):
    folder, bundle, _ = saved
    new = save_weights(folder, network(seed=1))
    assert load(folder) == bundle and load_network(folder, bundle, "1")  # until the new bundle is in place
    save(folder, make({"1": new}))
    assert load_network(folder, bundle, "1")  # for a classification that began with the old model
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
def test_a_bundle_that_was_cut_off_is_a_model_error(saved, keep):
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
        with pytest.raises(ModelError, match=f"{file.name}: damaged: train again"):
            load_network(folder, bundle, "1")
    file.write_bytes(good)
    assert load_network(folder, bundle, "1")


def test_a_missing_model_is_a_model_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"no trained model here: train again with bin/train\.sh"):
        load(tmp_path)


def test_missing_weights_are_a_model_error(saved):
    folder, bundle, _ = saved
    (folder / bundle.weights["1"]).unlink()
    with pytest.raises(ModelError, match=r"cannot be read .*train again"):
        load_network(folder, bundle, "1")


def test_another_format_is_refused(saved, monkeypatch):
    folder, bundle, _ = saved
    with monkeypatch.context() as later:
        later.setattr(bundles, "FORMAT", bundles.FORMAT + 1)
        save(folder, bundle)
    with pytest.raises(ModelError, match="written by another version of this program: train again"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"model": "9"}},
        {"recipe": {"colour": "red"}},
        {"spec": {"rate_hz": 8000}},
        {"tracks": [{"path": "/a.wav"}]},
        {"weights": 3},
        {"classes": None},
    ],
)
def test_fields_that_make_no_sense_are_a_model_error(saved, change):
    folder, bundle, _ = saved
    body = json.dumps({"format": bundles.FORMAT, **dataclasses.asdict(bundle), **change})
    (folder / "bundle.json").write_text(f"{bundles.digest(body.encode())}\n{body}\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"not understood .*train again"):
        load(folder)


@pytest.mark.parametrize("name", ["../evil.weights.h5", "/tmp/evil.weights.h5", "evil.keras", "", "."])
def test_a_bundle_cannot_point_outside_its_folder(saved, name):
    folder, bundle, _ = saved
    with pytest.raises(ModelError, match="damaged: train again"):
        load_network(folder, dataclasses.replace(bundle, weights={"1": name}), "1")


def test_weights_of_another_network_are_a_model_error(saved):
    folder, bundle, _ = saved
    other = build("1", n_bands=12, n_frames=31, n_classes=2)
    bundle = dataclasses.replace(bundle, weights={"1": save_weights(folder, other)})
    with pytest.raises(ModelError, match="not the weights of model 1"):
        load_network(folder, bundle, "1")


def test_weights_that_are_no_hdf5_are_a_model_error(saved):
    folder, bundle, _ = saved
    data = b"import os; os.abort()"
    name = f"{bundles.digest(data)}.weights.h5"
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match="not the weights of model 1"):
        load_network(folder, dataclasses.replace(bundle, weights={"1": name}), "1")


def test_models_of_several_names_live_side_by_side(tmp_path):
    assert folder_of(tmp_path, None) == tmp_path / "model"
    assert folder_of(tmp_path, "fold 1") == tmp_path / "models" / "fold 1"


def test_a_second_training_on_the_same_model_is_refused_while_the_first_runs(tmp_path):
    refused = pytest.raises(UsageError, match="another training is running here: wait, or give --name")
    with locked(tmp_path / "model"):
        with refused, locked(tmp_path / "model"):
            pytest.fail("two trainings at once")
        with locked(tmp_path / "models" / "another"):
            pass
    with locked(tmp_path / "model"):  # free again
        pass
