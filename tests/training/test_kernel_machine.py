"""Machines of arrays: written, read, refused where they are others, and used without another library."""

import subprocess
import sys

import numpy as np
import pytest
from view_tasks import view_task

from mirex_submission.training import kernel_machine, svm
from mirex_submission.training.svm import fit

LENGTHS = {"view0": 30, "view1": 12}


@pytest.fixture(params=["pairs", "landmarks"])
def machine(request, monkeypatch):
    if request.param == "landmarks":
        monkeypatch.setattr(svm, "MOST_TRACKS", 10)
    return fit(*view_task(3, 60), c=3, gamma=0.3)


def test_arrays_make_the_same_machine(machine):
    views = view_task(3, 60)[0]
    again = kernel_machine.of_arrays(machine.arrays(), LENGTHS, 3)
    np.testing.assert_array_equal(again.probabilities(views), machine.probabilities(views))
    assert again.description == machine.description


def test_equal_trainings_give_equal_bytes(machine, monkeypatch):
    again = fit(*view_task(3, 60), c=3, gamma=0.3)
    assert {n: a.tobytes() for n, a in again.arrays().items()} == {n: a.tobytes() for n, a in machine.arrays().items()}


def test_more_tracks_than_fit_at_once_have_the_same_decisions(machine, monkeypatch):
    views = view_task(3, 60)[0]
    whole = machine.decisions(views)
    monkeypatch.setattr(kernel_machine, "_AT_ONCE", 100)
    np.testing.assert_allclose(machine.decisions(views), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gamma", np.ones(3)), ("gamma", np.array(1j)), ("gamma", np.array(-5.0)), ("temperature", np.array(0.0)),
        ("view0/scale", np.zeros(30)), ("view0/scale", np.ones(5)), ("view0/mean", np.zeros((30, 1))),
        ("view0/components", np.array(1.0)), ("view1/centre", np.array(["a"] * 12)), ("vectors", np.array(1.0)),
    ],
)  # fmt: skip
def test_arrays_of_other_values_types_or_sizes_are_refused(machine, name, value):
    with pytest.raises(ValueError, match="classifier"):
        kernel_machine.of_arrays(machine.arrays() | {name: value}, LENGTHS, 3)


@pytest.mark.parametrize("counts", [[-1, 0, 0], [1000, 1000, 1000], [1.0, 1.0, 1.0]])
def test_counts_that_do_not_fit_the_support_vectors_are_refused(counts):
    machine = fit(*view_task(3, 60), c=3, gamma=0.3)
    with pytest.raises(ValueError, match="classifier"):
        kernel_machine.of_arrays(machine.arrays() | {"counts": np.array(counts)}, LENGTHS, 3)


@pytest.mark.parametrize("change", ["an array less", "one more", "a view less", "nan", "classes", "columns", "vectors"])
def test_arrays_of_another_machine_are_refused(machine, change):
    arrays, lengths, n_classes = machine.arrays(), dict(LENGTHS), 3
    if change == "an array less":
        del arrays["vectors"]
    elif change == "one more":
        arrays["more"] = np.zeros(1)
    elif change == "a view less":
        del lengths["view1"]
    elif change == "nan":
        arrays["vectors"] = np.full_like(arrays["vectors"], np.nan)
    elif change == "classes":
        n_classes = 4
    elif change == "columns":
        lengths["view0"] = 31
    else:
        arrays["vectors"] = arrays["vectors"][:, 1:]
    with pytest.raises(ValueError, match="arrays"):
        kernel_machine.of_arrays(arrays, lengths, n_classes)


def test_a_prediction_loads_neither_scikit_learn_nor_scipy(machine, tmp_path):
    views = view_task(3, 30)[0]
    np.savez(tmp_path / "machine.npz", **machine.arrays())
    np.savez(tmp_path / "views.npz", **views)
    code = (
        "import sys, numpy as np; from mirex_submission.training import kernel_machine;"
        f"machine = kernel_machine.of_arrays(dict(np.load('machine.npz')), {LENGTHS}, 3);"
        "print(machine.decisions(np.load('views.npz')).argmax(axis=1).tolist());"
        "sys.exit(bool({'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{machine.decisions(views).argmax(axis=1).tolist()}\n"
