"""The lists of a cross-validation, found and checked against each other."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.folds.lists import find_lists

TRACKS = {f"/none/{label}_{n}.wav": label for n in range(3) for label in ("rock", "jazz")}


def write(folder, names=("fold1", "fold2", "fold3")):
    """Write correct lists: fold k of n tests the tracks whose number is k."""
    (folder / "features.txt").write_text("".join(f"{path}\n" for path in TRACKS))
    for k, name in enumerate(names):
        tested = [path for path in TRACKS if f"_{k % 3}" in path]
        trained = [path for path in TRACKS if path not in tested]
        (folder / f"{name}.test.txt").write_text("".join(f"{path}\n" for path in tested))
        for part, paths in (("train", trained), ("truth", tested)):
            (folder / f"{name}.{part}.txt").write_text("".join(f"{path}\t{TRACKS[path]}\n" for path in paths))


def test_folds_are_found_by_name_in_the_order_of_their_numbers(tmp_path):
    names = [f"repeat{r}.fold{k}" for r in (1, 2) for k in (1, 2, 10)]
    write(tmp_path, names[::-1])
    (tmp_path / "groups.txt").touch()
    task = find_lists(tmp_path)
    assert [fold.name for fold in task.folds] == names
    assert task.folds[1].truth == tmp_path / "repeat1.fold2.truth.txt"
    assert len(task.hashes()) == 1 + 3 * len(names)
    before = task.hashes()
    task.folds[0].train.write_text("changed")
    assert [path for path, digest in task.hashes().items() if digest != before[path]] == [str(task.folds[0].train)]


def test_a_track_has_one_label_in_all_lists(tmp_path):
    write(tmp_path)
    path = tmp_path / "fold2.truth.txt"
    path.write_text(path.read_text().replace("rock_1.wav\trock", "rock_1.wav\tpolka"))
    message = r"fold2\.truth\.txt:1: .*fold1\.train\.txt:1.*\[folds\.two-labels\]"
    with pytest.raises(ListError, match=message):
        find_lists(tmp_path)


def test_paths_may_be_spelled_differently(tmp_path):
    write(tmp_path)
    lines = (tmp_path / "features.txt").read_text().replace("/none/", "/none//x/../")
    (tmp_path / "features.txt").write_text(lines)
    assert len(find_lists(tmp_path).folds) == 3


CAFE = "caf\u00e9", "cafe\u0301"  # composed, decomposed


@pytest.mark.parametrize("file", ["features.txt", "fold1.test.txt", "fold2.train.txt", "fold1.truth.txt"])
def test_paths_in_another_unicode_form_are_the_same_track_with_a_warning(tmp_path, caplog, file):
    write(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("jazz_0", CAFE[path.name == file]))
    find_lists(tmp_path)
    assert caplog.messages and all("[folds.unicode-forms]" in message for message in caplog.messages)


def test_a_track_in_training_and_test_is_detected_in_any_unicode_form(tmp_path):
    write(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("jazz_0", CAFE[0]))
    with open(tmp_path / "fold1.train.txt", "a") as f:
        f.write(f"/none/{CAFE[1]}.wav\tjazz\n")
    with pytest.raises(ListError, match=r"fold1\.test\.txt:2: .*\[folds\.train-and-test\]"):
        find_lists(tmp_path)


def test_files_whose_names_differ_only_in_their_unicode_form_stay_two_tracks(tmp_path, caplog):
    write(tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("jazz_0", CAFE[0]).replace("jazz_1", CAFE[1]))
    find_lists(tmp_path)
    assert not caplog.messages


def test_a_label_in_another_unicode_form_is_the_same_with_a_warning(tmp_path, caplog):
    write(tmp_path)
    for path in tmp_path.glob("*.t*.txt"):
        path.write_text(path.read_text().replace("\tjazz", f"\t{CAFE[path.name == 'fold2.truth.txt']}"))
    find_lists(tmp_path)
    assert len(caplog.messages) == 1 and "fold2.truth.txt" in caplog.text


@pytest.mark.parametrize(
    ("file", "text", "problems"),
    [
        (
            "fold1.test.txt",
            "/none/new.wav\n",
            [
                ("fold1.test.txt:1", "folds.not-in-features"),
                ("fold1.test.txt:1", "folds.no-truth-of-track"),
                ("fold1.truth.txt:1", "folds.not-tested"),
                ("fold1.truth.txt:2", "folds.not-tested"),
            ],
        ),
        (
            "fold2.train.txt",
            "/none/jazz_1.wav\tjazz\n",
            [("fold2.test.txt:2", "folds.train-and-test")],
        ),
        (
            "fold3.train.txt",
            "/none/other.wav\trock\n",
            [("fold3.train.txt:1", "folds.not-in-features")],
        ),
        ("fold3.train.txt", "/none/rock_0.wav\n", [("fold3.train.txt:1", "list.no-tab")]),
        ("fold3.truth.txt", None, [("fold3.truth.txt", "list.unreadable")]),
        ("features.txt", None, [("features.txt", "list.unreadable")]),
    ],
)
def test_every_problem_is_named_with_its_line(tmp_path, file, text, problems):
    write(tmp_path)
    (tmp_path / file).unlink()
    if text:
        (tmp_path / file).write_text(text)
    with pytest.raises(ListError) as caught:
        find_lists(tmp_path)
    lines = str(caught.value).splitlines()
    assert [(line.split(": ")[0], line.rpartition(" ")[2]) for line in lines] == [
        (f"{tmp_path}/{where}", f"[{code}]") for where, code in problems
    ]


def test_a_folder_without_lists_of_folds_is_refused(tmp_path):
    with pytest.raises(ListError, match=r"\[folds\.no-lists\]"):
        find_lists(tmp_path)
