"""Figures of probabilities, groups and strata: by hand, against scikit-learn, and the coverage of intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score, top_k_accuracy_score

from mirex_submission.evaluation.judging import parts
from mirex_submission.evaluation.judging.metrics import accuracy_interval, difference_interval, wilson_interval
from mirex_submission.evaluation.judging.parts import FIGURES, Answers, judge_part, judge_parts
from mirex_submission.protocol.outputs import NO_PREDICTION


def answers(truth, probabilities, predicted=None, groups=None):
    truth, p = np.array(truth), np.array(probabilities, float)
    predicted = np.array(predicted) if predicted is not None else p.argmax(axis=1)
    return Answers(truth, predicted, p, np.arange(len(truth)), None if groups is None else np.array(groups))


def values(part):
    return {name: figure.value for name, figure in part.figures.items()}


def drawn(n=200, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    truth, p = rng.integers(n_classes, size=n), rng.dirichlet(np.ones(n_classes), n)
    p[np.arange(n), truth] += 0.3
    return truth, p / p.sum(axis=1, keepdims=True)


def test_all_figures_of_a_case_by_hand():
    truth = [0, 1, 2, 0]
    p = [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.2, 0.45, 0.35]]
    part = judge_part(answers(truth, p), "all", "", seed=0)
    assert list(part.figures) == list(FIGURES)
    # AUROC: class 0 has 0.7 and 0.2 against 0.5 and 0.1 (3 of 4); 1 has 0.3 against 0.2, 0.1, 0.45 (2 of 3); 2 all.
    expected = {
        "accuracy": 2 / 4,
        "balanced_accuracy": (1 / 2 + 0 + 1) / 3,
        "top2_accuracy": 3 / 4,
        "log_loss": -np.log([0.7, 0.3, 0.8, 0.2]).mean(),
        "brier_score": (0.09 + 0.04 + 0.01 + 0.25 + 0.49 + 0.04 + 0.01 + 0.01 + 0.04 + 0.64 + 0.2025 + 0.1225) / 4,
        "calibration_error": (abs(0.7 - 1) + abs(0.5 + 0.45 - 0) + abs(0.8 - 1)) / 4,
        "auroc": (3 / 4 + 2 / 3 + 1) / 3,
    }
    assert values(part) == pytest.approx(expected)
    bins = [(b.low * 15, b.high * 15, b.n_tracks, b.confidence, b.accuracy) for b in part.reliability]
    assert bins == [
        pytest.approx(b) for b in ((6, 7, 1, 0.45, 0), (7, 8, 1, 0.5, 0), (10, 11, 1, 0.7, 1), (11, 12, 1, 0.8, 1))
    ]


def test_bins_are_closed_on_the_right():
    part = judge_part(answers([0, 0, 1], [[0.6, 0.4], [0.6 + 1e-9, 0.4 - 1e-9], [0.0, 1.0]]), "all", "", seed=0)
    assert [(round(15 * b.low), b.n_tracks) for b in part.reliability] == [(8, 1), (9, 1), (14, 1)]


def test_figures_equal_scikit_learns_and_identity_resamples_give_the_figures():
    truth, p = drawn()
    tests = answers(truth, p)
    computed = values(judge_part(tests, "all", "", seed=0))
    rates = np.eye(4)[truth]
    assert computed == pytest.approx(
        {
            "accuracy": (p.argmax(axis=1) == truth).mean(),
            "balanced_accuracy": balanced_accuracy_score(truth, p.argmax(axis=1)),
            "top2_accuracy": top_k_accuracy_score(truth, p, k=2),
            "log_loss": log_loss(truth, p),
            "brier_score": ((p - rates) ** 2).sum(axis=1).mean(),
            "calibration_error": computed["calibration_error"],
            "auroc": roc_auc_score(truth, p, multi_class="ovr"),
        }
    )
    once = np.ones((len(truth), 1))
    statistics = {**dict(parts._of_predictions(tests)), **dict(parts._of_probabilities(tests))}
    for name, (_, statistic) in statistics.items():
        assert statistic(once)[0] == pytest.approx(computed[name]), name


def test_intervals_of_the_auroc_are_close_to_an_exact_auroc_for_each_resample():
    truth, p = drawn(n=60, n_classes=3)
    interval = judge_part(answers(truth, p), "all", "", seed=0).figures["auroc"].by_track
    rng, areas = np.random.default_rng(1), []
    above = [np.sign(p[:, k][:, None] - p[:, k]) / 2 + 0.5 for k in range(3)]
    for _ in range(1000):
        weights = np.bincount(rng.integers(60, size=60), minlength=60)
        own, others = [weights * (truth == k) for k in range(3)], [weights * (truth != k) for k in range(3)]
        areas.append(np.mean([own[k] @ above[k] @ others[k] / (own[k].sum() * others[k].sum()) for k in range(3)]))
    assert interval == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.02)


def test_groups_of_similar_tracks_give_wider_intervals():
    truth, p = drawn(n=40)
    grouped = answers(np.tile(truth, 5), np.tile(p, (5, 1)), groups=np.tile(np.arange(40), 5))
    for name, figure in judge_part(grouped, "all", "", seed=0).figures.items():
        (low, high), (low_of_groups, high_of_groups) = figure.by_track, figure.by_group
        assert 1.5 < (high_of_groups - low_of_groups) / (high - low) < 3, name


def test_parts_count_tracks_as_mirex_does_and_known_probabilities():
    truth, p = drawn(n=9)
    p[:3] = np.nan  # a fold without probabilities
    predicted = truth.copy()
    predicted[[0, 8]] = NO_PREDICTION
    tests = answers(truth, p, predicted)
    computed = judge_parts(tests, [("a", 3), ("b", 6)], [("codec=mp3", np.arange(9) < 4)], seed=0)
    assert [(x.kind, x.name, x.n_tracks, x.n_known, x.figures["accuracy"].value) for x in computed] == [
        ("all", "", 7, 6, 1.0),
        ("fold", "a", 3, 0, 2 / 3),
        ("fold", "b", 6, 6, 5 / 6),
        ("stratum", "codec=mp3", 3, 1, 1.0),
    ]
    assert set(computed[1].figures) == {"accuracy", "balanced_accuracy"} and "auroc" not in computed[3].figures


def test_a_part_without_tests_has_no_figures():
    part = judge_part(answers([0, 1], [[np.nan] * 2] * 2, [NO_PREDICTION] * 2), "all", "", seed=0)
    assert (part.n_tracks, part.figures, part.reliability) == (0, {}, [])


def test_48_of_48_correct_tests_have_an_interval_with_width():
    low, high = accuracy_interval(np.ones(48, bool), np.arange(48), seed=0)
    z2 = 1.959963985**2
    assert (low, high) == (pytest.approx(48 / (48 + z2)), 1.0)
    assert accuracy_interval(np.zeros(48, bool), np.arange(48), seed=0) == (0.0, pytest.approx(z2 / (48 + z2)))
    # Once as 8 groups, and once as 48 tracks that three repeats test.
    assert accuracy_interval(np.ones(48, bool), np.arange(48) % 8, seed=0) == wilson_interval(8, 8)
    assert accuracy_interval(np.ones(144, bool), np.arange(144) % 48, seed=0) == (low, high)
    assert accuracy_interval(np.empty(0, bool), np.empty(0, int), seed=0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_an_interval_contains_the_accuracy_and_has_width_at_0_and_1(tests):
    right, clusters = map(np.array, zip(*tests, strict=True))
    low, high = accuracy_interval(right, clusters, seed=0)
    assert 0 <= low <= high <= 1
    if right.all() or not right.any():
        assert low < high and low <= right.mean() <= high


def test_the_difference_of_two_systems_is_paired():
    right = np.zeros((100, 2), bool)
    right[:60], right[60:70, 0] = True, True  # 10 tracks that only the first has right
    low, high = difference_interval(right, np.arange(100), seed=0)
    assert 0 < low < 0.1 < high < 0.2
    same = difference_interval(right[:, [1, 1]], np.arange(100), seed=0)
    assert same == (-wilson_interval(0, 100)[1], wilson_interval(0, 100)[1])


@pytest.mark.parametrize("n_groups", [1, 2, 3, 5, 10])
def test_intervals_of_few_groups_have_their_nominal_coverage(n_groups):
    rng = np.random.default_rng(n_groups)
    n_held, clusters = 0, np.repeat(np.arange(n_groups), 8)
    for seed in range(200):
        shares = rng.beta(3, 2, size=n_groups)  # 0.6 on average
        right = (rng.random((n_groups, 8)) < shares[:, None]).ravel()
        low, high = accuracy_interval(right, clusters, seed=seed)
        assert low < high
        n_held += low <= 0.6 <= high
    assert n_held >= 0.9 * 200


def test_intervals_of_one_group_or_of_equal_groups_have_width():
    one_group = np.zeros(12, int)
    right = np.stack([np.arange(12) % 2, np.arange(12) % 3 > 0], axis=1).astype(bool)
    low, high = accuracy_interval(right[:, 0], one_group, seed=0)
    assert low < 0.5 < high
    assert difference_interval(right, one_group, seed=0) == (-1.0, 1.0)
    alike = difference_interval(right[:, ::-1], np.repeat([0, 1], 6), seed=0)
    assert alike[0] < 1 / 6 < alike[1] <= 1
    truth, probabilities = np.array([0, 1] * 6), np.tile([[0.8, 0.2], [0.2, 0.8]], (6, 1))
    part = judge_part(Answers(truth, truth, probabilities, np.arange(12), one_group), "all", "", seed=0)
    for name, figure in part.figures.items():
        assert figure.by_group[0] < figure.by_group[1], name
        if name not in ("log_loss", "brier_score", "calibration_error"):
            assert figure.by_track[0] < figure.by_track[1] <= 1, name
