"""The projection of a view: scikit-learn's principal components, at the fourth root of their variance."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from view_tasks import view_task

from mirex_submission.training import projection
from mirex_submission.training.projection import Projection


@pytest.mark.parametrize("n_tracks", [25, 60])  # fewer than columns, and more
@pytest.mark.parametrize("n_at_once", [7, 4096])
def test_components_are_those_of_scikit_learns_pca_at_the_fourth_root_of_their_variance(
    n_tracks, n_at_once, monkeypatch
):
    monkeypatch.setattr(projection, "_AT_ONCE", n_at_once)
    x = view_task(2, n_tracks)[0]["view0"].astype(float)
    x[0, 0] = 1e6  # an outlier counts as 4 standard deviations
    standard = np.clip((x - x.mean(axis=0)) / x.std(axis=0), -4, 4)
    pca = PCA(min(n_tracks - 1, x.shape[1]), svd_solver="full").fit(standard)
    expected = pca.transform(standard) / pca.explained_variance_**0.25
    expected /= np.sqrt(2 * np.sqrt(pca.explained_variance_).sum())
    components = Projection.fit(x)(x)
    np.testing.assert_allclose(np.abs(components), np.abs(expected), rtol=1e-6, atol=1e-9)
    distances = ((components[:, None] - components) ** 2).sum(axis=2)
    assert distances[~np.eye(n_tracks, dtype=bool)].mean() == pytest.approx(1, rel=1e-6)


def test_tracks_that_are_all_equal_have_one_component_of_zeros():
    x = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(Projection.fit(x)(x), np.zeros((5, 1)))
