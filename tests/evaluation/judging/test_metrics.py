"""Accuracy and confusion matrices as the organisers' evaluator counts them, and bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import confusion_matrix, recall_score

from mirex_submission.evaluation.judging.metrics import bootstrap_interval, fold_score, overall_score
from mirex_submission.protocol.outputs import NO_PREDICTION

N_CLASSES = 4


def score(pairs, n_classes=N_CLASSES):
    """Return the figures of one fold of (truth, prediction) pairs."""
    truth, predicted = np.array(pairs).T
    return fold_score(truth, predicted, n_classes)


def test_rows_are_predictions_and_columns_the_truth():
    fold = score([(0, 0), (0, 2), (0, 2), (1, 1), (2, 0)], 3)
    np.testing.assert_array_equal(fold.confusion, [[1, 0, 1], [0, 1, 0], [2, 0, 0]])
    assert fold.confusion.dtype.kind == "i"
    assert fold.accuracy == 2 / 5
    np.testing.assert_array_equal(fold.recalls, [1 / 3, 1, 0])
    assert fold.normalised_accuracy == (1 / 3 + 1 + 0) / 3


def test_a_class_that_the_fold_lacks_counts_as_0_in_the_normalised_accuracy():
    fold = score([(0, 0), (1, 1)], 4)
    assert fold.confusion.shape == (4, 4)
    assert (fold.accuracy, fold.normalised_accuracy) == (1.0, 0.5)


def test_a_track_without_a_prediction_is_wrong_in_its_fold_and_left_out_overall():
    fold = score([(0, 0), (0, NO_PREDICTION), (1, 1), (1, 0)], 2)
    assert fold.confusion.sum() == 3
    assert (fold.accuracy, fold.normalised_accuracy) == (2 / 4, (1 / 2 + 1 / 2) / 2)
    overall = overall_score([fold])
    assert (overall.accuracy, overall.normalised_accuracy) == (2 / 3, (1 / 1 + 1 / 2) / 2)


def test_overall_figures_come_from_the_sum_of_the_matrices_and_not_from_the_mean_of_the_folds():
    folds = [score([(0, 0)], 2), score([(0, 1), (1, 0), (1, 0)], 2)]
    overall = overall_score(folds)
    np.testing.assert_array_equal(overall.confusion, [[1, 2], [1, 0]])
    assert overall.accuracy == 1 / 4 != np.mean([fold.accuracy for fold in folds])
    assert overall.normalised_accuracy == (1 / 2 + 0) / 2


def test_without_any_prediction_all_figures_are_0():
    fold = score([(0, NO_PREDICTION), (1, NO_PREDICTION)])
    for figures in (fold, overall_score([fold])):
        assert (figures.accuracy, figures.normalised_accuracy) == (0.0, 0.0)


def test_the_recalls_are_added_in_the_order_of_the_classes():
    # 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1: the evaluator's order decides the last digit.
    n_right = [1, 2, 3, 7, 9, 1, 2, 3, 7, 9, 3]
    fold = score([(k, k if n < right else 0) for k, right in enumerate(n_right) for n in range(10)], len(n_right))
    total = 0.0
    for recall in fold.recalls:
        total += float(recall)
    assert fold.normalised_accuracy == total / len(n_right)


classes = st.integers(0, N_CLASSES - 1)
pairs = st.lists(st.tuples(classes, st.integers(NO_PREDICTION, N_CLASSES - 1)), min_size=1)


@given(pairs)
def test_every_figure_equals_plain_counting(pairs):
    fold = score(pairs)
    expected = [[pairs.count((true, predicted)) for true in range(N_CLASSES)] for predicted in range(N_CLASSES)]
    np.testing.assert_array_equal(fold.confusion, expected)
    assert fold.accuracy == sum(true == predicted for true, predicted in pairs) / len(pairs)
    truth, predicted = zip(*pairs, strict=True)
    labels = list(range(N_CLASSES))
    recalls = recall_score(truth, predicted, labels=labels, average=None, zero_division=0)
    np.testing.assert_allclose(fold.recalls, recalls, rtol=1e-15)


@given(pairs.filter(lambda pairs: all(predicted != NO_PREDICTION for _, predicted in pairs)), st.randoms())
def test_a_complete_matrix_is_the_transpose_of_scikit_learns_in_any_order(pairs, random):
    truth, predicted = zip(*pairs, strict=True)
    expected = confusion_matrix(truth, predicted, labels=list(range(N_CLASSES))).T
    random.shuffle(pairs)
    np.testing.assert_array_equal(score(pairs).confusion, expected)


@given(st.lists(pairs, min_size=1, max_size=4), st.randoms())
def test_the_order_of_the_folds_does_not_matter_overall(folds, random):
    scores = [score(fold) for fold in folds]
    first = overall_score(scores)
    random.shuffle(scores)
    second = overall_score(scores)
    np.testing.assert_array_equal(first.confusion, second.confusion)
    assert (first.accuracy, first.normalised_accuracy) == (second.accuracy, second.normalised_accuracy)


def right(n_right, n_tracks):
    return np.arange(n_tracks) < n_right


def test_the_interval_of_tracks_tested_once_is_the_binomial_interval():
    low, high = bootstrap_interval(right(240, 400), np.arange(400), seed=0)
    expected = stats.binom.ppf([0.025, 0.975], 400, 0.6) / 400
    np.testing.assert_allclose([low, high], expected, atol=2 / 400)  # the 10,000 draws err by a track or so


def test_a_track_tested_in_every_repeat_is_no_more_evidence_than_one_tested_once():
    once = bootstrap_interval(right(30, 50), np.arange(50), seed=0)
    assert bootstrap_interval(np.tile(right(30, 50), 8), np.tile(np.arange(50), 8), seed=0) == once
    apart = bootstrap_interval(np.tile(right(30, 50), 8), np.arange(400), seed=0)
    assert apart[1] - apart[0] < 0.5 * (once[1] - once[0])


def test_the_interval_equals_resampling_track_by_track():
    rng = np.random.default_rng(5)
    tracks = rng.integers(0, 60, 200)
    came_right = rng.random(200) < 0.3 + 0.5 * (tracks % 2)
    members = [came_right[tracks == track] for track in np.unique(tracks)]
    drawn = [
        np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))]).mean() for _ in range(4000)
    ]
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_interval(came_right, tracks, seed=1), expected, atol=0.015)


def test_the_interval_depends_on_the_seed_and_nothing_else():
    tests = right(31, 70), np.arange(70)
    assert bootstrap_interval(*tests, seed=3) == bootstrap_interval(*tests, seed=3)
    assert len({bootstrap_interval(right(311, 997), np.arange(997), seed=seed) for seed in range(20)}) > 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=40), st.integers(0, 99))
def test_an_interval_lies_between_0_and_1_and_is_a_point_if_all_is_correct(tests, seed):
    came_right, tracks = map(np.array, zip(*tests, strict=True))
    low, high = bootstrap_interval(came_right, tracks, seed=seed)
    assert 0 <= low <= high <= 1
    # From one track nothing can be inferred about others.
    certain = (1, 1) if len(set(tracks)) > 1 else (0, 1)
    assert bootstrap_interval(np.ones(len(tracks), bool), tracks, seed=seed) == certain


def test_without_tests_the_interval_is_0_to_1():
    assert bootstrap_interval(np.empty(0, bool), np.empty(0, int), seed=0) == (0.0, 1.0)


@pytest.mark.parametrize("n_classes", [2, 50])
def test_any_number_of_classes(n_classes):
    fold = score([(k, k) for k in range(n_classes)], n_classes)
    assert (fold.accuracy, fold.normalised_accuracy) == (1.0, pytest.approx(1.0))
