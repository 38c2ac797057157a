"""The lists of a cross-validation, found and checked against each other."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.folds.lists import find_lists

TRACKS = {f"/none/{label}_{n}.wav": label for n in range(3) for label in ("rock", "jazz")}


def write(folder, names=("fold1", "fold2", "fold3")):
    """Sound lists: fold k of n tests the tracks whose number is k."""
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
    assert [path for path, found in task.hashes().items() if found != before[path]] == [str(task.folds[0].train)]


def test_a_track_has_one_label_in_all_lists(tmp_path):
    write(tmp_path)
    path = tmp_path / "fold2.truth.txt"
    path.write_text(path.read_text().replace("rock_1.wav\trock", "rock_1.wav\tpolka"))
    said = r"fold2\.truth\.txt:1: '/none/rock_1\.wav' is 'polka' here and 'rock' in \S+fold1\.train\.txt:1: correct one"
    with pytest.raises(ListError, match=said):
        find_lists(tmp_path)


def test_paths_may_be_spelled_differently(tmp_path):
    write(tmp_path)
    lines = (tmp_path / "features.txt").read_text().replace("/none/", "/none//x/../")
    (tmp_path / "features.txt").write_text(lines)
    assert len(find_lists(tmp_path).folds) == 3


@pytest.mark.parametrize(
    ("file", "text", "faults"),
    [
        (
            "fold1.test.txt",
            "/none/new.wav\n",
            [
                "fold1.test.txt:1: '/none/new.wav' is not in features.txt: add it there",
                "fold1.test.txt:1: '/none/new.wav' is not in fold1.truth.txt: add it there with its label",
                "fold1.truth.txt:1: '/none/rock_0.wav' is not in fold1.test.txt: add it there",
                "fold1.truth.txt:2: '/none/jazz_0.wav' is not in fold1.test.txt: add it there",
            ],
        ),
        (
            "fold2.train.txt",
            "/none/jazz_1.wav\tjazz\n",
            ["fold2.test.txt:2: '/none/jazz_1.wav' is in fold2.train.txt too: take it out of one of the two"],
        ),
        (
            "fold3.train.txt",
            "/none/other.wav\trock\n",
            ["fold3.train.txt:1: '/none/other.wav' is not in features.txt: add it there"],
        ),
        ("fold3.train.txt", "/none/rock_0.wav\n", ["fold3.train.txt:1: no tab in '/none/rock_0.wav'"]),
        ("fold3.truth.txt", None, ["fold3.truth.txt: cannot be read"]),
        ("features.txt", None, ["features.txt: cannot be read"]),
    ],
)
def test_every_fault_is_named_with_its_line(tmp_path, file, text, faults):
    write(tmp_path)
    (tmp_path / file).unlink()
    if text:
        (tmp_path / file).write_text(text)
    with pytest.raises(ListError) as caught:
        find_lists(tmp_path)
    found = str(caught.value).splitlines()
    assert len(found) == len(faults)
    assert all(line.startswith(f"{tmp_path}/{fault}") for line, fault in zip(found, faults, strict=True))


def test_a_folder_without_lists_of_folds_is_refused(tmp_path):
    with pytest.raises(ListError, match=r"no \*\.test\.txt"):
        find_lists(tmp_path)
