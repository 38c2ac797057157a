"""Held-out tracks: a share of every class, whole groups, the same audio on one side; the order decides nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.errors import UsageError
from mirex_submission.training.holdout import held_out


def contents_of(n):
    return [f"{k * 7919 % 10007:08x}" for k in range(n)]


def test_a_tenth_of_every_class_is_held_out():
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 20
    out = held_out(labels, contents_of(170), contents_of(170), seed=0)
    assert [out[:100].sum(), out[100:150].sum(), out[150:].sum()] == [10, 5, 2]


def test_another_seed_holds_out_others():
    labels, contents = ["a", "b"] * 50, contents_of(100)
    parts = [held_out(labels, contents, contents, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(parts[0], parts[1]) and not np.array_equal(parts[0], parts[2])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12), st.integers(0, 30)), min_size=2, max_size=60),
    st.randoms(),
)
def test_no_group_and_no_audio_is_on_both_sides_and_every_class_is_trained_on(tracks, random):
    labels, groups, contents = ([str(x) for x in column] for column in zip(*tracks, strict=True))
    try:
        out = held_out(labels, contents, groups, seed=3)
    except UsageError:
        return
    assert 0 < out.sum() < len(out)
    for names in (groups, contents):
        sides = [{name for name, held in zip(names, out, strict=True) if held == side} for side in (True, False)]
        assert not sides[0] & sides[1]
    assert {label for label, held in zip(labels, out, strict=True) if not held} == set(labels)
    order = random.sample(range(len(tracks)), len(tracks))
    again = held_out([labels[k] for k in order], [contents[k] for k in order], [groups[k] for k in order], seed=3)
    np.testing.assert_array_equal(again, out[order])


def test_a_class_of_one_group_is_never_held_out_and_a_warning_names_it(caplog):
    labels = ["a"] * 30 + ["b"] * 30
    groups = [f"artist {k}" for k in range(30)] + ["one artist"] * 30
    out = held_out(labels, contents_of(60), groups, seed=0)
    assert out[:30].any() and not out[30:].any()
    assert "class 'b'" in caplog.text and "[training.no-held-out-class]" in caplog.text


@pytest.mark.parametrize("labels", [["a", "b"], ["a"] * 5 + ["b"] * 5])
def test_nothing_can_be_held_out_where_every_class_is_one_group(labels):
    with pytest.raises(UsageError, match=r"\[training\.hold-out\]"):
        held_out(labels, contents_of(len(labels)), labels, seed=0)


def test_the_part_with_most_classes_is_held_out():
    # Groups of 2 and 3 tracks, four classes of 8: some parts hold out but one class.
    labels = [label for label in "abcd" for _ in range(8)]
    groups = [f"{label} {k}" for label in "abcd" for k in (0, 0, 0, 1, 1, 1, 2, 2)]
    parts = [held_out(labels, contents_of(32), groups, seed=seed) for seed in range(10)]
    n_classes = [len({label for label, held in zip(labels, out, strict=True) if held}) for out in parts]
    assert min(n_classes) >= 2
