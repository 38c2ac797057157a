"""From segments' probabilities to one label a track, which nothing else in the list can change."""

import dataclasses
import os

import numpy as np
import pytest

from mirex_submission.features.extraction import Extracted
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, Header
from mirex_submission.models import prediction
from mirex_submission.models.bundle import Bundle, TrainedTrack, load_weights, save_weights
from mirex_submission.models.prediction import NetworkPredictor, overlap, vote
from mirex_submission.networks import engine as engines
from mirex_submission.networks.epoch import cut
from mirex_submission.networks.kernel import compiled
from mirex_submission.networks.sizes import initial_weights
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import segment_starts

SPEC = FeatureSpec(22050, 18, 53)  # the smallest that suits all three networks
CLASSES = ("a", "b", "c")
TRACKS = (TrainedTrack("/music/one.wav", "a", "1111"), TrainedTrack("/music/two.wav", "b", "2222"))


def header(path, content):
    return Header(path, AudioState(1, 2, 3), content, SPEC, 100, 4.0)


def frames(seed, n=150):
    return np.random.default_rng(seed).normal(-3, 2, (n, SPEC.n_bands)).astype(np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the three networks, and their bundle."""
    folder = tmp_path_factory.mktemp("model")
    sizes = {"n_bands": SPEC.n_bands, "n_frames": SPEC.n_frames, "n_classes": len(CLASSES)}
    like_frames = {"mean": np.full(SPEC.n_bands, -3.0), "std": np.full(SPEC.n_bands, 2.0)}
    weights = {
        name: save_weights(folder, initial_weights(name, **sizes, **like_frames, seed=int(name)))
        for name in ("1", "2", "3")
    }
    return folder, Bundle(CLASSES, SPEC, Recipe(model="all"), TRACKS, weights, {}, {}, "", {})


def start(name):
    """The engine of this name, as a caller chooses it."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "Keras":
            patch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
        elif compiled is None:
            pytest.skip("no compiler was found when this was installed")
        else:
            patch.delenv("KERAS_BACKEND", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # the engine sets it, and this takes it back
        engine = engines.start("cpu", threads=2, seed=0)
    assert (engine.keras is None) == (name == "native") and engine.threads == 2
    return engine


@pytest.fixture(scope="module", params=["native", "Keras"])
def engine(request):
    return start(request.param)


@pytest.fixture(scope="module")
def predictor(trained, engine):
    return NetworkPredictor(*trained, engine)


# Votes: rows are segments, columns classes.


@pytest.mark.parametrize(
    ("segments", "mean", "majority"),
    [
        ([[0.1, 0.7, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], 1, 1),
        # One segment that is very sure outweighs two that are not, in the mean only.
        ([[0.40, 0.35, 0.25], [0.40, 0.35, 0.25], [0.0, 1.0, 0.0]], 1, 0),
        # One vote each: the mean decides.
        ([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.0, 0.1, 0.9]], 2, 2),
        # Equal votes of the first two, and the third, with fewer, has the highest mean.
        ([[0.4, 0.2, 0.4 - 1e-9]] * 2 + [[0.15, 0.45, 0.4]] * 2 + [[0.0, 0.0, 1.0]], 2, 1),
        # All equal: the first class.
        ([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]], 0, 0),
        ([[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]], 1, 1),
        ([[0.2, 0.3, 0.5]], 2, 2),
    ],
)
def test_mean_and_majority_votes_with_ties(segments, mean, majority):
    segments = np.array(segments)
    for how, expected in (("mean", mean), ("majority", majority)):
        chosen, probabilities = vote(segments, how)
        assert chosen == expected, how
        np.testing.assert_allclose(probabilities, segments.mean(axis=0), rtol=1e-12)


# The predictor.


def test_segment_probabilities_are_the_mean_of_the_networks_over_the_tracks_own_segments(trained, engine, predictor):
    folder, bundle = trained
    found = predictor.segment_probabilities(header("/x.wav", "abcd"), frames(0))
    starts = segment_starts(150, "abcd", SPEC, bundle.recipe)
    x = cut(frames(0), starts, SPEC.n_frames)
    each = [
        engine.network(name, load_weights(folder, bundle, name), n_frames=SPEC.n_frames).probabilities(x)
        for name in ("1", "2", "3")
    ]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert found.shape == (30, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_the_engines_agree(trained):
    native, keras = (NetworkPredictor(*trained, start(name)) for name in ("native", "Keras"))
    for i in range(3):
        track = header(f"/{i}.wav", f"{i:04x}"), frames(i, 60 + 40 * i)
        expected = keras.segment_probabilities(*track)
        assert np.ptp(expected[:, 0]) > 1e-3
        np.testing.assert_allclose(native.segment_probabilities(*track), expected, rtol=0, atol=1e-5)


def test_only_the_networks_of_the_recipe_predict(trained, engine):
    folder, bundle = trained
    alone = [
        NetworkPredictor(folder, dataclasses.replace(bundle, recipe=Recipe(model=name)), engine)
        for name in ("1", "2", "3")
    ]
    track = header("/x.wav", "abcd"), frames(0)
    each = [predictor.segment_probabilities(*track) for predictor in alone]
    together = NetworkPredictor(folder, bundle, engine).segment_probabilities(*track)
    np.testing.assert_allclose(np.mean(each, axis=0), together, rtol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3 and np.abs(each[1] - each[2]).max() > 1e-3


def test_a_tracks_probabilities_depend_on_no_other_track(predictor):
    tracks = [(header(f"/{i}.wav", f"{i:04x}"), frames(i, 60 + 20 * i)) for i in range(4)]
    forwards = [predictor.segment_probabilities(*track) for track in tracks]
    backwards = [predictor.segment_probabilities(*track) for track in reversed(tracks)][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(forwards[0], forwards[1])


def test_the_segments_of_a_long_track_are_predicted_in_batches(predictor, monkeypatch):
    track = header("/a.wav", "abcd"), frames(3)
    at_once = predictor.segment_probabilities(*track)
    monkeypatch.setattr(prediction, "_AT_ONCE", 7)
    some_at_a_time = predictor.segment_probabilities(*track)
    assert len(at_once) == predictor.bundle.recipe.segments_per_track > 2 * 7
    np.testing.assert_allclose(some_at_a_time, at_once, rtol=0, atol=1e-6)


def test_the_path_of_a_track_has_no_influence(predictor):
    here = predictor.segment_probabilities(header("/here.wav", "abcd"), frames(0))
    np.testing.assert_array_equal(predictor.segment_probabilities(header("/there.wav", "abcd"), frames(0)), here)


def test_a_clip_of_one_segment_is_predicted(predictor):
    found = predictor.segment_probabilities(header("/short.wav", "abcd"), frames(0, SPEC.n_frames))
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=1e-5)


# Overlap with the training list.


@pytest.mark.parametrize(
    ("path", "content", "known"),
    [
        ("/music/one.wav", "1111", True),
        ("/music/one.wav", "9999", True),  # the same path
        ("/elsewhere/copy.wav", "2222", True),  # the same content
        ("/elsewhere/one.wav", "9999", False),
    ],
)
def test_overlap_by_path_and_by_content(trained, path, content, known):
    tracks = [Extracted("/other.wav", "3333"), Extracted(path, content), Extracted("/music/two.wav", reason="silent")]
    assert overlap(trained[1], tracks) == ([path] if known else [])
