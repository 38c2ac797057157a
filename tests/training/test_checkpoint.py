"""States of a training on disk: what is read is what was written, or an older one, or none."""

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


def test_what_was_saved_last_is_loaded_to_the_bit(checkpoints):
    for epochs in (1, 2, 9, 10, 100):
        checkpoints.save(make(epochs))
        assert same(checkpoints.load(Recipe(epochs=1000)), make(epochs))


def test_a_disk_that_does_not_take_it_is_warned_of_and_the_states_before_stay(checkpoints, caplog):
    checkpoints.save(make(1))
    (checkpoints.folder / f"{checkpoints.key}-000002.checkpoint").mkdir()  # cannot be replaced by a file
    checkpoints.save(make(2))
    assert "[training.checkpoint-not-stored]" in caplog.text
    assert same(checkpoints.load(Recipe(epochs=1)), make(1))


def test_a_folder_that_vanishes_while_a_state_is_kept_ends_no_training(checkpoints, monkeypatch):
    checkpoints.save(make(1))
    monkeypatch.setattr(checkpoint, "write_file", lambda path, data: shutil.rmtree(path.parent))
    checkpoints.save(make(2))
    assert checkpoints.load(Recipe()) is None


def test_two_are_kept(checkpoints):
    for epochs in range(1, 7):
        checkpoints.save(make(epochs))
    assert len(list(checkpoints.folder.iterdir())) == 2


def test_none_where_there_is_none(checkpoints):
    assert checkpoints.load(Recipe(epochs=1000)) is None
    checkpoints.folder.mkdir()
    assert checkpoints.load(Recipe(epochs=1000)) is None


def test_a_state_of_more_epochs_than_wanted_is_passed_over(checkpoints):
    for epochs in (3, 5):
        checkpoints.save(make(epochs))
    assert same(checkpoints.load(Recipe(epochs=4)), make(3))
    assert same(checkpoints.load(Recipe(epochs=5)), make(5))
    assert checkpoints.load(Recipe(epochs=2)) is None


def test_states_of_a_training_that_was_given_up_do_not_push_out_those_of_the_next(checkpoints):
    for epochs in (19, 20, 1):
        checkpoints.save(make(epochs))
    assert same(checkpoints.load(Recipe(epochs=40)), make(1))
    checkpoints.save(make(2))
    checkpoints.save(make(3))
    assert same(checkpoints.load(Recipe(epochs=40)), make(3)) and same(checkpoints.load(Recipe(epochs=2)), make(2))


def test_any_damage_is_noticed_and_the_state_before_is_taken(checkpoints):
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
def test_a_state_that_no_training_of_this_network_wrote_is_passed_over_though_its_digest_is_right(
    checkpoints, history, weights
):
    checkpoints.save(make(1))
    file = checkpoints.folder / f"{checkpoints.key}-000002.checkpoint"
    file.write_bytes(seal(history + b"\n" + to_bytes(weights)))
    for recipe in (Recipe(epochs=9), Recipe(epochs=9, patience=1)):
        found = checkpoints.load(recipe) if not recipe.patience else None
        assert found is None or same(found, make(1))
    assert same(checkpoints.load(Recipe(epochs=9)), make(1))


def test_another_trainings_states_are_not_seen_and_clear_takes_all_away(checkpoints):
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
def test_the_key_is_of_all_that_decides_the_weights(changed):
    fields = {
        "architecture": "1", "contents": CONTENTS, "labels": LABELS, "held_out": [False] * 3,
        "spec": FeatureSpec(), "recipe": Recipe(),
    }  # fmt: skip
    assert key_of(**fields) == key_of(**fields)
    assert key_of(**{**fields, **changed}) != key_of(**fields)


def test_the_key_is_not_of_epochs_patience_vote_and_the_other_networks():
    held_out = [False] * 3
    for recipe in (Recipe(epochs=7), Recipe(patience=7), Recipe(vote="majority"), Recipe(model="all")):
        assert key_of("1", CONTENTS, LABELS, held_out, FeatureSpec(), recipe) == key_of(
            "1", CONTENTS, LABELS, held_out, FeatureSpec(), Recipe()
        )


# Where tracks are held out.


def validated(*losses):
    """A state whose epochs had these losses on held-out tracks, with the best weights beside the last."""
    state = make(len(losses))
    for epoch, loss in zip(state.history, losses, strict=True):
        epoch["validation_loss"] = loss
    state.best = make(len(losses), seed=9).weights
    return state


def test_the_best_weights_are_kept_beside_the_last(checkpoints):
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
def test_a_training_is_done_after_as_many_epochs_without_a_lower_loss_as_patience_says(losses, patience, done):
    assert validated(*losses).is_done(Recipe(epochs=100, patience=patience)) == done
    assert validated(*losses).is_done(Recipe(epochs=max(1, len(losses)), patience=100)) == bool(losses)


def test_a_state_past_where_less_patience_would_have_ended_is_passed_over(checkpoints):
    checkpoints.save(validated(3.0, 2.0, 2.5))
    checkpoints.save(validated(3.0, 2.0, 2.5, 2.4, 1.0))
    for patience, n_epochs in ((99, 5), (3, 5), (2, 3), (1, 3)):  # ended after 4 with 2, after 3 with 1
        assert len(checkpoints.load(Recipe(epochs=100, patience=patience)).history) == n_epochs
    checkpoints.clear(but=1)
    assert checkpoints.load(Recipe(epochs=100, patience=2)) is None
    checkpoints.clear()
    assert not list(checkpoints.folder.iterdir())


def test_clearing_spares_what_is_named(checkpoints):
    other = Checkpoints(checkpoints.folder, "4567", SHAPES)
    for each in (checkpoints, other):
        each.save(make(1))
    clear_checkpoints(checkpoints.folder, but=["4567"])
    assert checkpoints.load(Recipe(epochs=9)) is None and same(other.load(Recipe(epochs=9)), make(1))
