"""Sets of labels hold the truth as often as they promise, for new tracks of new groups."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.models.conformal import SetRule, grouped_quantile


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_groups_of_one_track_give_the_quantile_of_split_conformal_prediction(values, level):
    rank = math.ceil((len(values) + 1) * level - 1e-9)
    expected = sorted(values)[rank - 1] if rank <= len(values) else math.inf
    assert grouped_quantile(values, range(len(values)), level) == expected


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_groups_of_any_size_have_the_same_weight(tracks, level):
    values, groups = zip(*tracks, strict=True)
    twice = grouped_quantile([*values, *values], [*groups, *groups], level)
    assert twice == grouped_quantile(values, groups, level)


def draw(rng, n_groups):
    """Scores and distances of tracks of groups of many sizes, whose tracks are alike; and the group of each."""
    sizes = rng.choice([1, 1, 1, 2, 5, 20], n_groups)
    groups = np.repeat(np.arange(n_groups), sizes)
    scores = 1 / (1 + np.exp(-rng.normal(size=n_groups)[groups] * 2 - rng.normal(size=len(groups)) * 0.3))
    distances = np.exp(rng.normal(size=n_groups)[groups] * 0.3 + rng.normal(size=len(groups)) * 0.05)
    return scores, distances, groups


@pytest.mark.parametrize("confidence", [0.7, 0.9])
@pytest.mark.parametrize("n_groups", [12, 40])
def test_a_new_track_of_a_new_group_is_covered_with_the_given_probability(confidence, n_groups):
    rng, covered, none = np.random.default_rng(5), [], []
    for _ in range(400):
        scores, distances, groups = draw(rng, n_groups)
        _, of_training, training_groups = draw(rng, 150)
        rule = SetRule.fit(scores, groups, [*of_training, *distances], [*training_groups, *(groups + 1000)], confidence)
        score, distance, _ = (values[0] for values in draw(rng, 1))
        chosen = rule.choose(np.array([1 - score, 0.0]), 1, distance)
        covered.append(chosen[0])
        none.append(not chosen.any())
    error = 3 * math.sqrt(confidence * (1 - confidence) / len(covered))
    assert np.mean(covered) >= confidence - error
    # Not by holding all: what is lost is at most a group's weight, and the share of unlike tracks.
    assert np.mean(covered) <= confidence + 1 / (n_groups + 1) + 0.2 * (1 - confidence) + error
    assert 0 < np.mean(none) <= 0.1 * (1 - confidence) + 1 / 150 + 0.01


def test_a_tenth_of_the_errors_is_for_unlike_tracks():
    scores = np.linspace(0, 1, 199)
    rule = SetRule.fit(scores, range(199), range(1, 200), range(199), 0.8)
    assert (rule.highest_score, rule.farthest) == (scores[163], 196)  # levels 0.82 and 0.98 of 200


@pytest.mark.parametrize(
    ("n_held", "n_all", "confidence", "all_labels", "never_none"),
    [
        (8, 60, 0.9, True, False),  # 8 / 9: any set but that of all labels would be a lie
        (9, 60, 0.9, False, True),  # 9 / 10, and nothing is left for unlike tracks
        (12, 60, 0.9, False, False),
        (3, 4, 0.95, True, True),
    ],
)
def test_with_few_groups_sets_have_all_labels_or_no_track_is_unlike(n_held, n_all, confidence, all_labels, never_none):
    rule = SetRule.fit(np.linspace(0, 0.5, n_held), range(n_held), range(n_all), range(n_all), confidence)
    assert (math.isinf(rule.highest_score), math.isinf(rule.farthest)) == (all_labels, never_none)
    assert rule.choose(np.array([0.99, 0.01]), 0, 1.0).all() == all_labels


def test_a_set_has_the_predicted_label_or_is_empty():
    rule = SetRule(0.1, 2.0)
    assert rule.choose(np.array([0.6, 0.4]), 1, 2.0).tolist() == [False, True]  # as a vote of the majority may predict
    assert rule.choose(np.array([0.95, 0.05]), 0, 2.1).tolist() == [False, False]
