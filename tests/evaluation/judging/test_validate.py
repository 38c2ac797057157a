"""Whether the organisers' evaluator would take an output and count every track."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.validate import validate
from mirex_submission.protocol.lists import MAX_FAULTS_SHOWN


@pytest.fixture
def check(tmp_path):
    """Validate three lists that are given as text."""

    def run(test="/a/one.wav\n/a/two.wav\n", train="/b/x.wav\tR&B\n/b/yes.wav\tsoul\n", output=""):
        paths = [tmp_path / name for name in ("test.txt", "train.txt", "output.txt")]
        for path, text in zip(paths, (test, train, output), strict=True):
            path.write_text(text, encoding="utf-8")
        return validate(*paths)

    run.folder = tmp_path
    return run


def faults_of(check, **lists):
    with pytest.raises(ListError) as caught:
        check(**lists)
    assert caught.value.exit_status == 3
    return [fault.removeprefix(f"{check.folder}/") for fault in str(caught.value).split("\n")]


def test_a_sound_output_counts_whole(check):
    assert check(output="/a/two.wav\tR&B\n/a/one.wav\tsoul\n") == 2


def test_a_class_that_the_output_never_names_and_a_path_listed_twice_are_no_fault(check):
    assert check(test="/a/one.wav\n/a/two.wav\n/a/./one.wav\n", output="/a/one.wav\trb\n/a/two.wav\trb\n") == 2


def test_every_fault_of_an_output_is_named_at_once_with_its_line(check):
    output = "/a/one.wav\tpolka\n\n/a/three.wav\tsoul\n/a/one.wav\tsoul\nno-label\n"
    assert [fault.split(": the evaluator")[0] for fault in faults_of(check, output=output)] == [
        "output.txt:1: label 'polka' is no class of the task",
        "output.txt:3: '/a/three.wav' names no track of the test list, or several",
        "output.txt:4: '/a/one.wav' is the track of line 1 too",
        "output.txt:5: no label in 'no-label'",
        "output.txt: no line for '/a/two.wav'",
    ]


def test_names_in_the_lists_that_the_evaluator_fails_on_are_faults_with_their_lines(check):
    faults = faults_of(
        check,
        test="\n/a/blues.1.wav\n/a/blues.2.wav\n/a/b c.wav\n",
        train="/b/x.wav\tR&B\n/b/yes.wav\trb\n",
        output="/a/blues.1.wav\trb\n/a/blues.2.wav\trb\n/a/b c.wav\trb\n",
    )
    assert [fault.split(": ")[0] for fault in faults] == ["test.txt:3", "test.txt:4", "train.txt:2", "output.txt:3"]


def test_lists_that_cannot_be_read_are_all_named(check):
    faults = faults_of(check, test="/a/one.wav\tsoul\n", train="no tab\n/a\t\n")
    assert [fault.split(": ")[0] for fault in faults] == ["test.txt:1", "train.txt:1", "train.txt:2"]


def test_of_very_many_faults_the_rest_is_counted(check):
    faults = faults_of(check, output="x\n" * (MAX_FAULTS_SHOWN + 10))
    assert len(faults) == MAX_FAULTS_SHOWN + 1
    assert faults[-1] == "output.txt: and 12 faults more"  # two tracks have no line


def test_an_empty_and_a_missing_output_are_faults(check):
    [fault] = faults_of(check, output="\n")
    assert fault.startswith("output.txt: no line: the evaluator counts the fold as 0 %")
    check.folder.joinpath("output.txt").unlink()
    with pytest.raises(ListError, match=r"output\.txt: cannot be read: No such file"):
        validate(*(check.folder / name for name in ("test.txt", "train.txt", "output.txt")))
