"""Accuracy and confusion as the organisers' evaluator counts them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.evaluation.metrics import accuracy, confusion
from mirex_submission.protocol.lists import Track

CLASSES = ["blues", "Hip-Hop", "R&B"]


def tracks(*labels):
    return [Track(f"/a/track{k}.wav", label) for k, label in enumerate(labels)]


def test_rows_are_predictions_and_columns_the_truth():
    truth = tracks("blues", "blues", "blues", "Hip-Hop", "R&B")
    predictions = tracks("blues", "R&B", "R&B", "Hip-Hop", "blues")
    matrix = confusion(truth, predictions, CLASSES)
    np.testing.assert_array_equal(matrix, [[1, 0, 1], [0, 1, 0], [2, 0, 0]])
    assert matrix.dtype.kind == "i"
    assert accuracy(matrix, len(truth)) == pytest.approx(2 / 5)


def test_labels_are_matched_after_cleaning():
    matrix = confusion(tracks("blues", "Hip-Hop", "R&B"), tracks("BLUES", "hiphop", "r b"), CLASSES)
    np.testing.assert_array_equal(matrix, np.eye(3))


def test_tracks_are_matched_by_file_name_up_to_the_first_dot_whatever_folder_and_case():
    truth = [Track("/data/A.wav", "blues"), Track("/data/b.wav", "R&B")]
    predictions = [Track("/tmp/x/B.mp3", "R&B"), Track("a.22k.wav", "blues")]
    assert confusion(truth, predictions, CLASSES).trace() == 2


def test_a_track_without_a_prediction_is_in_no_cell_but_counts_as_wrong_in_its_fold():
    truth = tracks("blues", "Hip-Hop", "R&B", "R&B")
    matrix = confusion(truth, truth[:3], CLASSES)
    assert matrix.sum() == 3
    assert accuracy(matrix, len(truth)) == pytest.approx(3 / 4)


def test_a_prediction_for_a_track_that_is_not_in_the_truth_is_left_out():
    matrix = confusion(tracks("blues"), tracks("blues", "R&B"), CLASSES)
    assert matrix.sum() == 1


def test_a_class_that_the_fold_lacks_keeps_its_row_and_column():
    assert confusion(tracks("blues"), tracks("blues"), CLASSES).shape == (3, 3)


folds = st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1)


@given(folds, st.randoms())
def test_every_cell_is_the_plain_count_whatever_the_order(pairs, random):
    truth = tracks(*(true for true, _ in pairs))
    predictions = tracks(*(predicted for _, predicted in pairs))
    random.shuffle(predictions)
    matrix = confusion(truth, predictions, CLASSES)
    expected = [[pairs.count((true, predicted)) for true in CLASSES] for predicted in CLASSES]
    np.testing.assert_array_equal(matrix, expected)
    n_right = sum(true == predicted for true, predicted in pairs)
    assert accuracy(matrix, len(pairs)) == pytest.approx(n_right / len(pairs))
