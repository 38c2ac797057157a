"""From segments' probabilities to one label a track, which nothing else in the list can change."""

import numpy as np
import pytest

from mirex_submission.features.extraction import Extracted
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, Header
from mirex_submission.models.architectures import build, set_standardisation
from mirex_submission.models.bundle import Bundle, TrainedTrack, load_network, save_weights
from mirex_submission.models.prediction import Predictor, overlap, vote
from mirex_submission.models.recipe import Recipe
from mirex_submission.models.segments import cut, segment_starts

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
    weights = {}
    for name in ("1", "2", "3"):
        network = build(name, n_bands=SPEC.n_bands, n_frames=SPEC.n_frames, n_classes=len(CLASSES), seed=int(name))
        set_standardisation(network, np.full(SPEC.n_bands, -3.0), np.full(SPEC.n_bands, 2.0))
        weights[name] = save_weights(folder, network)
    return folder, Bundle(CLASSES, SPEC, Recipe(model="all"), TRACKS, weights, {}, {})


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor(*trained)


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


def test_segment_probabilities_are_the_mean_of_the_networks_over_the_tracks_own_segments(trained, predictor):
    folder, bundle = trained
    found = predictor.segment_probabilities(header("/x.wav", "abcd"), frames(0))
    starts = segment_starts(150, "abcd", SPEC, bundle.recipe)
    x = cut(frames(0), starts, SPEC.n_frames)
    each = [load_network(folder, bundle, name).predict_on_batch(x) for name in ("1", "2", "3")]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert found.shape == (30, 3) and found.dtype == np.float64
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_a_tracks_probabilities_depend_on_no_other_track(predictor):
    tracks = [(header(f"/{i}.wav", f"{i:04x}"), frames(i, 60 + 20 * i)) for i in range(4)]
    forwards = [predictor.segment_probabilities(*track) for track in tracks]
    backwards = [predictor.segment_probabilities(*track) for track in reversed(tracks)][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(forwards[0], forwards[1])


def test_a_track_is_what_it_holds_wherever_it_lies(predictor):
    here = predictor.segment_probabilities(header("/here.wav", "abcd"), frames(0))
    np.testing.assert_array_equal(predictor.segment_probabilities(header("/there.wav", "abcd"), frames(0)), here)


def test_a_clip_of_one_segment_is_heard(predictor):
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
