"""Friedman's test with the Tukey-Kramer HSD, and McNemar's test."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from mirex_submission.evaluation.judging.significance import friedman_tkhsd, mcnemar


def names(k):
    return [f"system{n}" for n in range(k)]


def p_values(comparison):
    return {frozenset((d.first, d.second)): d.p for d in comparison.differences}


def tables(elements):
    return st.tuples(st.integers(1, 12), st.integers(2, 6)).flatmap(
        lambda shape: arrays(float, shape, elements=elements)
    )


@pytest.mark.parametrize(("n_rows", "k"), [(3, 2), (3, 5), (10, 2), (10, 3), (11, 8), (40, 4)])
def test_without_ties_it_is_nemenyis_test(n_rows, k):
    from scikit_posthocs import posthoc_nemenyi_friedman

    scores = np.random.default_rng(n_rows * k).random((n_rows, k)) + np.arange(k) / (2 * k)  # the systems do differ
    expected = posthoc_nemenyi_friedman(scores).to_numpy()
    result = p_values(friedman_tkhsd(scores, names(k)))
    assert len(result) == k * (k - 1) / 2
    for i in range(k):
        for j in range(i):
            assert result[frozenset((f"system{i}", f"system{j}"))] == pytest.approx(expected[i, j], rel=0, abs=1e-12)


def test_a_worked_example_with_ties():
    # Ranks:    A    B    C    their variance (ddof 1)
    # row 1     3    2    1    1
    # row 2     2.5  2.5  1    (0.5^2 + 0.5^2 + 1^2) / 2 = 0.75
    # row 3     3    1.5  1.5  0.75
    # row 4     2    2    2    0
    # means     2.625  2  1.375, sigma^2 = 2.5 / 4 = 0.625, sigma / sqrt(4) = sqrt(0.15625) = 0.395285
    # chi^2 = 4 (0.625^2 + 0 + 0.625^2) / 0.625 = 5; 2 degrees of freedom: p = exp(-5 / 2)
    scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.6, 0.5], [0.4, 0.2, 0.2], [0.3, 0.3, 0.3]])
    comparison = friedman_tkhsd(scores, ["A", "B", "C"])
    assert comparison.mean_ranks == {"A": 2.625, "B": 2.0, "C": 1.375}
    assert comparison.chi_square == pytest.approx(5.0, rel=1e-14)
    assert comparison.p == pytest.approx(math.exp(-2.5), rel=1e-14)
    assert comparison.critical_difference == pytest.approx(3.314493 * math.sqrt(0.15625), rel=1e-6)  # q(0.05; 3, inf)
    ab, ac, bc = comparison.differences
    assert [(d.first, d.second, d.mean) for d in (ab, ac, bc)] == [
        ("A", "B", 0.625),
        ("A", "C", 1.25),
        ("B", "C", 0.625),
    ]
    assert ac.low == pytest.approx(1.25 - 1.310168, abs=1e-6)
    assert ac.high == pytest.approx(1.25 + 1.310168, abs=1e-6)
    assert not ac.significant
    # q = 1.25 / 0.395285 = 3.162278; tables have P(range of 3 normal variables > q) = 0.05 at 3.3145, 0.1 at 2.9021.
    assert 0.05 < ac.p < 0.1
    assert ac.p == pytest.approx(range_tail(math.sqrt(10)), abs=1e-9)
    assert ab.p == bc.p == pytest.approx(range_tail(math.sqrt(2.5)), abs=1e-9)


def range_tail(q):
    """Return P(the range of three standard normal variables exceeds q), by its defining integral."""
    x = np.linspace(-12, 12, 200_001)
    density = 3 * stats.norm.pdf(x) * (stats.norm.cdf(x + q) - stats.norm.cdf(x)) ** 2
    return 1 - np.trapezoid(density, x)


def test_a_difference_is_significant_if_its_interval_excludes_0():
    comparison = friedman_tkhsd(np.tile([0.9, 0.5, 0.1], (8, 1)), ["best", "middle", "worst"])
    assert 1 < comparison.critical_difference < 2  # 3.3145 / sqrt(8)
    assert [d.significant for d in comparison.differences] == [False, True, False]
    for d in comparison.differences:
        assert d.significant == (d.p < 0.05) == (d.low > 0) == (d.mean > comparison.critical_difference)


def test_systems_are_sorted_best_mean_score_first_and_the_best_has_the_highest_mean_rank():
    scores = np.array([[0.2, 0.9, 0.5], [0.3, 0.8, 0.4]])
    assert friedman_tkhsd(scores, ["low", "high", "middle"]).mean_ranks == {"high": 3.0, "middle": 2.0, "low": 1.0}


def test_ties_in_all_rows_give_no_difference():
    comparison = friedman_tkhsd(np.full((5, 3), 0.5), names(3))
    assert (comparison.chi_square, comparison.p, comparison.critical_difference) == (0.0, 1.0, 0.0)
    assert all((d.p, d.mean, d.significant) == (1.0, 0.0, False) for d in comparison.differences)


@pytest.mark.parametrize(
    ("n_rows", "k", "warned"),
    [
        (3, 2, "no difference can be"),
        (3, 5, "may not be significant"),
        (10, 2, "may not be"),
        (40, 3, None),
    ],
)
def test_too_few_rows_give_a_warning(n_rows, k, warned):
    scores = np.arange(k) + np.zeros((n_rows, 1))
    warning = friedman_tkhsd(scores, names(k)).warning
    assert warning is None if warned is None else warned in warning


def test_with_3_folds_two_systems_cannot_differ_significantly():
    [difference] = friedman_tkhsd(np.array([[0.0, 1.0]] * 3), names(2)).differences
    assert difference.p == pytest.approx(2 * stats.norm.sf(math.sqrt(3)), rel=1e-9)
    assert not difference.significant


@given(
    tables(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])).filter(
        lambda table: table.shape[1] > 2 and np.ptp(table, 1).any()
    )
)
@settings(deadline=None, max_examples=40)
def test_friedmans_statistic_equals_scipys_also_with_ties(table):
    comparison = friedman_tkhsd(table, names(table.shape[1]))
    expected = stats.friedmanchisquare(*table.T)
    assert comparison.chi_square == pytest.approx(expected.statistic, rel=1e-9, abs=1e-9)
    assert comparison.p == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-9)


@given(tables(st.sampled_from([0.0, 0.3, 0.6, 1.0])), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_neither_the_order_of_rows_and_systems_nor_the_scale_of_scores_matters(table, random):
    systems = names(table.shape[1])
    columns, rows = list(range(len(systems))), list(range(len(table)))
    random.shuffle(columns)
    random.shuffle(rows)
    first = friedman_tkhsd(table, systems)
    second = friedman_tkhsd(100 * table[rows][:, columns] ** 3 + 7, [systems[k] for k in columns])
    assert second.mean_ranks == pytest.approx(first.mean_ranks)
    result, again = p_values(first), p_values(second)
    assert result.keys() == again.keys()
    for pair, p in result.items():
        assert again[pair] == pytest.approx(p, rel=1e-9, abs=1e-12)


def tracks(n_both, n_only_first, n_only_second, n_neither):
    counts = [n_both, n_only_first, n_only_second, n_neither]
    return np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], counts, axis=0).astype(bool)


def test_mcnemar_is_the_exact_binomial_test_of_the_discordant_tracks():
    [pair] = mcnemar(tracks(50, 8, 2, 40), ["first", "second"])
    assert (pair.first, pair.second, pair.n_only_first, pair.n_only_second) == ("first", "second", 8, 2)
    assert pair.p == pytest.approx(2 * (1 + 10 + 45) / 2**10, rel=1e-12)  # 0, 1 or 2 of 10, on either side
    assert pair.p_holm == pair.p


def test_mcnemar_of_many_tracks_is_close_to_the_chi_square_with_edwards_correction():
    [pair] = mcnemar(tracks(500, 330, 270, 100), names(2))
    assert pair.p == pytest.approx(stats.chi2.sf((60 - 1) ** 2 / 600, 1), rel=0.01)


def test_mcnemar_without_discordant_tracks_has_p_1():
    [pair] = mcnemar(tracks(5, 0, 0, 5), names(2))
    assert (pair.n_only_first, pair.n_only_second, pair.p) == (0, 0, 1.0)


def test_pairs_are_corrected_by_holms_procedure():
    # Discordant tracks: 12:0 and 9:1 against the last system, and 3:0 between the first two.
    right = np.zeros((40, 3), bool)
    right[:12, 0] = True
    right[:9, 1] = True
    right[20, 2] = True
    raw = mcnemar(right, ["a", "b", "c"])
    p = {(pair.first, pair.second): pair.p for pair in raw}
    assert p == {
        ("a", "b"): pytest.approx(2 / 2**3),
        ("a", "c"): pytest.approx(2 * (1 + 13) / 2**13),
        ("b", "c"): pytest.approx(2 * (1 + 10) / 2**10),
    }
    adjusted = {(pair.first, pair.second): pair.p_holm for pair in raw}
    assert adjusted["a", "c"] == pytest.approx(3 * p["a", "c"])
    assert adjusted["b", "c"] == pytest.approx(2 * p["b", "c"])
    assert adjusted["a", "b"] == pytest.approx(p["a", "b"])


def test_one_system_has_no_pair():
    assert mcnemar(np.ones((4, 1), bool), ["alone"]) == []
