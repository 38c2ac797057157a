"""Validation: whether the organisers' evaluator would accept an output and count every track."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.validate import validate
from mirex_submission.protocol.lists import MAX_PROBLEMS_SHOWN


@pytest.fixture
def check(tmp_path):
    """A function that validates three lists given as text."""

    def run(test="/a/one.wav\n/a/two.wav\n", train="/b/x.wav\tR&B\n/b/yes.wav\tsoul\n", output=""):
        paths = [tmp_path / name for name in ("test.txt", "train.txt", "output.txt")]
        for path, text in zip(paths, (test, train, output), strict=True):
            path.write_text(text, encoding="utf-8")
        return validate(*paths)

    run.folder = tmp_path
    return run


def problems_of(check, **lists):
    with pytest.raises(ListError) as caught:
        check(**lists)
    assert caught.value.exit_status == 3
    return [problem.removeprefix(f"{check.folder}/") for problem in str(caught.value).split("\n")]


def places_and_codes(problems):
    """Return (where, code) of each line of a message."""
    return [(line.split(": ")[0], line.rpartition(" ")[2].strip("[]")) for line in problems]


def test_all_tracks_of_a_correct_output_count(check):
    assert check(output="/a/two.wav\tR&B\n/a/one.wav\tsoul\n") == 2


def test_an_unpredicted_class_and_a_path_listed_twice_are_no_problem(check):
    assert check(test="/a/one.wav\n/a/two.wav\n/a/./one.wav\n", output="/a/one.wav\trb\n/a/two.wav\trb\n") == 2


def test_all_problems_of_an_output_are_reported_together_with_their_lines(check):
    output = "/a/one.wav\tpolka\n\n/a/three.wav\tsoul\n/a/one.wav\tsoul\nno-label\n"
    assert places_and_codes(problems_of(check, output=output)) == [
        ("output.txt:1", "output.unknown-label"),
        ("output.txt:3", "output.unknown-track"),
        ("output.txt:4", "output.repeated-track"),
        ("output.txt:5", "output.no-label"),
        ("output.txt", "output.missing-track"),
    ]


def test_list_names_on_which_the_evaluator_fails_are_problems_with_their_lines(check):
    problems = problems_of(
        check,
        test="\n/a/blues.1.wav\n/a/blues.2.wav\n/a/b c.wav\n",
        train="/b/x.wav\tR&B\n/b/yes.wav\trb\n",
        output="/a/blues.1.wav\trb\n/a/blues.2.wav\trb\n/a/b c.wav\trb\n",
    )
    assert places_and_codes(problems) == [
        ("test.txt:3", "output.same-name"),
        ("test.txt:4", "output.cut-line"),
        ("train.txt:2", "output.same-label"),
        ("output.txt:3", "output.cut-line"),
    ]


def test_a_byte_order_mark_is_a_problem_only_before_a_bare_file_name(check):
    assert check(output="\ufeff/a/two.wav\tsoul\n/a/one.wav\tsoul\n") == 2
    bare = {"test": "one.wav\n", "output": "\ufeffone.wav\tsoul\n"}
    assert places_and_codes(problems_of(check, **bare)) == [("output.txt:1", "output.byte-order-mark")]


def test_lines_of_blanks_and_tabs_are_ignored_in_every_list(check):
    blank = "\t\n \t \n"
    lists = {"test": "/a/one.wav\n", "train": "/b/x.wav\tR&B\n/b/yes.wav\tsoul\n", "output": "/a/one.wav\tsoul\n"}
    assert check(**{name: blank + text + blank for name, text in lists.items()}) == 1


def test_all_unreadable_lists_are_named(check):
    problems = problems_of(check, test="/a/one.wav\tsoul\n", train="no tab\n/a\t\n")
    assert places_and_codes(problems) == [
        ("test.txt:1", "list.label"),
        ("train.txt:1", "list.no-tab"),
        ("train.txt:2", "list.no-label"),
    ]


def test_of_very_many_problems_the_first_are_listed_and_the_rest_counted(check):
    problems = problems_of(check, output="x\n" * (MAX_PROBLEMS_SHOWN + 10))
    assert len(problems) == MAX_PROBLEMS_SHOWN + 1
    assert problems[-1].startswith("output.txt: and 12 ")  # two tracks have no line


def test_an_empty_and_a_missing_output_are_problems(check):
    [problem] = problems_of(check, output="\n")
    assert problem.startswith("output.txt: ") and problem.endswith("[output.empty]")
    check.folder.joinpath("output.txt").unlink()
    with pytest.raises(ListError, match=r"output\.txt: .*\[list\.unreadable\]"):
        validate(*(check.folder / name for name in ("test.txt", "train.txt", "output.txt")))
