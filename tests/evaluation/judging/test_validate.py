"""Whether the organisers' evaluator would take an output and count every track."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.validate import validate
from mirex_submission.protocol.lists import MAX_PROBLEMS_SHOWN


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


def places_and_codes(faults):
    """(where, code) of each line of a message."""
    return [(line.split(": ")[0], line.rpartition(" ")[2].strip("[]")) for line in faults]


def test_a_sound_output_counts_whole(check):
    assert check(output="/a/two.wav\tR&B\n/a/one.wav\tsoul\n") == 2


def test_a_class_that_the_output_never_names_and_a_path_listed_twice_are_no_fault(check):
    assert check(test="/a/one.wav\n/a/two.wav\n/a/./one.wav\n", output="/a/one.wav\trb\n/a/two.wav\trb\n") == 2


def test_every_fault_of_an_output_is_named_at_once_with_its_line(check):
    output = "/a/one.wav\tpolka\n\n/a/three.wav\tsoul\n/a/one.wav\tsoul\nno-label\n"
    assert places_and_codes(faults_of(check, output=output)) == [
        ("output.txt:1", "output.unknown-label"),
        ("output.txt:3", "output.unknown-track"),
        ("output.txt:4", "output.repeated-track"),
        ("output.txt:5", "output.no-label"),
        ("output.txt", "output.missing-track"),
    ]


def test_names_in_the_lists_that_the_evaluator_fails_on_are_faults_with_their_lines(check):
    faults = faults_of(
        check,
        test="\n/a/blues.1.wav\n/a/blues.2.wav\n/a/b c.wav\n",
        train="/b/x.wav\tR&B\n/b/yes.wav\trb\n",
        output="/a/blues.1.wav\trb\n/a/blues.2.wav\trb\n/a/b c.wav\trb\n",
    )
    assert places_and_codes(faults) == [
        ("test.txt:3", "output.same-name"),
        ("test.txt:4", "output.cut-line"),
        ("train.txt:2", "output.same-label"),
        ("output.txt:3", "output.cut-line"),
    ]


def test_a_byte_order_mark_is_a_fault_before_a_bare_file_name_alone(check):
    assert check(output="\ufeff/a/two.wav\tsoul\n/a/one.wav\tsoul\n") == 2
    bare = {"test": "one.wav\n", "output": "\ufeffone.wav\tsoul\n"}
    assert places_and_codes(faults_of(check, **bare)) == [("output.txt:1", "output.byte-order-mark")]


def test_lines_of_blanks_and_tabs_count_for_nothing_in_any_list(check):
    blank = "\t\n \t \n"
    lists = {"test": "/a/one.wav\n", "train": "/b/x.wav\tR&B\n/b/yes.wav\tsoul\n", "output": "/a/one.wav\tsoul\n"}
    assert check(**{name: blank + text + blank for name, text in lists.items()}) == 1


def test_lists_that_cannot_be_read_are_all_named(check):
    faults = faults_of(check, test="/a/one.wav\tsoul\n", train="no tab\n/a\t\n")
    assert places_and_codes(faults) == [
        ("test.txt:1", "list.label"),
        ("train.txt:1", "list.no-tab"),
        ("train.txt:2", "list.no-label"),
    ]


def test_of_very_many_faults_the_rest_is_counted(check):
    faults = faults_of(check, output="x\n" * (MAX_PROBLEMS_SHOWN + 10))
    assert len(faults) == MAX_PROBLEMS_SHOWN + 1
    assert faults[-1].startswith("output.txt: and 12 ")  # two tracks have no line


def test_an_empty_and_a_missing_output_are_faults(check):
    [fault] = faults_of(check, output="\n")
    assert fault.startswith("output.txt: ") and fault.endswith("[output.empty]")
    check.folder.joinpath("output.txt").unlink()
    with pytest.raises(ListError, match=r"output\.txt: .*\[list\.unreadable\]"):
        validate(*(check.folder / name for name in ("test.txt", "train.txt", "output.txt")))
