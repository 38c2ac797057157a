"""Segments and batches: pure functions of the seed, the track's content and the epoch, within every bound."""

import itertools

import numpy as np
import pytest

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.epoch import cut
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import draw_order, make_epoch, n_segments, segment_starts

SPEC = FeatureSpec()
CONTENT = "5e" * 20


def starts(n_frames=860, content=CONTENT, spec=SPEC, epoch=0, **recipe):
    return segment_starts(n_frames, content, spec, Recipe(**recipe), epoch=epoch)


def test_thirty_random_segments_a_track_by_default():
    assert starts().shape == (30,) and starts().dtype == np.int64
    assert starts(segments_per_track=7).shape == (7,)


def test_segments_are_a_pure_function_of_seed_and_content():
    np.testing.assert_array_equal(starts(), starts())
    # Nothing else of the recipe has a say, nor what was drawn before.
    others = {"model": "3", "epochs": 2, "batch_size": 3, "learning_rate": 1.0, "vote": "majority"}
    np.testing.assert_array_equal(starts(), starts(**others, class_weights="balanced"))
    assert not np.array_equal(starts(), starts(seed=1))
    assert not np.array_equal(starts(), starts(content="5f" * 20))


@pytest.mark.parametrize("how", ["random", "consecutive"])
def test_only_fresh_segments_depend_on_the_epoch(how):
    for epoch in (1, 2, 149):
        np.testing.assert_array_equal(starts(segments=how, epoch=epoch), starts(segments=how))


def test_fresh_segments_are_others_in_every_epoch():
    drawn = [tuple(starts(segments="fresh", epoch=epoch)) for epoch in range(150)]
    assert len(set(drawn)) == 150 and {len(epoch) for epoch in drawn} == {30}
    # Of two epochs, about 1 segment in 28 begins where one of the other does.
    common = [len(set(a) & set(b)) for a, b in itertools.pairwise(drawn)]
    assert np.mean(common) < 3


def test_fresh_segments_are_a_pure_function_of_seed_content_and_epoch():
    def fresh(**recipe):
        return starts(segments="fresh", epoch=3, **recipe)

    np.testing.assert_array_equal(fresh(), fresh())
    others = {"model": "3", "epochs": 2, "batch_size": 3, "learning_rate": 1.0, "vote": "majority"}
    np.testing.assert_array_equal(fresh(), fresh(**others, class_weights="balanced"))
    assert not np.array_equal(fresh(), fresh(seed=1))
    assert not np.array_equal(fresh(), fresh(content="5f" * 20))


def test_the_first_fresh_segments_are_the_random_ones():
    np.testing.assert_array_equal(starts(segments="fresh", epoch=0), starts(segments="random"))


@pytest.mark.parametrize("n_frames", [80, 81, 113, 860])
@pytest.mark.parametrize(("how", "epoch"), [("random", 0), ("consecutive", 0), ("fresh", 0), ("fresh", 5)])
def test_segments_lie_within_the_track(n_frames, how, epoch):
    drawn = starts(n_frames, segments=how, epoch=epoch, segments_per_track=20000)
    assert drawn.min() == 0 and drawn.max() + SPEC.n_frames <= n_frames
    if how != "consecutive" and n_frames < 200:
        assert set(drawn) == set(range(n_frames - SPEC.n_frames + 1))  # every start frame can be drawn


@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
@pytest.mark.parametrize("n_frames", [80, 82, 1])
def test_consecutive_segments_share_no_sample_and_fill_the_track(rate_hz, n_frames):
    spec = FeatureSpec(rate_hz, 40, n_frames)
    found = starts(860, spec=spec, segments="consecutive")
    first_samples = found * spec.hop
    last_samples = first_samples + spec.segment_samples - 1
    assert (first_samples[1:] > last_samples[:-1]).all()
    assert (first_samples[1:] - last_samples[:-1] - 1 < spec.hop).all()  # and waste less than a hop between them
    assert found[-1] + spec.frames_between_segments + n_frames > 860


def test_a_clip_of_30_s_at_22050_hz_gives_ten_consecutive_segments():
    n_frames = (30 * 22050 - SPEC.window) // SPEC.hop + 1
    assert n_frames == 860
    assert len(starts(n_frames, segments="consecutive")) == 10


def test_a_cut_is_a_slice_of_the_frames_with_frequency_first():
    frames = np.arange(200 * 40, dtype=np.float32).reshape(200, 40)
    found = cut(frames, np.array([0, 7, 120]), 80)
    assert found.shape == (3, 40, 80) and found.dtype == np.float32
    for segment, start in zip(found, (0, 7, 120), strict=True):
        np.testing.assert_array_equal(segment, frames[start : start + 80].T)


def epoch_of(n=500, number=0, room=None, **recipe):
    nothing = np.zeros(n, int)
    return make_epoch(np.zeros((1, 1)), nothing, nothing, Recipe(**recipe), n_frames=1, number=number, room=room)


def dropout_rng(seed, number):
    return epoch_of(seed=seed, number=number).dropout_rng()


@pytest.mark.parametrize(("n_segments", "sizes"), [(100, [40, 40, 20]), (40, [40]), (41, [40, 1]), (3, [3])])
def test_each_epochs_batches_are_a_permutation(n_segments, sizes):
    for epoch in range(3):
        batches = list(epoch_of(n_segments, epoch).batches())
        assert [len(batch) for batch in batches] == sizes
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n_segments))


def test_batches_differ_by_epoch_and_seed_and_by_nothing_else():
    def order(epoch, **recipe):
        return np.concatenate(list(epoch_of(500, epoch, **recipe).batches())).tolist()

    assert order(0) == order(0) == order(0, batch_size=7, model="1")
    room = np.full(500, 9, np.uint32)
    assert epoch_of(500, 0, room).order is room and room.tolist() == order(0)
    orders = [order(0), order(1), order(2), order(0, seed=1), list(range(500))]
    assert len(set(map(tuple, orders))) == len(orders)


def test_the_dropout_of_an_epoch_differs_by_epoch_and_seed_and_by_nothing_else():
    def drawn(seed, epoch):
        return dropout_rng(seed, epoch).random(50).tolist()

    assert drawn(0, 0) == drawn(0, 0) and drawn(2**32 - 1, 149) == drawn(2**32 - 1, 149)
    assert len({tuple(drawn(seed, epoch)) for seed in (0, 1, 2**32 - 1) for epoch in (0, 1, 149)}) == 9


def test_dropout_order_and_segments_share_no_random_numbers():
    order = draw_order(30, Recipe(), 1)
    drawn = starts(content="1"), dropout_rng(0, 1).integers(0, 781, size=30)
    assert not np.array_equal(*drawn)  # 781 starts are in a track of 860 frames
    assert not np.array_equal(order, dropout_rng(0, 1).permutation(30))


@pytest.mark.parametrize("segments", ["random", "fresh", "consecutive"])
@pytest.mark.parametrize("n_frames", [80, 81, 159, 160, 161, 162, 163, 860])
def test_n_segments_counts_the_starts_of_a_track(segments, n_frames):
    recipe = Recipe(segments=segments, segments_per_track=7)
    assert n_segments(n_frames, FeatureSpec(), recipe) == len(segment_starts(n_frames, "ab", FeatureSpec(), recipe))
