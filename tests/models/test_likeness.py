"""The distance to the nearest training track, and its arrays."""

import numpy as np
import pytest

from mirex_submission.features.spec import FeatureSpec, ViewSpec
from mirex_submission.models.likeness import Likeness, descriptor, of_arrays


@pytest.fixture
def fitted():
    rng = np.random.default_rng(0)
    return Likeness.fit(rng.normal(3, [1, 5, 0.1, 2], (40, 4)), [k // 2 for k in range(40)])


def test_distances_are_to_tracks_of_other_groups(fitted):
    squares = ((fitted.vectors[:, None].astype(float) - fitted.vectors) ** 2).mean(axis=2)
    squares[fitted.groups[:, None] == fitted.groups] = np.inf
    np.testing.assert_allclose(fitted.distances, np.sqrt(squares.min(axis=1)), rtol=1e-6)


def test_a_training_track_has_distance_0_and_a_foreign_one_the_largest_distance(fitted):
    raw = fitted.mean + fitted.scale * fitted.vectors[7]
    assert fitted.distance(raw) < 1e-6
    assert fitted.distance(fitted.mean + 100 * fitted.scale) > fitted.distances.max()


def test_columns_without_spread_and_a_single_group():
    of_one = Likeness.fit(np.ones((3, 2)), [0, 0, 0])
    assert np.isinf(of_one.distances).all() and of_one.distance(np.ones(2)) == 0


def test_a_track_is_described_by_its_views_or_by_its_bands():
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    of_bands = descriptor([FeatureSpec(22050)], [(None, rows)])
    np.testing.assert_allclose(of_bands, [*rows.mean(axis=0), *rows.std(axis=0)])
    spec = ViewSpec("view", "1", 22050, 3)
    np.testing.assert_allclose(descriptor([spec, spec], [(None, rows), (None, rows[:1])]), [4.5, 5.5, 6.5, 0, 1, 2])


def test_stored_arrays_are_read_and_others_refused(fitted):
    arrays = fitted.arrays()
    again = of_arrays(arrays)
    assert all(np.array_equal(again.arrays()[name], array) for name, array in arrays.items())
    wrong = [
        {"vectors": arrays["vectors"][:, 1:]},
        {"vectors": arrays["vectors"].astype(float)},
        {"scale": np.zeros(4)},
        {"mean": np.full(4, np.nan)},
        {"groups": arrays["groups"][1:]},
    ]
    for changed in wrong:
        with pytest.raises(ValueError, match="compare with"):
            of_arrays(arrays | changed)
    with pytest.raises(ValueError, match="compare with"):
        of_arrays({"mean": arrays["mean"]})
