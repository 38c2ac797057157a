"""Reading the lists, groups and outputs of an audit, with messages for every problem."""

import pytest
from audit_corpus import write_folds

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.audit.task import read_task
from mirex_submission.evaluation.judging.probabilities import beside

TESTED = {
    f"fold{k}": {f"/none/{label}_{k}{i}.wav": label for i in "ab" for label in ("rock", "jazz")} for k in (1, 2, 3)
}


@pytest.fixture
def lists(tmp_path):
    return write_folds(tmp_path / "lists", TESTED)


def test_a_folder_of_folds(lists):
    task = read_task([lists])
    assert [(fold.name, len(fold.train), len(fold.test)) for fold in task.folds] == [
        (f"fold{k}", 8, 4) for k in (1, 2, 3)
    ]
    assert task.folds[0].test[0] is next(track for track in task.folds[1].train if track.path == "/none/rock_1a.wav")
    assert len(task.tracks) == 12 and task.folds[2].truth == lists / "fold3.truth.txt"
    assert task.crossed(["/none/rock_1a.wav", "/none/rock_1b.wav"]) == []
    assert task.crossed(["/none/rock_1a.wav", "/none/rock_3b.wav"]) == ["fold1", "fold3"]


@pytest.mark.parametrize("part", ["truth", "test"])
def test_a_training_list_with_a_truth_or_a_test_list(lists, part):
    task = read_task([lists / "fold1.train.txt", lists / f"fold1.{part}.txt"])
    [fold] = task.folds
    labels = {track.label for track in fold.test}
    assert labels == ({"rock", "jazz"} if part == "truth" else {""})
    assert {track.label for track in fold.train} == {"rock", "jazz"} and len(task.tracks) == 12


def test_a_track_in_both_lists_is_named_with_its_lines(lists):
    truth = lists / "fold1.truth.txt"
    truth.write_text(truth.read_text() + "/none/jazz_2a.wav\tjazz\n")
    with pytest.raises(ListError, match=r"fold1\.truth\.txt:5: .*fold1\.train\.txt:2.*\[folds\.train-and-test\]"):
        read_task([lists / "fold1.train.txt", truth])


def test_all_problems_of_all_lists_are_named_at_once(lists):
    (lists / "fold2.train.txt").write_text("no tab\n")
    (lists / "groups.txt").write_text("/none/rock_1a.wav\t \n")
    with pytest.raises(ListError, match=r"fold2\.train\.txt:1: .*\[list\.no-tab\]"):
        read_task([lists])
    with pytest.raises(ListError, match=r"(?s)groups\.txt:1: .*\[list\.no-label\].*fold2\.train\.txt"):
        read_task([lists / "fold2.train.txt", lists / "fold2.truth.txt"], groups=[("a", str(lists / "groups.txt"))])


def test_groups_come_from_the_folder_or_from_an_option(lists, tmp_path):
    (lists / "groups.txt").write_text("/none/rock_1a.wav\tThe  Who\n/none/jazz_2a.wav\tBird\n")
    task = read_task([lists])
    assert list(task.groups) == ["group"]
    assert {track.group for track in task.tracks.values()} == {"the who", "bird", ""}
    album = tmp_path / "album.txt"
    album.write_text("/none/rock_1a.wav\tTommy\n")
    assert list(read_task([lists], groups=[("album", str(album))]).groups) == ["album"]
    album.write_text("rock_1a.wav\tTommy\n")
    with pytest.raises(UsageError, match="no track of the lists"):
        read_task([lists], groups=[("album", str(album))])


def test_outputs_of_one_system_or_of_several(lists, tmp_path):
    for name in ("ours", "theirs"):
        (tmp_path / "out" / name).mkdir(parents=True)
        for fold in TESTED:
            (tmp_path / "out" / name / f"{fold}.txt").touch()
        (tmp_path / "out" / name / "report.txt").touch()
    (tmp_path / "out" / "logs").mkdir()
    out = str(tmp_path / "out")
    systems = read_task([lists], outputs=[(None, out)]).systems
    assert {name: [path.name for path in paths] for name, paths in systems.items()} == {
        name: [f"{fold}.txt" for fold in TESTED] for name in ("ours", "theirs")
    }
    assert list(read_task([lists], outputs=[(None, f"{out}/ours"), ("b", f"{out}/theirs")]).systems) == ["ours", "b"]
    # As crossval writes them: outputs and probabilities in subfolders of a system's folder.
    (tmp_path / "crossval" / "ours" / "probabilities").mkdir(parents=True)
    (tmp_path / "out" / "ours").rename(tmp_path / "crossval" / "ours" / "outputs")
    for fold in TESTED:
        (tmp_path / "crossval" / "ours" / "probabilities" / f"{fold}.csv").touch()
    for given in ([(None, f"{tmp_path}/crossval")], [(None, f"{tmp_path}/crossval/ours")]):
        ((name, paths),) = read_task([lists], outputs=given).systems.items()
        assert name == "ours" and [beside(path).name for path in paths] == [f"{fold}.csv" for fold in TESTED]
    with pytest.raises(ListError, match=r"\[audit\.no-outputs\]"):
        read_task([lists], outputs=[(None, str(lists))])
    with pytest.raises(ListError, match=r"\[folds\.unreadable-folder\]"):
        read_task([lists], outputs=[(None, str(tmp_path / "none"))])


def test_two_lists_of_groups_need_two_names(lists):
    groups = str(lists / "groups.txt")
    (lists / "groups.txt").write_text("/none.wav\tx\n")
    with pytest.raises(UsageError, match=r"a different name.*\[usage\.groups\]"):
        read_task([lists], groups=[("group", groups), ("group", groups)])


@pytest.mark.parametrize("n", [0, 3])
def test_a_wrong_number_of_lists_is_refused(lists, n):
    with pytest.raises(UsageError, match=r"\[usage\.audit-lists\]"):
        read_task([lists] * n)
