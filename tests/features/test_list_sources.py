"""Sources of a list: a folder, a table, or an audio file; a list file is passed on unchanged."""

import os
import threading

import numpy as np
import pandas as pd
import pytest
import soundfile

from mirex_submission.errors import ListError, UsageError
from mirex_submission.features.list_sources import groups_of_folders, open_list
from mirex_submission.protocol.lists import read_labelled, read_unlabelled
from mirex_submission.protocol.tables import TableOptions

NAMES = ("jazz/ann/a.wav", "jazz/bob/b.wav", "rock/bob/c.wav", "rock/d.wav")


@pytest.fixture
def music(tmp_path, monkeypatch):
    """Make a folder of music in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 22050)
    return tmp_path / "music"


def labelled(source, **options):
    tables = TableOptions(**options)
    return [(t.path, t.label, t.line) for t in read_labelled(open_list("l", source, labelled=True, tables=tables))]


def paths(source, **options):
    tables = TableOptions(**options)
    return [t.path for t in read_unlabelled(open_list("l", source, labelled=False, tables=tables))]


def problem(read, source, **options):
    with pytest.raises((ListError, UsageError)) as error:
        read(source, **options)
    return str(error.value)


def test_a_folder_replaces_a_training_or_test_list(music):
    tracks = [(f"{music}/{name}", name.split("/")[0]) for name in NAMES]
    assert [track[:2] for track in labelled("music")] == [track[:2] for track in labelled(music)] == tracks
    assert paths("music/") == [path for path, _ in tracks]
    assert paths(music / "rock") == [path for path, _ in tracks[2:]]


def test_folders_below_the_classes_are_groups_across_classes(music, caplog):
    groups = open_list("l", music, labelled=True, groups=True).groups
    assert {os.path.relpath(path, music): group for path, group in groups.items()} == {
        "jazz/ann/a.wav": "ann", "jazz/bob/b.wav": "bob", "rock/bob/c.wav": "bob",
    }  # fmt: skip
    assert "1 track(s) without a folder below its class" in caplog.text and "[folds.no-group]" in caplog.text
    assert not open_list("l", music, labelled=True).groups


def test_an_audio_file_is_one_track_but_not_a_training_list(music):
    assert paths("music/rock/d.wav") == [f"{music}/rock/d.wav"]
    (music / "rock/d.wav").rename(music / "rock/d")
    assert paths("music/rock/d") == [f"{music}/rock/d"]  # by its content
    assert "[list.audio]" in problem(labelled, "music/rock/d")
    odd = os.fsdecode(b"music/rock/\xff.wav")
    os.rename("music/rock/d", odd)
    assert "[folds.unlistable-name]" in problem(paths, odd)
    (music / "empty.wav").touch()
    assert paths("music/empty.wav") == [f"{music}/empty.wav"]


@pytest.mark.parametrize("suffix", ["tsv", "csv", "xlsx", "parquet"])
def test_a_table_of_any_format_replaces_a_training_or_test_list(music, suffix):
    frame = pd.DataFrame({"label": ["jazz", "rock"], "path": [NAMES[0], NAMES[3]], "artist": ["Ann", ""]})
    table = music / f"table.{suffix}"
    if suffix == "xlsx":
        frame.to_excel(table, index=False)
    elif suffix == "parquet":
        frame.to_parquet(table)
    else:
        frame.to_csv(table, index=False, sep="," if suffix == "csv" else "\t")
    tracks = [(f"{music}/{NAMES[0]}", "jazz", 2), (f"{music}/{NAMES[3]}", "rock", 3)]
    assert labelled(table) == tracks and paths(table) == [path for path, *_ in tracks]
    source = open_list("l", table, labelled=True, tables=TableOptions(group_column="artist"))
    assert source.groups == {tracks[0][0]: "ann"}
    assert "[folds.columns]" in problem(paths, table, path_column="file") or suffix in ("tsv", "csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_may_have_any_usual_separator(music, separator):
    rows = [("path", "label"), (f'"{NAMES[0]}"', "jazz"), (NAMES[3], '"rock, hard; loud"')]
    text = "\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows)
    (music / "t.csv").write_text(text, encoding="utf-8", newline="")
    assert labelled(music / "t.csv") == [
        (f"{music}/{NAMES[0]}", "jazz", 2),
        (f"{music}/{NAMES[3]}", "rock, hard; loud", 3),
    ]
    assert paths(music / "t.csv") == [f"{music}/{NAMES[0]}", f"{music}/{NAMES[3]}"]


@pytest.mark.parametrize(("separator", "read"), [(",", labelled), (";", labelled), (",", paths), ("\t", paths)])
def test_a_table_without_column_names_is_one_error(music, separator, read):
    rows = "".join(f"{name}{separator}jazz\n" for name in NAMES)
    (music / "t.csv").write_text(rows)
    text = problem(read, music / "t.csv")
    assert text.endswith("above its first line [list.two-readings]") and "\n" not in text and "'jazz'" in text


def test_a_table_in_utf16_is_reported(music):
    (music / "t.csv").write_text("path,label\na.wav,jazz\n", encoding="utf-16")
    assert "UTF-16" in problem(labelled, music / "t.csv") and "UTF-16" in problem(paths, music / "t.csv")


def test_index_and_numbers_of_a_parquet_file_are_unchanged(music):
    frame = pd.DataFrame({"path": [*NAMES[:3]], "label": [1, None, 2], "artist": [b"Ann", None, b"Bob"]})
    frame = frame.dropna(subset="label")
    frame.set_index("path").to_parquet(music / "t.parquet")
    assert [label for _, label, _ in labelled(music / "t.parquet")] == ["1", "2"]
    source = open_list("l", music / "t.parquet", labelled=True, tables=TableOptions(group_column="artist"))
    assert sorted(source.groups.values()) == ["ann", "bob"]


def test_any_text_file_is_a_table_if_its_columns_are_named(music, tmp_path):
    (tmp_path / "songs").write_text(f"genre\tfile\njazz\t{NAMES[0]}\nrock\tgone.wav\n")
    named = {"path_column": "file", "label_column": "genre", "root": str(music)}
    tracks = [(f"{music}/{NAMES[0]}", "jazz", 2), (f"{music}/gone.wav", "rock", 3)]
    assert labelled("songs", **named) == tracks  # extraction reports a missing file, as for a list
    assert paths("songs", path_column="file", root=str(music)) == [path for path, *_ in tracks]
    assert "[folds.no-file]" in problem(labelled, "songs", **{**named, "root": str(tmp_path)})


def test_a_list_file_of_any_suffix_is_passed_on_unchanged(music, tmp_path):
    for name in ("list.txt", "list", "list.tsv", "list.csv", "list.wav"):
        (tmp_path / name).write_text("music/jazz/ann/a.wav\tjazz\nmusic/rock/d.wav\trock\n")
        assert open_list("l", name, labelled=True) == name
        (tmp_path / name).write_text("a, b.wav\nc.wav\n")
        assert open_list("l", name, labelled=False) == name
    (tmp_path / "list.tsv").write_text("a00123\trock\na00124\tjazz\n")
    (tmp_path / "a00123").touch()
    assert open_list("l", "list.tsv", labelled=True) == "list.tsv"


def test_only_the_list_reader_reads_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "list.tsv")
    writer = threading.Thread(target=(tmp_path / "list.tsv").write_text, args=["a.wav\nb.wav\n"])
    writer.start()
    assert paths(tmp_path / "list.tsv") == ["a.wav", "b.wav"]
    writer.join()


def test_a_file_that_may_be_a_table_or_a_list_is_an_error_that_names_both(music, tmp_path):
    (tmp_path / "t.tsv").write_text(f"path\tlabel\nmusic/{NAMES[0]}\tjazz\nmusic/{NAMES[3]}\trock\n")
    assert len(labelled("t.tsv")) == 2
    (tmp_path / "path").touch()
    text = problem(labelled, "t.tsv")
    assert all(part in text for part in ("a table", "a list whose first track is 'path'", "--path-column", ".txt"))
    assert "[list.two-readings]" in text and len(labelled("t.tsv", path_column="path")) == 2
    (tmp_path / "t.tsv").rename(tmp_path / "t.txt")
    assert open_list("l", "t.txt", labelled=True) == "t.txt"


@pytest.mark.parametrize("read", [labelled, paths])
def test_a_file_that_is_neither_table_nor_list_is_an_error_that_names_the_columns(music, tmp_path, read):
    (tmp_path / "t.csv").write_text(f"file,genre\nmusic/{NAMES[0]},jazz\n")
    text = problem(read, "t.csv")
    assert all(part in text for part in ("as a list", "as a table", "'file', 'genre'", "--path-column"))
    assert "[list.two-readings]" in text


def test_audio_beside_the_class_folders_is_an_error_that_names_both_readings(music):
    soundfile.write(music / "loose.wav", np.zeros(100), 22050)
    text = problem(labelled, "music")
    assert "loose.wav" in text and "if not," in text and text.endswith("[list.two-readings]")
    assert len(paths("music")) == 5


def test_a_link_to_itself_beside_the_folders_of_classes_is_left_out(music, caplog):
    (music / "self").symlink_to("self")
    assert len(labelled("music")) == 4 and len(paths("music")) == 4
    assert "folds.left-out" in caplog.text and "self" in caplog.text


def test_groups_that_a_source_cannot_have_are_refused(music, tmp_path):
    (tmp_path / "list.txt").write_text("a\tb\n")
    by_column = TableOptions(group_column="artist")
    for source in ("list.txt", music, [("a", "b")]):
        with pytest.raises(UsageError, match=r"\[usage\.groups\]"):
            open_list("l", source, labelled=True, tables=by_column)
        assert open_list("l", source if source != [("a", "b")] else ["a"], labelled=False, tables=by_column)
    with pytest.raises(UsageError, match=r"not a folder.*\[usage\.groups\]"):
        open_list("l", "list.txt", labelled=True, groups=True)
    assert groups_of_folders("folder", TableOptions()) and not groups_of_folders("list.txt", TableOptions())
    with pytest.raises(UsageError, match="one of the two"):
        groups_of_folders("folder", by_column)
    (tmp_path / "folder").touch()
    with pytest.raises(UsageError, match=r"\./folder"):
        groups_of_folders("folder", TableOptions())


def test_ten_thousand_classes_and_a_million_lines(tmp_path):
    for k in range(10_000):
        (tmp_path / "m" / str(k)).mkdir(parents=True)
        (tmp_path / "m" / str(k) / "a.wav").touch()
    assert len({label for _, label, _ in labelled(tmp_path / "m")}) == 10_000
    path = tmp_path / "list.tsv"
    path.write_text("/music/a.wav\trock\n" * 1_000_000)
    assert open_list("l", path, labelled=True) is path  # no line but the first is looked at
