"""Training, the paper's way: stored frames in, a network fitted by plain SGD out, the same for the same seed."""

import keras
import numpy as np
import pytest

from mirex_submission.errors import StorageError, TrainingError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header
from mirex_submission.models.architectures import build, set_standardisation
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.segments import batches, cut, segment_starts
from mirex_submission.models.training import pack, train_network
from mirex_submission.system.runtime import start_keras

SPEC = FeatureSpec(22050, 18, 53)  # the smallest that suits all three networks
N_TRACKS, N_CLASSES = 10, 2
TARGETS = [i % N_CLASSES for i in range(N_TRACKS)]


@pytest.fixture(scope="module", autouse=True)
def _keras():
    start_keras(threads=2, seed=0)


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


def fit(data, architecture="1", **recipe):
    recipe = Recipe(**{"epochs": 1, "segments_per_track": 6, **recipe})
    return train_network(architecture, data, n_classes=N_CLASSES, spec=SPEC, recipe=recipe)


def as_bytes(network):
    return b"".join(weight.tobytes() for weight in network.get_weights())


# Packing.


def test_pack_reads_what_the_store_holds(stored, data):
    _, tracks = stored
    np.testing.assert_array_equal(data.frames, np.concatenate(list(tracks.values())))
    np.testing.assert_array_equal(data.targets, np.repeat(TARGETS, 6))
    segments = cut(data.frames, data.starts, SPEC.n_frames).reshape(N_TRACKS, 6, SPEC.n_bands, SPEC.n_frames)
    for i, frames in enumerate(tracks.values()):
        own = segment_starts(len(frames), f"{i + 1:040x}", SPEC, Recipe(segments_per_track=6))
        np.testing.assert_array_equal(segments[i], cut(frames, own, SPEC.n_frames))


def test_pack_keeps_the_frames_on_disk_not_in_memory(data):
    assert isinstance(data.frames, np.memmap)
    assert not data.frames.flags.writeable


def test_standardisation_is_of_the_training_frames_only(stored, data, tmp_path):
    store, tracks = stored
    frames = np.concatenate(list(tracks.values())).astype(np.float64)
    np.testing.assert_allclose(data.mean, frames.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(data.std, frames.std(axis=0), rtol=1e-6)
    # Another track in the same store, not in the list, has no say.
    store_track(store, "of the test list", 90, slope=5.0)
    again = pack(tmp_path / "again", store, list(tracks), TARGETS, Recipe(segments_per_track=6))
    np.testing.assert_array_equal(again.mean, data.mean)
    np.testing.assert_array_equal(again.std, data.std)


def test_a_band_that_never_moves_is_centred_not_blown_up(tmp_path):
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
    with pytest.raises(StorageError, match=r"features of /music/track 3\.wav are damaged or gone"):
        pack(tmp_path / "frames", store, list(tracks), TARGETS, Recipe())


# Fitting.


def test_training_is_sgd_without_momentum_at_a_constant_0_02_on_cross_entropy_of_integer_labels(data):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("its gradients are taken with TensorFlow")
    import tensorflow as tf

    recipe = Recipe(epochs=3, segments_per_track=6)
    trained, history = fit(data, epochs=3)
    # The same, written out: w <- w - 0.02 dL/dw, L = -mean(log p[label]), 40 segments at a time.
    network = build("1", n_bands=SPEC.n_bands, n_frames=SPEC.n_frames, n_classes=N_CLASSES, seed=recipe.seed)
    set_standardisation(network, data.mean, data.std)
    losses = []
    for epoch in range(3):
        of_batches = []
        for batch in batches(60, recipe, epoch):
            labels = tf.constant(data.targets[batch])
            with tf.GradientTape() as tape:
                p = network(cut(data.frames, data.starts[batch], SPEC.n_frames), training=True)
                loss = -tf.reduce_mean(tf.math.log(tf.gather(p, labels, axis=1, batch_dims=1)))
            variables = network.trainable_weights
            for variable, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables]), strict=True):
                variable.assign(variable - 0.02 * tf.convert_to_tensor(gradient))
            of_batches += [float(loss)] * len(batch)
        losses.append(np.mean(of_batches))
    assert [len(batch) for batch in batches(60, recipe, 0)] == [40, 20]
    np.testing.assert_allclose([epoch["loss"] for epoch in history], losses, rtol=1e-4)
    for found, expected in zip(trained.trainable_weights, network.trainable_weights, strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-5)


def test_the_trained_network_standardises_as_it_learned_to(data, tmp_path):
    trained, _ = fit(data)
    x = cut(data.frames, data.starts, SPEC.n_frames)
    mean, variance, _ = trained.get_layer("standardise").get_weights()
    np.testing.assert_allclose(mean, data.mean, rtol=1e-6)
    np.testing.assert_allclose(variance, data.std**2, rtol=1e-6)
    # What it predicts now is what it predicts once saved and loaded.
    trained.save_weights(tmp_path / "a.weights.h5")
    loaded = build("1", n_bands=SPEC.n_bands, n_frames=SPEC.n_frames, n_classes=N_CLASSES)
    loaded.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(trained.predict_on_batch(x), loaded.predict_on_batch(x), rtol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(data):
    (a, history), (same, same_history), (other, _) = (fit(data, "2", seed=seed) for seed in (5, 5, 6))
    assert as_bytes(a) == as_bytes(same)
    assert history == same_history
    assert as_bytes(a) != as_bytes(other)


@pytest.mark.parametrize("architecture", ["1", "2", "3"])
def test_the_loss_falls_and_the_classes_are_learned(data, architecture):
    _, history = fit(data, architecture, epochs=12)
    assert len(history) == 12
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.9


def test_a_loss_that_is_no_number_ends_the_training_with_advice(data):
    with pytest.raises(TrainingError, match="no number any more after epoch 1: choose a smaller --learning-rate"):
        fit(data, epochs=3, learning_rate=1e38)
