"""A folder of scripts as a submission: its scripts and their arguments."""

import re

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.crossval.system import OWN_FOLDER, find


@pytest.fixture
def folder(tmp_path):
    """A folder `theirs` of executable scripts."""

    def make(*names, mode=0o755):
        made = tmp_path / "theirs"
        made.mkdir(exist_ok=True)
        for name in names:
            (made / name).touch(mode)
        return made

    return make


def test_scripts_are_found_in_upper_and_lower_case(folder):
    theirs = find(folder("Train.sh", "CLASSIFY.sh", "readme.txt"))
    assert {call: script.name for call, script in theirs.scripts.items()} == {
        "train": "Train.sh",
        "classify": "CLASSIFY.sh",
    }
    assert (theirs.name, theirs.own, theirs.separate) == ("theirs", False, True)


def test_the_name_is_given_or_that_of_the_folder_in_any_spelling(folder, monkeypatch):
    (folder("trainAndClassify.sh") / "below").mkdir()
    monkeypatch.chdir(folder() / "below")
    assert find("..").name == "theirs"
    assert find("..", "Other").name == "Other"
    assert not find("..").separate


def test_our_own_folder_is_recognised():
    ours = find(OWN_FOLDER)
    assert (ours.name, ours.own, ours.separate) == ("mirex_submission", True, True)
    assert set(ours.scripts) == {"extract", "train", "classify", "trainAndClassify"}


@pytest.mark.parametrize(
    ("names", "mode", "code"),
    [
        ([], 0o755, "crossval.no-script"),
        (["train.sh", "extractFeatures.sh"], 0o755, "crossval.no-script"),
        (["train.sh", "classify.sh"], 0o644, "crossval.not-executable"),
    ],
)
def test_a_folder_without_usable_scripts_is_refused(folder, names, mode, code):
    with pytest.raises(UsageError, match=re.escape(f"[{code}]")):
        find(folder(*names, mode=mode))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"none: .*\[crossval\.unreadable-submission\]"):
        find(tmp_path / "none")


def test_the_digest_depends_on_the_names_and_contents_of_the_files(folder):
    names = ("train.sh", "classify.sh", "x", "y")
    first = find(folder(*names)).digest
    assert find(folder()).digest == first
    (folder() / "x").write_text("text")
    second = find(folder()).digest
    (folder() / "x").rename(folder() / "z")
    assert len({first, second, find(folder()).digest}) == 3
    (folder() / "below").mkdir()
    assert find(folder()).digest == find(folder()).digest
