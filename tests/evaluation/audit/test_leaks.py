"""Leaks: groups, titles and folders in both training and test, and names in several Unicode forms."""

import pytest
from audit_corpus import write_folds

from mirex_submission.evaluation.audit.leaks import leaks
from mirex_submission.evaluation.audit.task import read_task

CAFE = "caf\u00e9", "cafe\u0301"  # composed, decomposed


def task_of(tmp_path, tested, *, groups=None):
    lists = write_folds(tmp_path / "lists", tested)
    given = []
    for name, group_of in (groups or {}).items():
        path = tmp_path / f"{name}.txt"
        path.write_text("".join(f"{file}\t{group}\n" for file, group in group_of.items()))
        given.append((name, str(path)))
    return read_task([lists], groups=given)


def found(problems):
    return [(problem.code, problem.severity, problem.paths) for problem in problems]


def numbered(n=12):
    """Return two folds of numbered files, with one folder per class."""
    return {
        f"fold{k}": {f"/none/{label}/{label}_{i:02d}.wav": label for i in range(k, n, 2) for label in ("rock", "jazz")}
        for k in (0, 1)
    }


def test_numbered_files_in_folders_of_classes_are_not_a_leak(tmp_path):
    assert leaks(task_of(tmp_path, numbered())) == []


@pytest.mark.parametrize("name", ["{:02d}", "track{}", "take {} a{}"])
def test_numbers_that_repeat_in_each_folder_are_not_titles(tmp_path, name):
    tested = {
        f"fold{k}": {f"/none/{label}{k}/{name.format(i, i)}.wav": label for i in range(6) for label in ("rock", "jazz")}
        for k in (0, 1)
    }
    assert leaks(task_of(tmp_path, tested)) == []


def test_artists_and_albums_in_training_and_test(tmp_path):
    tested = numbered(4)
    rock = [f"/none/rock/rock_{i:02d}.wav" for i in range(4)]
    jazz = [f"/none/jazz/jazz_{i:02d}.wav" for i in range(4)]
    groups = {
        "artist": {rock[0]: "Queen", rock[1]: " queen", rock[2]: "Pixies", jazz[0]: "Bird"},
        "album": dict(zip(jazz, ["a", "b", "a", "b"], strict=True)),
    }
    problems = leaks(task_of(tmp_path, tested, groups=groups))
    assert found(problems) == [("audit.split-group", "warning", [rock[1], rock[0]])]
    assert problems[0].folds == ["fold0", "fold1"] and problems[0].message.startswith(
        "artist 'queen'".replace("q", " q")
    )
    groups["album"] = dict.fromkeys(jazz, "one album")
    problems = leaks(task_of(tmp_path, tested, groups=groups))
    assert [(p.group, sorted(p.paths)) for p in problems][1:] == [("one album", jazz)]


def test_titles_in_training_and_test_in_any_spelling(tmp_path):
    tested = numbered(4)
    tested["fold0"]["/none/a/03 - La Vie en Rose.mp3"] = "rock"
    tested["fold1"]["/none/b/la_vie_en_rose (Live).wav"] = "rock"
    tested["fold0"]["/none/a/Summertime.mp3"] = "rock"
    tested["fold1"]["/none/b/summertime.flac"] = "jazz"
    tested["fold1"]["/none/c/Night and Day.flac"] = "jazz"
    tested["fold1"]["/none/d/Night and Day.flac"] = "jazz"  # on one side
    problems = leaks(task_of(tmp_path, tested))
    assert {(p.code, p.severity, p.group) for p in problems} == {
        ("audit.split-title", "note", "summertime"),
        ("audit.split-title", "warning", "la vie en rose"),
    }


def test_one_numbered_title_among_many_is_found(tmp_path):
    tested = numbered(40)
    tested["fold0"]["/none/a/song7.mp3"] = tested["fold1"]["/none/b/song7.wav"] = "rock"
    assert [p.paths for p in leaks(task_of(tmp_path, tested))] == [["/none/b/song7.wav", "/none/a/song7.mp3"]]


def test_folders_that_look_like_albums(tmp_path):
    albums = {f"album{a}": "rock" if a % 2 else "jazz" for a in range(8)}
    files = {f"/none/{album}/{i}{album}x.wav": label for album, label in albums.items() for i in range(3)}
    tested = {"fold0": {}, "fold1": {}}
    for file, label in files.items():
        is_split = "/album3/1" in file
        tested["fold1" if ("album7" in file or "album2" in file or is_split) else "fold0"][file] = label
    problems = leaks(task_of(tmp_path, tested))
    assert [(p.code, p.severity, p.group) for p in problems] == [("audit.split-folder", "note", "/none/album3")]
    of_artist = {"artist": {file: file.split("/")[2] + file[-7] for file in files}}
    assert all(p.code != "audit.split-folder" for p in leaks(task_of(tmp_path, tested, groups=of_artist)))


def test_unicode_forms_of_labels_groups_and_paths(tmp_path):
    tested = numbered(4)
    for k, form in enumerate(CAFE):
        tested[f"fold{k}"] |= {
            f"/none/{form}{k}/a.wav": "rock",
            f"/none/x/{form}.wav": "rock",
            f"/none/y/{k}.wav": form,
        }
    artist = {f"/none/y/{k}.wav": form for k, form in enumerate(CAFE)}
    problems = leaks(task_of(tmp_path, tested, groups={"artist": artist}))
    forms = [(p.message.split()[0], p.severity, len(p.paths)) for p in problems if p.code == "audit.unicode-forms"]
    assert forms == [("label", "warning", 0), ("artist", "warning", 2), ("path", "warning", 2)]
    assert any(p.code == "audit.split-group" and p.severity == "warning" for p in problems)
