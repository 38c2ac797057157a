"""Checkpoints on disk: a read checkpoint equals the written one, or an older one, or there is none."""

import shutil

import numpy as np
import pytest

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.system.arrays import to_bytes
from mirex_submission.system.atomic import seal
from mirex_submission.training import checkpoint
from mirex_submission.training.checkpoint import Checkpoint, Checkpoints, clear_checkpoints, key_of
from mirex_submission.training.recipe import Recipe

SHAPES = {"a/kernel": (3, 4), "b": (2,)}
CONTENTS, LABELS = ["aa", "bb", "cc"], ["x", "y", "x"]


def make(epochs, seed=0):
    rng = np.random.default_rng([seed, epochs])
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return Checkpoint(weights, [{"loss": 1 / (k + 3), "accuracy": k / 7} for k in range(epochs)])


def same(a, b):
    return a.history == b.history and all(np.array_equal(a.weights[k], b.weights[k]) for k in a.weights | b.weights)


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "model", "0123abcd", SHAPES)


def test_the_last_saved_checkpoint_is_loaded_bit_identically(checkpoints):
    for epochs in (1, 2, 9, 10, 100):
        checkpoints.save(make(epochs))
        assert same(checkpoints.load(Recipe(epochs=1000)), make(epochs))


def test_a_failed_write_is_a_warning_and_earlier_checkpoints_stay(checkpoints, caplog):
    checkpoints.save(make(1))
    (checkpoints.folder / f"{checkpoints.key}-000002.checkpoint").mkdir()  # cannot be replaced by a file
    checkpoints.save(make(2))
    assert "[training.checkpoint-not-stored]" in caplog.text
    assert same(checkpoints.load(Recipe(epochs=1)), make(1))


def test_a_folder_deleted_during_a_write_does_not_end_the_training(checkpoints, monkeypatch):
    checkpoints.save(make(1))
    monkeypatch.setattr(checkpoint, "write_file", lambda path, data: shutil.rmtree(path.parent))
    checkpoints.save(make(2))
    assert checkpoints.load(Recipe()) is None


def test_two_checkpoints_are_kept(checkpoints):
    for epochs in range(1, 7):
        checkpoints.save(make(epochs))
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_none_is_loaded_from_an_empty_folder(checkpoints):
    assert checkpoints.load(Recipe(epochs=1000)) is None
    checkpoints.folder.mkdir()
    assert checkpoints.load(Recipe(epochs=1000)) is None


def test_a_checkpoint_of_too_many_epochs_is_skipped(checkpoints):
    for epochs in (3, 5):
        checkpoints.save(make(epochs))
    assert same(checkpoints.load(Recipe(epochs=4)), make(3))
    assert same(checkpoints.load(Recipe(epochs=5)), make(5))
    assert checkpoints.load(Recipe(epochs=2)) is None


def test_checkpoints_of_an_abandoned_training_do_not_displace_new_ones(checkpoints):
    for epochs in (19, 20, 1):
        checkpoints.save(make(epochs))
    assert same(checkpoints.load(Recipe(epochs=40)), make(1))
    checkpoints.save(make(2))
    checkpoints.save(make(3))
    assert same(checkpoints.load(Recipe(epochs=40)), make(3)) and same(checkpoints.load(Recipe(epochs=2)), make(2))


def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(checkpoints):
    for epochs in (3, 4):
        checkpoints.save(make(epochs))
    newest = max(checkpoints.folder.iterdir())
    whole = newest.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 200).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        newest.write_bytes(damaged)
        assert same(checkpoints.load(Recipe(epochs=9)), make(3)), place
    for size in (0, 1, 32, 33, 100, len(whole) - 1):
        newest.write_bytes(whole[:size])
        assert same(checkpoints.load(Recipe(epochs=9)), make(3)), size
    newest.write_bytes(whole)
    assert same(checkpoints.load(Recipe(epochs=9)), make(4))


@pytest.mark.parametrize(
    ("history", "weights"),
    [
        (b"[]", make(2).weights | {"b": np.zeros(3, np.float32)}),
        (b"[]", {"b": make(2).weights["b"]}),
        (b"[]", make(2).weights | {"best/b": np.zeros(2, np.float32)}),
        (b"{}", {}),
        (b'[{"loss": 1.0}]', make(2).weights),
        (b'[{"loss": 1.0, "accuracy": true}]', make(2).weights),
        (b"3", make(2).weights),
        (b"[3]", make(2).weights),
        (b"[{}]", make(2).weights),
        (b'[{"loss": "low"}]', make(2).weights),
        (b"[" * 100_000, make(2).weights),
    ],
    ids=[
        "shape", "too few", "half a best", "nothing", "no accuracy", "a truth", "number", "no epochs", "no loss",
        "no figure", "deep",
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_network_is_skipped_even_with_a_valid_hash(checkpoints, history, weights):
    checkpoints.save(make(1))
    file = checkpoints.folder / f"{checkpoints.key}-000002.checkpoint"
    file.write_bytes(seal(history + b"\n" + to_bytes(weights)))
    for recipe in (Recipe(epochs=9), Recipe(epochs=9, patience=1)):
        found = checkpoints.load(recipe) if not recipe.patience else None
        assert found is None or same(found, make(1))
    assert same(checkpoints.load(Recipe(epochs=9)), make(1))


def test_checkpoints_of_another_training_are_ignored_and_clear_deletes_all(checkpoints):
    other = Checkpoints(checkpoints.folder, "0123abce", SHAPES)
    checkpoints.save(make(2))
    other.save(make(5, seed=1))
    (checkpoints.folder / "bundle.json").write_text("{}")
    assert same(checkpoints.load(Recipe(epochs=9)), make(2)) and same(other.load(Recipe(epochs=9)), make(5, seed=1))
    clear_checkpoints(checkpoints.folder)
    assert [file.name for file in checkpoints.folder.iterdir()] == ["bundle.json"]


@pytest.mark.parametrize(
    "changed",
    [
        {"architecture": "2"},
        {"contents": ["aa", "bb", "cd"]},
        {"contents": ["bb", "aa", "cc"]},
        {"labels": ["x", "y", "y"]},
        {"held_out": np.array([False, False, True])},
        {"spec": FeatureSpec(44100)},
        {"spec": FeatureSpec(n_bands=41)},
        {"spec": FeatureSpec(n_frames=81)},
        {"recipe": Recipe(seed=1)},
        {"recipe": Recipe(batch_size=41)},
        {"recipe": Recipe(learning_rate=0.021)},
        {"recipe": Recipe(segments="fresh")},
        {"recipe": Recipe(segments_per_track=31)},
        {"recipe": Recipe(class_weights="balanced")},
        {"recipe": Recipe(precision="auto")},
    ],
    ids=str,
)
def test_the_key_depends_on_everything_that_decides_the_weights(changed):
    fields = {
        "architecture": "1", "contents": CONTENTS, "labels": LABELS, "held_out": [False] * 3,
        "spec": FeatureSpec(), "recipe": Recipe(),
    }  # fmt: skip
    assert key_of(**fields) == key_of(**fields)
    assert key_of(**{**fields, **changed}) != key_of(**fields)


def test_the_key_does_not_depend_on_epochs_patience_vote_and_other_networks():
    held_out = [False] * 3
    for recipe in (Recipe(epochs=7), Recipe(patience=7), Recipe(vote="majority"), Recipe(model="all")):
        assert key_of("1", CONTENTS, LABELS, held_out, FeatureSpec(), recipe) == key_of(
            "1", CONTENTS, LABELS, held_out, FeatureSpec(), Recipe()
        )


# Where tracks are held out.


def validated(*losses):
    """A checkpoint whose epochs had these losses on held-out tracks, with the best weights beside the last."""
    checkpoint = make(len(losses))
    for epoch, loss in zip(checkpoint.history, losses, strict=True):
        epoch["validation_loss"] = loss
    checkpoint.best = make(len(losses), seed=9).weights
    return checkpoint


def test_the_best_and_the_last_weights_are_stored(checkpoints):
    checkpoints.save(validated(3.0, 2.0, 2.5))
    found = checkpoints.load(Recipe(epochs=1000))
    assert same(found, validated(3.0, 2.0, 2.5)) and found.best_epoch == 1
    for name, value in validated(3.0, 2.0, 2.5).best.items():
        np.testing.assert_array_equal(found.best[name], value)
    checkpoints.save(make(4))
    assert checkpoints.load(Recipe(epochs=1000)).best is None


@pytest.mark.parametrize(
    ("losses", "patience", "done"),
    [
        ((), 1, False),
        ((3.0,), 1, False),
        ((3.0, 2.0), 1, False),
        ((3.0, 2.0, 2.0), 1, True),  # no lower
        ((3.0, 2.0, 2.5), 2, False),
        ((3.0, 2.0, 2.5, 2.4), 2, True),
        ((3.0, 2.0, 2.5, 2.4, 1.0), 2, True),  # and past it
        ((3.0, 2.0, 2.5, 2.4, 1.0), 5, False),
    ],
)
def test_a_training_is_done_after_patience_epochs_without_a_lower_loss(losses, patience, done):
    assert validated(*losses).is_done(Recipe(epochs=100, patience=patience)) == done
    assert validated(*losses).is_done(Recipe(epochs=max(1, len(losses)), patience=100)) == bool(losses)


def test_a_checkpoint_past_the_end_of_less_patience_is_skipped(checkpoints):
    checkpoints.save(validated(3.0, 2.0, 2.5))
    checkpoints.save(validated(3.0, 2.0, 2.5, 2.4, 1.0))
    for patience, n_epochs in ((99, 5), (3, 5), (2, 3), (1, 3)):  # ended after 4 with 2, after 3 with 1
        assert len(checkpoints.load(Recipe(epochs=100, patience=patience)).history) == n_epochs
    checkpoints.clear(but=1)
    assert checkpoints.load(Recipe(epochs=100, patience=2)) is None
    checkpoints.clear()
    assert not list(checkpoints.folder.iterdir())


def test_clearing_spares_the_named_trainings(checkpoints):
    other = Checkpoints(checkpoints.folder, "4567", SHAPES)
    for each in (checkpoints, other):
        each.save(make(1))
    clear_checkpoints(checkpoints.folder, but=["4567"])
    assert checkpoints.load(Recipe(epochs=9)) is None and same(other.load(Recipe(epochs=9)), make(1))
