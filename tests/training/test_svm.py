"""The classifier of views: scikit-learn's decisions by NumPy, calibrated, whatever the classes and columns are."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from mirex_submission.training.svm import Projection, SupportVectorMachine, fit


def task(n_classes, n_tracks, *, seed=0, sizes=(30, 12)):
    """Views of tracks whose classes overlap: {view: vectors}, targets, groups of two."""
    means, rng = np.random.default_rng(9), np.random.default_rng(seed)
    y = np.arange(n_tracks) % n_classes
    views = {
        f"view{k}": (means.normal(size=(n_classes, n)) * 0.4)[y] + rng.normal(size=(n_tracks, n))
        for k, n in enumerate(sizes)
    }
    return {name: x.astype(np.float32) for name, x in views.items()}, y, [str(k // 2) for k in range(n_tracks)]


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_the_decisions_are_scikit_learns(n_classes):
    views, y, groups = task(n_classes, 90)
    new = task(n_classes, 40, seed=1)[0]
    machine = fit(views, y, groups, c=3, gamma=0.3)
    joined, of_new = (
        np.concatenate([project(v[name]) for name, project in machine.projections.items()], axis=1)
        for v in (views, new)
    )
    svc = SVC(C=3, gamma=0.3).fit(joined, y)
    decisions, expected = machine.decisions(new), svc.decision_function(of_new)
    if n_classes == 2:
        margin = np.where(decisions[:, 1] > decisions[:, 0], 1, -1)
        np.testing.assert_array_equal(margin, np.sign(expected))
        part = decisions[:, 1] - (decisions[:, 1] > 0.5)
        np.testing.assert_allclose(part, expected / (3 * (np.abs(expected) + 1)), rtol=0, atol=1e-6)
    else:
        np.testing.assert_allclose(decisions, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(machine.probabilities(new).argmax(axis=1), decisions.argmax(axis=1))


def test_components_are_those_of_scikit_learns_pca_at_the_fourth_root_of_their_variance():
    x = task(2, 60)[0]["view0"].astype(float)
    x[0, 0] = 1e6  # an outlier counts as 4 standard deviations
    standard = np.clip((x - x.mean(axis=0)) / x.std(axis=0), -4, 4)
    pca = PCA(svd_solver="full").fit(standard)
    expected = pca.transform(standard) / pca.explained_variance_**0.25
    expected /= np.sqrt(2 * np.sqrt(pca.explained_variance_).sum())
    found = Projection.fit(x)(x)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-6, atol=1e-9)
    distances = ((found[:, None] - found) ** 2).sum(axis=2)
    assert distances[~np.eye(60, dtype=bool)].mean() == pytest.approx(1, rel=1e-6)


def test_arrays_make_the_same_machine_and_equal_tasks_make_equal_bytes():
    views, y, groups = task(3, 60)
    machines = [fit(views, y, groups, c=3, gamma=0.3) for _ in range(2)]
    arrays = [{name: a.tobytes() for name, a in machine.arrays().items()} for machine in machines]
    assert arrays[0] == arrays[1]
    again = SupportVectorMachine.of_arrays(machines[0].arrays(), list(views))
    np.testing.assert_array_equal(again.probabilities(views), machines[0].probabilities(views))


def test_probabilities_are_calibrated():
    views, y, groups = task(3, 300)
    machine = fit(views, y, groups, c=3, gamma=0.3)
    new, truth, _ = task(3, 600, seed=1)
    probabilities = machine.probabilities(new)
    assert machine.temperature != 1.0
    chosen = probabilities.max(axis=1)
    assert chosen.mean() == pytest.approx((probabilities.argmax(axis=1) == truth).mean(), abs=0.1)


@pytest.mark.parametrize(
    "kind",
    ["2 tracks a class", "a class once", "equal views", "constant columns", "3 tracks", "one group", "all equal"],
)
def test_odd_tasks_have_finite_probabilities(kind):
    views, y, groups = task(3, 40)
    if kind == "2 tracks a class":
        views, y, groups = task(20, 40)
    elif kind == "a class once":
        y = np.append(y[:-1], 3)
    elif kind == "equal views":
        views["view1"] = views["view0"]
    elif kind == "constant columns":
        views["view0"][:, ::2] = 5
    elif kind == "3 tracks":
        views, y, groups = task(3, 3)
    elif kind == "one group":
        groups = ["a"] * len(y)
    else:
        views = {name: np.ones_like(x) for name, x in views.items()}
    probabilities = fit(views, y, groups, c=3, gamma=0.3).probabilities(views)
    assert probabilities.shape == (len(y), len(set(y.tolist()))) and np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_prediction_loads_neither_scikit_learn_nor_scipy(tmp_path):
    views, y, groups = task(3, 30)
    machine = fit(views, y, groups, c=3, gamma=0.3)
    np.savez(tmp_path / "machine.npz", **machine.arrays())
    np.savez(tmp_path / "views.npz", **views)
    code = (
        "import sys, numpy as np; from mirex_submission.training.svm import SupportVectorMachine;"
        "machine = SupportVectorMachine.of_arrays(np.load('machine.npz'), ['view0', 'view1']);"
        "print(machine.decisions(np.load('views.npz')).argmax(axis=1).tolist());"
        "sys.exit(bool({'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.decisions(views).argmax(axis=1).tolist()}\n"
