"""The classifier of views: scikit-learn's decisions by NumPy, calibrated, whatever the classes and columns are."""

import re

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.svm import SVC
from view_tasks import view_task

from mirex_submission.training import svm
from mirex_submission.training.kernel_machine import LandmarkMachine, gaussian_kernel, join
from mirex_submission.training.svm import fit, tuned


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_the_decisions_are_scikit_learns(n_classes):
    views, y, groups = view_task(n_classes, 90)
    new = view_task(n_classes, 40, seed=1)[0]
    machine = fit(views, y, groups, c=3, gamma=0.3)
    joined, of_new = (join(machine.projections, v) for v in (views, new))
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


def test_probabilities_are_calibrated():
    views, y, groups = view_task(3, 300)
    machine = fit(views, y, groups, c=3, gamma=0.3)
    new, truth, _ = view_task(3, 600, seed=1)
    probabilities = machine.probabilities(new)
    assert machine.temperature != 1.0
    chosen = probabilities.max(axis=1)
    assert chosen.mean() == pytest.approx((probabilities.argmax(axis=1) == truth).mean(), abs=0.1)


def test_a_training_without_errors_does_not_give_certainty():
    views, y, groups = view_task(3, 60)
    views = {name: x + 100 * y[:, None] for name, x in views.items()}
    probabilities = fit(views, y, groups, c=3, gamma=0.3).probabilities(views)
    assert (probabilities.argmax(axis=1) == y).all() and 0.9 < probabilities.max(axis=1).min() < 0.9999


@pytest.mark.parametrize(
    "kind",
    ["2 tracks a class", "a class once", "equal views", "constant columns", "3 tracks", "one group", "all equal"],
)
def test_unusual_trainings_have_finite_probabilities(kind):
    views, y, groups = view_task(3, 40)
    if kind == "2 tracks a class":
        views, y, groups = view_task(20, 40)
    elif kind == "a class once":
        y = np.append(y[:-1], 3)
    elif kind == "equal views":
        views["view1"] = views["view0"]
    elif kind == "constant columns":
        views["view0"][:, ::2] = 5
    elif kind == "3 tracks":
        views, y, groups = view_task(3, 3)
    elif kind == "one group":
        groups = ["a"] * len(y)
    else:
        views = {name: np.ones_like(x) for name, x in views.items()}
    probabilities = fit(views, y, groups, c=3, gamma=0.3).probabilities(views)
    assert probabilities.shape == (len(y), len(set(y.tolist()))) and np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_tuning_chooses_the_pair_with_most_correct_held_out_tracks(caplog):
    caplog.set_level("INFO")
    views, y, groups = view_task(3, 90)
    c, gamma = tuned(views, y, groups, c=3, gamma=0.3)
    assert c in (1, 3, 10) and gamma / 0.3 in (0.25, 0.5, 1, 2)
    n_right = {
        (float(c), float(width)): int(n)
        for c, width, n in re.findall(r"C (\S+), gamma (\S+): (\d+) of 90", caplog.text)
    }
    assert len(n_right) == 12 and n_right[c, gamma] == max(n_right.values())


@pytest.mark.parametrize("groups", ["one", "of classes"])
def test_without_held_out_tracks_tuning_and_calibration_are_skipped_with_warnings(caplog, groups):
    views, y, _ = view_task(3, 30)
    of_tracks = ["a"] * len(y) if groups == "one" else [str(label) for label in y]
    assert tuned(views, y, of_tracks, c=2.5, gamma=0.3) == (2.5, 0.3)
    assert "[training.not-tuned]" in caplog.text
    if groups == "one":
        assert fit(views, y, of_tracks, c=2.5, gamma=0.3).temperature == 1
        assert "[training.not-calibrated]" in caplog.text


def test_groups_are_never_split_in_a_fold():
    y, groups = np.arange(60) % 3, [str(k // 4) for k in range(60)]
    for trained, held in svm._folds(y, groups, 3, 0):
        assert not {groups[k] for k in trained} & {groups[k] for k in held}


# Large trainings.


def test_calibration_uses_the_classifier_of_the_whole_training(monkeypatch):
    """Parts of a training just above the limit are below it: their decisions must have the same scale all the same."""
    views, y, groups = view_task(3, 300)
    monkeypatch.setattr(svm, "MOST_TRACKS", 299)
    just_large = fit(views, y, groups, c=3, gamma=0.3)
    monkeypatch.setattr(svm, "MOST_TRACKS", 10)
    assert just_large.temperature == fit(views, y, groups, c=3, gamma=0.3).temperature


@pytest.fixture
def landmarks(monkeypatch):
    """As if this many tracks were too many for a support vector machine."""
    monkeypatch.setattr(svm, "MOST_TRACKS", 50)
    monkeypatch.setattr(svm, "N_LANDMARKS", 40)
    monkeypatch.setattr(svm, "_AT_ONCE", 7)


def test_a_large_training_is_ridge_regression_in_the_space_of_landmarks(landmarks):
    views, y, groups = view_task(4, 120)
    machine = fit(views, y, groups, c=3, gamma=0.3)
    assert isinstance(machine, LandmarkMachine) and len(machine.vectors) == 40
    # The same by scikit-learn: features whose products are the kernel of the landmarks.
    values, vectors = np.linalg.eigh(gaussian_kernel(machine.vectors, machine.vectors, 0.3))
    new = view_task(4, 30, seed=1)[0]
    of_tracks, of_new = (
        gaussian_kernel(join(machine.projections, v), machine.vectors, 0.3) @ (vectors / np.sqrt(values))
        for v in (views, new)
    )
    ridge = Ridge(alpha=1 / 3).fit(of_tracks, np.eye(4)[y])
    np.testing.assert_allclose(machine.decisions(new), ridge.predict(of_new), rtol=0, atol=1e-4)


def test_a_large_training_is_almost_as_accurate(landmarks):
    views, y, groups = view_task(4, 400)
    new, truth, _ = view_task(4, 400, seed=1)
    n_right = [(fit(views, y, groups, c=3, gamma=0.3).probabilities(new).argmax(axis=1) == truth).sum()]
    svm.MOST_TRACKS = 1000  # the fixture sets it back
    n_right.append((fit(views, y, groups, c=3, gamma=0.3).probabilities(new).argmax(axis=1) == truth).sum())
    assert n_right[0] > n_right[1] - 20


@pytest.mark.parametrize("n_classes", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_classes_of_two_tracks(n_classes, monkeypatch):
    monkeypatch.setattr(svm, "N_LANDMARKS", 200)
    rng = np.random.default_rng(0)
    means = rng.normal(size=(n_classes, 24)).astype(np.float32)
    y = np.repeat(np.arange(n_classes), 2)
    views = {"view": means[y] + 0.05 * rng.normal(size=(len(y), 24)).astype(np.float32)}
    machine = fit(views, y, [str(k) for k in range(len(y))], c=3, gamma=0.6)
    some = means[:200] + 0.05 * rng.normal(size=(200, 24)).astype(np.float32)
    probabilities = machine.probabilities({"view": some})
    assert probabilities.shape == (200, n_classes) and np.isfinite(probabilities).all()
    assert (probabilities.argmax(axis=1) == np.arange(200)).mean() > 0.5
