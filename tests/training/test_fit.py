"""Training, the paper's way: stored frames in, a network fitted by plain SGD out, the same for the same seed."""

import errno
import math
import os
import time

import numpy as np
import pytest

from mirex_submission.errors import StorageError, TrainingError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header
from mirex_submission.networks import engine as engines
from mirex_submission.networks.epoch import cut
from mirex_submission.networks.sizes import initial_weights
from mirex_submission.training.checkpoint import Checkpoint
from mirex_submission.training.dataset import pack
from mirex_submission.training.fit import Task, train_network
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import draw_order, segment_starts

SPEC = FeatureSpec(22050, 18, 53)  # the smallest that suits all three networks
N_TRACKS, N_CLASSES = 10, 2
TARGETS = [i % N_CLASSES for i in range(N_TRACKS)]


@pytest.fixture(params=["native", pytest.param("keras", marks=pytest.mark.slow)])
def engine(request, monkeypatch):
    """Both ways to compute a network."""
    if request.param == "keras":
        monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    elif engines.compiled is None:
        pytest.skip("no compiler was found when this was installed")
    else:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
    started = engines.start("cpu", threads=2, seed=0)
    assert (started.keras is None) == (request.param == "native")
    return started


def store_track(store, name, seed, slope=0.0):
    """Frames that rise or fall with frequency, louder in higher bands, of a length of the track's own."""
    rng = np.random.default_rng(seed)
    bands = np.arange(SPEC.n_bands)
    frames = (rng.normal(bands / 3 - 4, 0.5, (60 + seed, SPEC.n_bands)) + slope * bands).astype(np.float32)
    path = f"/music/{name}.wav"
    store.write(Header(path, AudioState(1, 2, 3), f"{seed + 1:040x}", SPEC, len(frames), 1.0), frames)
    return path, frames


@pytest.fixture
def stored(tmp_path):
    """A store with two kinds of tracks: (store, {path: frames}); their targets are TARGETS."""
    store = FeatureStore(tmp_path / "scratch", SPEC)
    tracks = dict(store_track(store, f"track {i}", i, 0.15 * (i % 2)) for i in range(N_TRACKS))
    return store, tracks


@pytest.fixture
def data(stored, tmp_path):
    store, tracks = stored
    return pack(tmp_path / "frames", store, list(tracks), TARGETS, Recipe(segments_per_track=6))


def fit(data, engine, architecture="1", *, recipe=None, validation=None, **more):
    recipe = Recipe(**{"epochs": 1, "segments_per_track": 6, **(recipe or {})})
    return train_network(Task(architecture, data, N_CLASSES, SPEC, recipe, validation), engine, **more)


def as_bytes(checkpoint):
    return b"".join(weight.tobytes() for weight in checkpoint.weights.values())


# Packing.


def test_pack_reads_the_stored_frames(stored, data):
    _, tracks = stored
    np.testing.assert_array_equal(data.frames, np.concatenate(list(tracks.values())))
    np.testing.assert_array_equal(data.targets, np.repeat(TARGETS, 6))
    segments = cut(data.frames, data.starts_of(0), SPEC.n_frames).reshape(N_TRACKS, 6, SPEC.n_bands, SPEC.n_frames)
    for i, frames in enumerate(tracks.values()):
        own = segment_starts(len(frames), f"{i + 1:040x}", SPEC, Recipe(segments_per_track=6))
        np.testing.assert_array_equal(segments[i], cut(frames, own, SPEC.n_frames))


def test_pack_maps_large_arrays_from_disk(data):
    assert isinstance(data.frames, np.memmap)
    assert not data.frames.flags.writeable
    for array in (data.starts_of(0), data.targets, data.order_room):
        assert isinstance(array.base, np.memmap) and array.shape == (N_TRACKS * 6,)


def test_a_full_disk_is_an_error_and_does_not_kill_the_process(stored, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store, tracks = stored
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="No space left on device"):
        pack(tmp_path / "full", store, list(tracks), TARGETS, Recipe())
    assert not list((tmp_path / "full").iterdir())


def test_standardisation_depends_on_the_training_frames_only(stored, data, tmp_path):
    store, tracks = stored
    frames = np.concatenate(list(tracks.values())).astype(np.float64)
    np.testing.assert_allclose(data.mean, frames.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(data.std, frames.std(axis=0), rtol=1e-6)
    # Another track in the same store, not in the list, has no say.
    store_track(store, "of the test list", 90, slope=5.0)
    again = pack(tmp_path / "again", store, list(tracks), TARGETS, Recipe(segments_per_track=6))
    np.testing.assert_array_equal(again.mean, data.mean)
    np.testing.assert_array_equal(again.std, data.std)


def test_a_constant_band_is_centred_but_not_scaled(tmp_path):
    store, frames = FeatureStore(tmp_path, SPEC), np.random.default_rng(0).normal(size=(70, SPEC.n_bands))
    frames[:, 4] = -10
    store.write(Header("/a.wav", AudioState(1, 2, 3), "1", SPEC, 70, 1.0), frames)
    data = pack(tmp_path / "frames", store, ["/a.wav"], [0], Recipe())
    assert data.mean[4] == -10 and data.std[4] == 1.0
    assert np.all(np.delete(data.std, 4) > 0.5)


def test_pack_refuses_damaged_features(stored, tmp_path):
    store, tracks = stored
    path = list(tracks)[3]
    file = store.file_of(path)
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(StorageError, match=r"/music/track 3\.wav.*\[features\.lost\]"):
        pack(tmp_path / "frames", store, list(tracks), TARGETS, Recipe())


# Fitting.


@pytest.mark.parametrize("engine", ["native", "keras"], indirect=True)
def test_training_is_sgd_without_momentum_at_a_constant_0_02_on_cross_entropy_of_integer_labels(
    data, engine, monkeypatch
):
    tf = pytest.importorskip("tensorflow")
    from mirex_submission.networks import keras_network

    # Dropout that drops nothing.
    monkeypatch.setattr("mirex_submission.networks.epoch.DROPOUT_RATE", 0.0)
    for module in ("kernel", "keras_network"):
        monkeypatch.setattr(f"mirex_submission.networks.{module}.DROPOUT_RATE", 0.0)
    recipe = Recipe(epochs=3, segments_per_track=6)
    checkpoint = fit(data, engine, recipe={"epochs": 3})
    # The same, written out: w <- w - 0.02 dL/dw, L = -mean(log p[label]), 40 segments at a time.
    sizes = {"n_bands": SPEC.n_bands, "n_frames": SPEC.n_frames, "n_classes": N_CLASSES}
    weights = initial_weights("1", **sizes, mean=data.mean, std=data.std, seed=recipe.seed)
    network = keras_network.KerasNetwork("1", weights, n_frames=SPEC.n_frames)
    losses = []
    for epoch in range(3):
        of_batches = []
        for batch in np.split(draw_order(60, recipe, epoch), [40]):
            labels = tf.constant(data.targets[batch], tf.int32)
            with tf.GradientTape() as tape:
                p = network.model(cut(data.frames, data.starts_of(epoch)[batch], SPEC.n_frames))
                loss = -tf.reduce_mean(tf.math.log(tf.gather(p, labels, axis=1, batch_dims=1)))
            variables = network.model.trainable_weights
            for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
                variable.assign(variable - 0.02 * tf.convert_to_tensor(gradient))
            of_batches += [float(loss)] * len(batch)
        losses.append(np.mean(of_batches))
    np.testing.assert_allclose([epoch["loss"] for epoch in checkpoint.history], losses, rtol=1e-4)
    for name, expected in network.weights.items():
        np.testing.assert_allclose(checkpoint.weights[name], expected, rtol=0, atol=1e-5, err_msg=name)


def test_the_trained_network_standardises_as_it_learned_to(data, engine):
    checkpoint = fit(data, engine)
    np.testing.assert_allclose(checkpoint.weights["standardise/mean"], data.mean, rtol=1e-6)
    np.testing.assert_allclose(checkpoint.weights["standardise/std"], data.std, rtol=1e-6)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(data, engine):
    a, same, other = (fit(data, engine, "2", recipe={"seed": seed}) for seed in (5, 5, 6))
    assert as_bytes(a) == as_bytes(same)
    assert a.history == same.history
    assert as_bytes(a) != as_bytes(other)


@pytest.mark.parametrize(
    ("engine", "architecture"),
    [
        *(("native", architecture) for architecture in "123"),
        *(pytest.param("keras", architecture, marks=pytest.mark.slow) for architecture in "123"),
    ],
    indirect=["engine"],
)
def test_the_loss_falls_and_the_classes_are_learned(data, engine, architecture):
    history = fit(data, engine, architecture, recipe={"epochs": 12}).history
    assert len(history) == 12
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.9


def test_a_nan_loss_ends_the_training_with_advice(data, engine):
    with pytest.raises(TrainingError, match=r"epoch 1: .*--learning-rate \[training\.diverged\]"):
        fit(data, engine, recipe={"epochs": 3, "learning_rate": 1e38})


# Going on.


@pytest.mark.parametrize(
    ("engine", "done", "segments"),
    [
        *(("native", done, segments) for done in (1, 2, 4) for segments in ("random", "fresh")),
        ("keras", 2, "fresh"),
        pytest.param("keras", 2, "random", marks=pytest.mark.slow),
    ],
    indirect=["engine"],
)
def test_a_resumed_training_is_bit_identical(stored, tmp_path, engine, segments, done):
    store, tracks = stored
    recipe = {"epochs": 5, "segments": segments}
    data = pack(tmp_path / "frames", store, list(tracks), TARGETS, Recipe(segments_per_track=6, segments=segments))
    straight, checkpoints = [], []
    straight = fit(data, engine, "2", recipe=recipe, save=checkpoints.append, save_every_s=0)
    assert [len(checkpoint.history) for checkpoint in checkpoints] == [1, 2, 3, 4, 5]
    on = fit(data, engine, "2", recipe=recipe, checkpoint=checkpoints[done - 1])
    assert as_bytes(on) == as_bytes(straight) and on.history == straight.history
    shorter = fit(data, engine, "2", recipe={**recipe, "epochs": done})
    assert as_bytes(shorter) == as_bytes(checkpoints[done - 1])  # the number of epochs decides nothing else


def test_a_checkpoint_is_not_changed_by_the_training_that_resumes_from_it(data, engine):
    first = fit(data, engine)
    before, history = as_bytes(first), list(first.history)
    fit(data, engine, recipe={"epochs": 2}, checkpoint=first)
    assert as_bytes(first) == before and first.history == history


def test_a_finished_checkpoint_is_returned_unchanged(data, engine):
    first = fit(data, engine)
    again = fit(data, engine, checkpoint=first)
    assert as_bytes(again) == as_bytes(first) and again.history == first.history


def test_checkpoints_are_saved_at_most_once_an_interval_and_always_at_the_end(data, engine):
    saved = []
    fit(
        data,
        engine,
        recipe={"epochs": 4},
        save=lambda checkpoint: saved.append(len(checkpoint.history)),
        save_every_s=3600,
    )
    assert saved == [4]


def test_a_time_limit_ends_the_training_after_a_whole_epoch_with_a_warning(data, engine, caplog):
    checkpoint = fit(data, engine, recipe={"epochs": 10**6}, ends_s=time.monotonic() + 0.5)
    assert 1 <= len(checkpoint.history) < 10**6
    words = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(words) == 2 and all("[training.time-limit]" in line for line in words)
    assert f"epoch {len(checkpoint.history)} of 1000000" in words[1]
    exactly = fit(data, engine, recipe={"epochs": len(checkpoint.history)})
    assert as_bytes(checkpoint) == as_bytes(exactly)


def test_one_epoch_is_always_trained(data, engine):
    assert len(fit(data, engine, recipe={"epochs": 3}, ends_s=-math.inf).history) == 1


# Beyond the paper.


def test_fresh_segments_differ_from_epoch_to_epoch_and_random_ones_do_not(stored, tmp_path):
    store, tracks = stored
    for segments, same in (("random", True), ("consecutive", True), ("fresh", False)):
        recipe = Recipe(segments_per_track=6, segments=segments)
        data = pack(tmp_path / segments, store, list(tracks), TARGETS, recipe)
        assert np.array_equal(data.starts_of(0), data.starts_of(1)) == same
        np.testing.assert_array_equal(data.starts_of(1), data.starts_of(1))
        assert len(data.starts_of(1)) == len(data.targets)


def test_balanced_weights_give_all_classes_the_same_total_weight(stored, tmp_path, engine):
    store, tracks = stored
    targets = [0] * 8 + [1] * 2
    data = pack(tmp_path / "f", store, list(tracks), targets, Recipe(segments_per_track=6))
    weights = data.class_weights(N_CLASSES)
    np.testing.assert_allclose(weights * np.bincount(data.targets), 30)
    np.testing.assert_allclose(weights[data.targets].mean(), 1, rtol=1e-6)
    plain, balanced = (
        fit(
            data,
            engine,
            recipe={"class_weights": kind},
            checkpoint=Checkpoint(fit(data, engine, recipe={"epochs": 1}).weights),
        )
        for kind in ("none", "balanced")
    )
    assert as_bytes(plain) != as_bytes(balanced)


def held_out_data(stored, tmp_path, recipe):
    """The first eight tracks to train on, the other two held out: one of each class."""
    store, tracks = stored
    paths = list(tracks)
    return (
        pack(tmp_path / "trained", store, paths[:8], TARGETS[:8], recipe),
        pack(tmp_path / "held out", store, paths[8:], TARGETS[8:], recipe),
    )


def test_patience_keeps_the_best_epoch_on_held_out_tracks_and_ends_after_n_worse_ones(stored, tmp_path, engine, caplog):
    caplog.set_level("INFO", "mirex_submission")
    options = {"epochs": 60, "patience": 2, "learning_rate": 1.0}
    recipe = Recipe(segments_per_track=6, **options)
    data, validation = held_out_data(stored, tmp_path, recipe)
    checkpoint = fit(data, engine, recipe=options, validation=validation)
    losses = [epoch["validation_loss"] for epoch in checkpoint.history]
    assert len(losses) < 60 and checkpoint.best_epoch == len(losses) - 3 == losses.index(min(losses))
    assert (
        f"the model has the weights of epoch {checkpoint.best_epoch + 1}, the best on the held-out tracks"
        in caplog.text
    )

    # Held-out tracks teach nothing: without them the last weights are the same, and the best were once the last.
    for weights, epochs in ((checkpoint.weights, len(losses)), (checkpoint.best, checkpoint.best_epoch + 1)):
        plain = fit(data, engine, recipe={"epochs": epochs, "learning_rate": 1.0})
        assert as_bytes(Checkpoint(weights)) == as_bytes(plain)
    # What is measured is the mean loss of their segments, without dropout.
    network = engine.network("1", checkpoint.best, n_frames=SPEC.n_frames)
    found = network.probabilities(cut(validation.frames, validation.starts_of(0), SPEC.n_frames))
    of_target = found[np.arange(12), validation.targets]
    assert min(losses) == pytest.approx(-np.log(of_target).mean(), rel=1e-5)
    right = (found.argmax(axis=1) == validation.targets).mean()
    assert checkpoint.history[checkpoint.best_epoch]["validation_accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("engine", "done"),
    [("native", 1), ("native", 3), pytest.param("keras", 3, marks=pytest.mark.slow)],
    indirect=["engine"],
)
def test_a_training_with_patience_resumes_with_its_best_weights(stored, tmp_path, engine, done):
    options = {"epochs": 30, "patience": 2, "learning_rate": 1.0}
    data, validation = held_out_data(stored, tmp_path, Recipe(segments_per_track=6, **options))
    checkpoints = []
    straight = fit(data, engine, recipe=options, validation=validation, save=checkpoints.append, save_every_s=0)
    on = fit(data, engine, recipe=options, validation=validation, checkpoint=checkpoints[done - 1])
    assert as_bytes(on) == as_bytes(straight) and on.history == straight.history
    assert as_bytes(Checkpoint(on.best)) == as_bytes(Checkpoint(straight.best))
    ended = fit(data, engine, recipe=options, validation=validation, checkpoint=straight)
    assert ended.history == straight.history
    patient = fit(data, engine, recipe={**options, "patience": 4}, validation=validation, checkpoint=straight)
    assert len(patient.history) > len(straight.history)


def test_mean_and_deviation_come_from_the_tracks_that_are_trained_on(stored, tmp_path):
    _, tracks = stored
    data, _ = held_out_data(stored, tmp_path, Recipe())
    frames = np.concatenate(list(tracks.values())[:8]).astype(np.float64)
    np.testing.assert_allclose(data.mean, frames.mean(axis=0), rtol=1e-9)
