"""The lists of one task: their problems, tracks that two lists share, and tracks that a list lacks."""

import os

import pytest

from mirex_submission.errors import ListError, UsageError
from mirex_submission.preflight.checks import ERROR, NOTE, WARNING
from mirex_submission.preflight.task_lists import compare, read_task

N = 12


def write_task(folder, *, n_folds=3, n_leaks=0):
    """Write the lists of a task of N tracks; the first `n_leaks` of each test list are also in its training list."""
    paths = [f"/none/t{k:03}.wav" for k in range(N)]
    features, training, test = [str(folder / "features.txt")], [], []
    (folder / "features.txt").write_text("".join(f"{path}\n" for path in paths))
    for fold in range(n_folds):
        held_out = paths[fold::n_folds]
        trained = [path for path in paths if path not in held_out] + held_out[:n_leaks]
        training.append(str(folder / f"{fold}.train.txt"))
        test.append(str(folder / f"{fold}.test.txt"))
        (folder / f"{fold}.train.txt").write_text("".join(f"{path}\tclass{int(path[-5]) % 3}\n" for path in trained))
        (folder / f"{fold}.test.txt").write_text("".join(f"{path}\n" for path in held_out))
    return features, training, test


def warnings_of(*lists):
    _, problems = read_task(*lists)
    return [problem.text for problem in problems if problem.severity == WARNING]


def test_good_lists_are_read_in_order_with_a_note_for_each(tmp_path):
    features, training, test = write_task(tmp_path)
    task, problems = read_task(features, training, test)
    read = [[task_list.path for task_list in lists] for lists in (task.features, task.training, task.test)]
    assert read == [features, training, test]
    assert [task_list.path for task_list in task.all] == [*features, *training, *test]
    assert [problem.severity for problem in problems] == [NOTE] * 7
    assert [problem.text.partition(": ")[0] for problem in problems] == [*features, *training, *test]
    assert compare(task) == []


def test_a_test_track_in_the_training_list_of_its_fold_is_named_with_its_line(tmp_path):
    features, training, test = write_task(tmp_path, n_leaks=1)
    warnings = warnings_of(features, training, test)
    assert len(warnings) == 3
    for fold, text in enumerate(warnings):
        assert text.startswith(f"{test[fold]}: ") and text.endswith(" [list.leak]")
        assert training[fold] in text and f"line 1 (/none/t00{fold}.wav)" in text
    # In another order, each list is compared with that of another fold, which holds all its tracks.
    others = warnings_of(features, training[1:] + training[:1], test)
    assert all(f": {N // 3} track(s)" in text for text in others) and len(others) == 3
    assert warnings_of(features, training, []) == warnings_of(features, [], test) == []


def test_different_numbers_of_training_and_test_lists_are_a_usage_error(tmp_path):
    features, training, test = write_task(tmp_path)
    with pytest.raises(UsageError) as caught:
        read_task(features, training, test[:2])
    assert caught.value.code == "usage.folds"


def test_a_path_that_is_in_no_feature_list_is_named_with_its_line(tmp_path):
    features, training, test = write_task(tmp_path)
    for path, line in ((training[0], "/none/new.wav\tclass0\n"), (test[1], "/none/other.wav\n")):
        with open(path, "a") as f:
            f.write(line)
    first, second = warnings_of(features, training, test)
    assert first.startswith(f"{training[0]}: ") and "line 9 (/none/new.wav)" in first
    assert second.startswith(f"{test[1]}: ") and "line 5 (/none/other.wav)" in second
    assert all(features[0] in text and text.endswith(" [list.not-in-features]") for text in (first, second))
    assert warnings_of([], training, test) == []


def test_two_spellings_of_one_file_are_one_track(tmp_path):
    (tmp_path / "train").write_text("/none/a.wav\tx\n/none/b.wav\ty\n/none/c.wav\ty\n")
    (tmp_path / "test").write_text("/none/x/../a.wav\n")
    (text,) = warnings_of([], [str(tmp_path / "train")], [str(tmp_path / "test")])
    assert text.endswith(" [list.leak]")


def test_all_problems_of_all_lists_are_reported_and_the_good_ones_are_read(tmp_path):
    contents = {
        "features": "/none/a.wav\n",
        "train": "/none/a.wav\tx\n/none/b.wav\t\nno tab\n/none/c.wav\ty\n",
        "test": "/none/d.wav\n\0\n",
        "groups": "/none/a.wav\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    features, train, test, groups = (str(tmp_path / name) for name in contents)
    task, problems = read_task([features], [train, str(tmp_path)], [test, str(tmp_path / "missing")], groups)
    assert [task_list.path for task_list in task.all] == [features]
    errors = [problem for problem in problems if problem.severity == ERROR]
    assert {problem.kind for problem in errors} == {ListError}
    assert [(problem.text.partition(": ")[0], problem.text.split("[")[-1]) for problem in errors] == [
        (f"{train}:2", "list.no-label]"), (f"{train}:3", "list.no-tab]"), (str(tmp_path), "folds.no-audio]"),
        (f"{test}:2", "list.nul]"), (f"{tmp_path}/missing", "list.unreadable]"), (f"{groups}:1", "list.no-tab]"),
    ]  # fmt: skip


def test_a_list_may_be_a_pipe(tmp_path):
    read_end, write_end = os.pipe()
    os.write(write_end, b"/none/a.wav\n")
    os.close(write_end)
    task, _ = read_task([f"/dev/fd/{read_end}"], [], [])
    os.close(read_end)
    assert [track.path for track in task.features[0].tracks] == ["/none/a.wav"]


def test_the_warnings_of_each_list_are_reported_once(tmp_path):
    (tmp_path / "train").write_text("/none/aa.wav\tx\n/none/aa.wav\tx\n/none/bb b.wav\ty\n/none/cc.wav\ty\n")
    (tmp_path / "test").write_text("/none/dd.wav\n/none/dd.wav\n")
    warnings = warnings_of([], [str(tmp_path / "train")], [str(tmp_path / "test")])
    assert [text.split("[")[-1] for text in warnings] == [
        "list.duplicate]", "output.cut-line]", "list.duplicate]",
    ]  # fmt: skip
