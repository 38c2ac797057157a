"""Lists told apart by what they hold, and what the lists of one task should not share."""

import os

import pytest

from mirex_submission.errors import ListError
from mirex_submission.preflight.task_lists import read, sort_out, warnings_of

N = 12


def write_task(folder, *, n_folds=3, leaks=0):
    """The lists of a task of N tracks; of each fold's test list the first `leaks` are in its training list too."""
    paths = [f"/none/t{k:03}.wav" for k in range(N)]
    names = ["features.txt"]
    (folder / names[0]).write_text("".join(f"{path}\n" for path in paths))
    for fold in range(n_folds):
        test = paths[fold::n_folds]
        train = [path for path in paths if path not in test] + test[:leaks]
        names += [f"{fold}.train.txt", f"{fold}.test.txt"]
        (folder / names[-2]).write_text("".join(f"{path}\tclass{int(path[-5]) % 3}\n" for path in train))
        (folder / names[-1]).write_text("".join(f"{path}\n" for path in test))
    return [str(folder / name) for name in names]


def names_of(task):
    return [os.path.basename(each.path) for each in task]


@pytest.mark.parametrize("n_folds", [2, 3, 6])
def test_feature_training_and_test_lists_are_known_by_what_they_hold(tmp_path, n_folds):
    task = [read(path) for path in reversed(write_task(tmp_path, n_folds=n_folds))]
    features, training, test = map(names_of, sort_out(task))
    assert features == ["features.txt"]
    assert sorted(training) == [f"{fold}.train.txt" for fold in range(n_folds)]
    assert sorted(test) == [f"{fold}.test.txt" for fold in range(n_folds)]
    assert warnings_of(task) == []


def test_a_test_track_that_is_trained_on_in_its_own_fold_is_named_and_in_other_folds_it_is_as_it_should_be(tmp_path):
    task = [read(path) for path in write_task(tmp_path, leaks=1)]
    assert warnings_of(task) == [
        f"{tmp_path}/{fold}.test.txt: 1 track(s) are in {tmp_path}/{fold}.train.txt too: take them out of one of the "
        f"two: line 1 (/none/t00{fold}.wav)"
        for fold in range(3)
    ]


def test_a_path_that_no_feature_list_has_is_named_with_its_line(tmp_path):
    paths = write_task(tmp_path)
    for path in paths[1:3]:
        with open(path, "a") as f:
            f.write("/none/new.wav" + ("\tclass0\n" if "train" in path else "\n"))
    found = warnings_of([read(path) for path in paths])
    assert f"{paths[1]}: 1 track(s) are not in {paths[0]}: add them there: line 9 (/none/new.wav)" in found
    assert f"{paths[2]}: 1 track(s) are not in {paths[0]}: add them there: line 5 (/none/new.wav)" in found
    assert any(line.startswith(f"{paths[2]}: 1 track(s) are in {paths[1]} too") for line in found) and len(found) == 3


def test_a_list_most_lines_of_which_have_a_label_is_a_training_list_with_faults(tmp_path):
    (tmp_path / "list").write_text("/none/a.wav\tx\n/none/b.wav\ty\n/none/c.wav\n")
    with pytest.raises(ListError, match=r"list:3: no tab in '/none/c\.wav': write path<TAB>label"):
        read(str(tmp_path / "list"))
    (tmp_path / "list").write_text("/none/a.wav\n/none/b.wav\ty\n/none/c.wav\n")
    with pytest.raises(ListError, match="list:2: a tab, then 'y': give one path a line here"):
        read(str(tmp_path / "list"))


def test_file_names_with_a_tab_are_paths_where_such_files_are(tmp_path):
    for name in ("a\tb.wav", "c\td.wav"):
        (tmp_path / name).touch()
    (tmp_path / "list").write_text(f"{tmp_path}/a\tb.wav\n{tmp_path}/c\td.wav\n")
    found = read(str(tmp_path / "list"))
    assert not found.labelled and len(found.tracks) == 2


def test_a_list_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ListError, match="pipe: not a regular file"):
        read(str(tmp_path / "pipe"))


def test_what_is_odd_about_each_list_is_said_once(tmp_path):
    (tmp_path / "train").write_text("/none/aa.wav\tx\n/none/aa.wav\tx\n/none/bb b.wav\ty\n")
    (tmp_path / "test").write_text("/none/cc.wav\n/none/cc.wav\n")
    found = warnings_of([read(str(tmp_path / name)) for name in ("train", "test")])
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
        "1 duplicate line(s)",
        "1 path(s) with white space, at which the evaluator cuts the line",
        "1 duplicate line(s)",
    ]
