"""The results of the program are unchanged: make.py computes them, and goldens.json stores them.

If a golden changes on purpose, make it again with `python tests/goldens/make.py`, and review the change.
"""

import warnings
from pathlib import Path

import make
import pytest

import mirex_submission


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The corpus, which all parts share."""
    folder = tmp_path_factory.mktemp("goldens") / "corpus"
    make.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def goldens():
    return make.read()


def test_the_imported_package_is_that_of_this_checkout():
    assert Path(mirex_submission.__file__).resolve().parent.parent == make.PROJECT


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (part in make.SLOW)) for name, part in make.PARTS.items()]
)
def test_results_are_unchanged(name, place, goldens):
    here, result = make.platform(), make.PARTS[name](place)
    if result.floats and make.digests_of(goldens, name, here) is None:
        warnings.warn(
            f"{name}: goldens.json has no digests of this platform, so samples were compared: {here}", stacklevel=1
        )
    differences = make.differences_of(name, result, goldens, here)
    more = [f"and {len(differences) - 30} more"] if len(differences) > 30 else []
    assert not differences, "\n".join([f"{name}: {len(differences)} differ on {here}:", *differences[:30], *more])


def test_every_part_is_stored_with_all_its_kinds(goldens):
    assert set(goldens["exact"]) == set(make.PARTS)
    for entry in goldens["platforms"]:
        for name, digests in entry["sha256"].items():
            assert {make.sample_name(key) for key in digests} == set(goldens["samples"][name])


def test_the_two_votes_and_the_models_have_other_predictions(goldens):
    """Otherwise a golden could not detect that one is mistaken for another."""
    names = ("1", "2", "3", "all", "all, majority", "2 of all, majority")
    result = [goldens["exact"]["models"][f"predictions by {name}"] for name in names]
    assert all(result.count(entry) == 1 for entry in result)


def test_a_changed_result_is_detected(goldens):
    """A number, a digest, or an entry that differs or is missing."""
    here = make.platform()
    part = make.Part({"n": 1}, {"lanes 4: x": ("ab", [0.5]), "lanes 8: x": ("cd", [0.5])})
    stored = {"exact": {"models": {"n": 1}}, "samples": {"models": {"x": [0.5004]}}, "platforms": []}
    digests = {"lanes 4: x": "ab", "lanes 8: x": "cd"}
    stored["platforms"] = [{"platform": here, "sha256": {"models": digests}}]
    assert not make.differences_of("models", part, stored, here)
    for changed in (
        {"exact": {"models": {"n": 2}}},
        {"exact": {"models": {}}},
        {"exact": {"models": {"n": 1, "m": 1}}},
        {"samples": {"models": {"x": [0.502]}}},
        {"samples": {"models": {}}},
        {"platforms": [{"platform": here, "sha256": {"models": {**digests, "lanes 8: x": "ce"}}}]},
        {"platforms": [{"platform": here, "sha256": {"models": {"lanes 4: x": "ab"}}}]},
    ):
        assert make.differences_of("models", part, {**stored, **changed}, here), changed
    # On another platform, the samples are compared.
    other = {**here, "numpy": "1"}
    part.floats["lanes 8: x"] = ("ce", [0.5])
    assert not make.differences_of("models", part, stored, other) and make.differences_of("models", part, stored, here)
