"""Lists in a format that is not MIREX's: one problem for each cause, with the first line that has it."""

import gzip
import os
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

from mirex_submission.errors import ListError
from mirex_submission.protocol.lists import read_labelled, read_paths
from mirex_submission.protocol.misread import misreadings

NAMES = [f"{label}{k}.wav" for k in range(3) for label in ("rock", "jazz")]


@pytest.fixture
def folder(tmp_path):
    """A folder with empty audio files, which no test reads."""
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def causes(read, path):
    """Return the line and the code in brackets of each problem."""
    with pytest.raises(ListError) as raised:
        read(path)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [(int(line.removeprefix(f"{path}:").partition(":")[0]), line.rpartition(" ")[2]) for line in lines]


def written(folder, lines, *, labelled):
    path = folder / "list.txt"
    rows = [f"{line}\t{name[:4]}" if labelled else line for line, name in zip(lines, NAMES, strict=True)]
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


SPELLINGS = {
    "list.quotes": lambda path: f'"{path}"',
    "list.blanks": lambda path: f" {path} ",
    "list.backslash": lambda path: path[:1] + path[1:].replace("/", "\\"),
    "list.columns": lambda path: f"7\t{path}",
    "list.mark": lambda path: f"\ufeff{path}",
}


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("code", SPELLINGS)
def test_a_spelling_of_all_paths_that_names_no_file_is_one_problem(folder, code, labelled):
    spelled = [SPELLINGS[code](f"{folder}/{name}") for name in NAMES]
    if code == "list.mark":  # a mark before the first line is allowed
        spelled[0] = f"{folder}/{NAMES[0]}"
    path = written(folder, spelled, labelled=labelled)
    if code == "list.columns" and not labelled:  # without labels, each line with a tab is a problem
        assert {c for _, c in causes(read_paths, path)} <= {"[list.label]", "[list.columns]"}
        return
    assert causes(read_labelled if labelled else read_paths, path) == [(2 if code == "list.mark" else 1, f"[{code}]")]


@pytest.mark.parametrize("separator", [",", ";"])
def test_columns_that_are_not_separated_by_a_tab_are_a_problem(folder, separator):
    path = written(folder, [f"{folder}/{name}{separator}rock" for name in NAMES], labelled=False)
    assert causes(read_paths, path) == [(1, "[list.columns]")]


@pytest.mark.parametrize("header", [[], ["path{}label"]])
@pytest.mark.parametrize("columns", ["{path}{sign}rock", "7{sign}{path}{sign}rock", "'{path}'{sign} rock"])
@pytest.mark.parametrize(("sign", "name"), [(",", "commas"), (";", "semicolons"), ("    ", "blanks")])
def test_a_labelled_list_without_a_tab_is_one_problem_that_names_the_separator(folder, sign, name, columns, header):
    path = folder / "list.txt"
    lines = [columns.format(path=folder / name, sign=sign) for name in NAMES]
    path.write_text("\n".join([*(first.format(sign) for first in header), *lines]))
    with pytest.raises(ListError, match=rf"^{path}:1: .*separated by {name}: .*\[list\.no-tab\]$"):
        read_labelled(path)


def test_many_long_lines_without_a_tab_do_not_fill_the_memory(tmp_path):
    with open(tmp_path / "list.txt", "w") as f:
        f.writelines("x" * 60_000 + "\n" for _ in range(400))
    tracemalloc.start()
    with pytest.raises(ListError, match=r"also in 399 more lines.*\[list\.no-tab\]$"):
        read_labelled(tmp_path / "list.txt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_third_column_is_a_problem(folder):
    path = written(folder, [f"{folder}/{name}\trock" for name in NAMES], labelled=True)
    assert causes(read_labelled, path) == [(1, "[list.columns]")]


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("header", ["path", "file name", "audio"])
def test_a_header_is_a_problem(folder, header, labelled):
    path = written(folder, [f"{folder}/{name}" for name in NAMES], labelled=labelled)
    path.write_text((f"{header}\tlabel\n" if labelled else f"{header}\n") + path.read_text())
    assert causes(read_labelled if labelled else read_paths, path) == [(1, "[list.header]")]


@pytest.mark.parametrize("labelled", [False, True])
def test_relative_paths_of_another_folder_are_one_problem(folder, tmp_path_factory, monkeypatch, labelled):
    path = written(folder, NAMES, labelled=labelled)
    read = read_labelled if labelled else read_paths
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert causes(read, path) == [(1, "[list.relative]")]
    monkeypatch.chdir(folder)
    assert len(read(path)) == len(NAMES)


@pytest.mark.parametrize("name", ['"a".wav', " a.wav", "a\\b.wav", "a,b.wav", "a\tb.wav", "\ufeffa.wav", "path", "~a"])
def test_a_file_that_has_an_odd_name_is_a_track(folder, name):
    (folder / name).touch()
    path = folder / "list.txt"
    path.write_text(f"{folder}/b.wav\n{folder}/{name}\n", encoding="utf-8")
    assert read_paths(path) == [f"{folder}/b.wav", f"{folder}/{name}"]


def test_missing_files_are_not_a_problem_of_the_list(folder):
    path = written(folder, [f'/none/"{name}"' for name in NAMES], labelled=False)
    assert len(read_paths(path)) == len(NAMES)


@pytest.mark.parametrize(
    "head", [b"RIFF\x24\0\0\0WAVE", b"OggS\0\2", b"fLaC\0\0\0\x22", b"ID3\3\0\0", b"\xff\xfb\x90\0"]
)
@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_an_audio_file_is_not_a_list(tmp_path, read, head):
    (tmp_path / "a.wav").write_bytes(head + bytes(range(256)) * 20)
    with pytest.raises(ListError) as raised:
        read(tmp_path / "a.wav")
    assert raised.value.code == "list.audio" and "\n" not in str(raised.value)


LABELLED = "/music/a.wav\tjazz\n/music/b.wav\trock\n"
OTHER_FILES = {
    "UTF-16": LABELLED.encode("utf-16"),
    "UTF-16 without a mark": LABELLED.encode("utf-16-le"),
    "UTF-16, big-endian": LABELLED.encode("utf-16-be"),
    "gzip": gzip.compress(LABELLED.encode()),
    "ZIP": b"PK\3\4\x14\0\0\0" + bytes(100),
    "JSON": b'[{"path": "/music/a.wav", "label": "jazz"}]\n',
    "JSON over lines": b'[\n {\n  "path": "/music/a.wav"\n }\n]\n',
    "XML": b'<?xml version="1.0"?>\n<track path="/music/a.wav"/>\n',
    "HTML": b"<!DOCTYPE html>\n<html></html>\n",
    "Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
}


@pytest.mark.parametrize("name", OTHER_FILES)
@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_the_type_of_a_file_that_is_not_a_list_is_reported_in_one_line(tmp_path, read, name):
    path = tmp_path / "list.txt"
    path.write_bytes(OTHER_FILES[name])
    with pytest.raises(ListError) as raised:
        read(path)
    text = str(raised.value)
    assert raised.value.code == "list.file-type" and "\n" not in text
    assert text.startswith(f"{path}:1: not a list, but ") and name.partition(" ")[0].strip(",") in text


@pytest.mark.parametrize("start", ["MZ", "MAC demo", "FLV", "TTA1", "Rar!", "BZh", "ADIF", "[live] x", "{a}"])
def test_a_path_may_begin_with_the_signature_of_a_file_type(folder, start, monkeypatch):
    (folder / start).mkdir()
    (folder / start / "a.wav").touch()
    (folder / "list.txt").write_text(f"{start}/a.wav\n")
    monkeypatch.chdir(folder)
    assert read_paths("list.txt") == [f"{start}/a.wav"]


@pytest.mark.parametrize(
    ("swapped", "others"),
    [
        ([1], ""),
        ([4], ""),
        ([2, 5], ", and in 1 more lines (5)"),
        ([2, 3, 5, 6], ", and in 3 more lines (3, 5, 6)"),
        (range(1, 7), ", and in 5 more lines (2, 3, 4, ...)"),
    ],
)
def test_swapped_columns_are_one_problem_wherever_they_are(folder, swapped, others):
    rows = [(f"{folder}/{name}", name[:4]) for name in NAMES]
    path = folder / "list.txt"
    path.write_text("".join("\t".join(row[::-1] if k in swapped else row) + "\n" for k, row in enumerate(rows, 1)))
    assert causes(read_labelled, path) == [(swapped[0], "[list.swapped]")]
    with pytest.raises(ListError, match=re.escape(f"the columns are swapped{others}: write path<TAB>label")):
        read_labelled(path)


def test_swapped_columns_are_seen_beside_folders_named_as_the_classes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "rock").mkdir()
    path = folder / "list.txt"
    path.write_text(f"rock\t{folder}/{NAMES[0]}\n{folder}/{NAMES[1]}\tjazz\n")
    assert causes(read_labelled, path) == [(1, "[list.swapped]")]
    path.write_text(f"{folder}/{NAMES[0]}\trock\n{folder}/{NAMES[1]}\tjazz\n")
    assert len(read_labelled(path)) == 2


@pytest.mark.parametrize("start", ["~", "$MUSIC", "${MUSIC}", "$HOME"])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_path_that_only_a_shell_knows_is_one_problem(folder, monkeypatch, start, labelled):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("MUSIC", str(folder))
    path = written(folder, [f"{start}/{name}" for name in NAMES], labelled=labelled)
    read = read_labelled if labelled else read_paths
    assert causes(read, path) == [(1, "[list.home]")]
    with pytest.raises(ListError, match=re.escape(f"no file '{start}/{NAMES[0]}'") + ".*in 5 more lines: write full"):
        read(path)


def test_a_path_may_begin_as_a_variable(folder, monkeypatch):
    monkeypatch.setenv("MUSIC", "/elsewhere")
    (folder / "$MUSIC").mkdir()
    (folder / "$MUSIC/a.wav").touch()
    (folder / "list.txt").write_text("$MUSIC/a.wav\n$UNKNOWN/b.wav\n")
    monkeypatch.chdir(folder)
    assert len(read_paths("list.txt")) == 2


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("root", ["file://", "https://example.org", "C:\\music", "d:/music", "\\\\server\\share"])
def test_urls_and_windows_paths_are_one_problem(folder, root, labelled):
    path = written(folder, [f"{root}{folder}/{name}" for name in NAMES], labelled=labelled)
    assert causes(read_labelled if labelled else read_paths, path) == [(1, "[list.foreign-path]")]


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_an_endless_device_is_not_a_list(device):
    code = f"from mirex_submission.protocol.lists import read_paths\nread_paths({device!r})"
    memory = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
    run = subprocess.run([sys.executable, "-c", memory + code], capture_output=True, text=True, timeout=60)
    assert "ListError" in run.stderr and "MemoryError" not in run.stderr and len(run.stderr) < 1_000_000


def test_a_wrong_line_of_megabytes_is_shortened_in_the_message(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a" * 60_000 + "\n" + "b" * 10_000_000 + "\n")
    with pytest.raises(ListError) as raised:
        read_labelled(path)
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("path", ["/" + "../" * 300_000 + "a.wav", "a" * 5000])
def test_a_path_that_is_too_long_for_any_file_is_a_problem(tmp_path, path):
    (tmp_path / "list.txt").write_text(f"{path}\n")
    with pytest.raises(ListError):
        read_paths(tmp_path / "list.txt")


def test_a_label_in_two_unicode_forms_is_one_class_in_the_form_of_the_first_line(tmp_path, monkeypatch):
    forms = [unicodedata.normalize(form, "Canción") for form in ("NFD", "NFC")]
    path, warnings = tmp_path / "list.txt", []
    path.write_text("".join(f"/a{k}.wav\t{forms[k % 2]}\n/b{k}.wav\trock\n" for k in range(4)), encoding="utf-8")
    tracks = read_labelled(path, warn=warnings.append)
    assert {track.label for track in tracks} == {forms[0], "rock"}
    assert os.path.basename(path) in warnings[0] and "line 3" in warnings[0] and "[list.unicode-label]" in warnings[0]


@pytest.mark.parametrize("line", ["# my list", "#EXTM3U", "path", "audio/file", "Track.path", "<?xml version='1.0'?>"])
@pytest.mark.parametrize("where", [0, 1, 3])
def test_comments_and_column_names_are_a_problem_in_any_line(tmp_path, line, where):
    paths = [str(tmp_path / f"{k}.wav") for k in range(3)]
    for path in paths:
        Path(path).touch()
    lines = [*paths[:where], line, *paths[where:]]
    (misread,) = misreadings(tmp_path / "list.txt", list(enumerate(lines, start=1)))
    assert (misread.line, misread.code) == (where + 1, "list.header")
    assert not misreadings(tmp_path / "list.txt", list(enumerate(paths, start=1)))


@pytest.mark.parametrize(
    "start", ["[live] a long name of an album, 1999", "<a> a long name of an album, 1999", "{a long name}"]
)
def test_a_long_path_in_brackets_is_a_path(folder, start, monkeypatch):
    (folder / start).mkdir()
    (folder / start / "a.wav").touch()
    (folder / "list.txt").write_text(f"{start}/a.wav\n")
    monkeypatch.chdir(folder)
    assert read_paths("list.txt") == [f"{start}/a.wav"]


@pytest.mark.parametrize("text", ['\ufeff{"a": 1}\n', "\n\n <html>\n", "  [\n  {}\n]\n", "<a>\n<b/>\n</a>\n"])
def test_markup_after_a_byte_order_mark_or_blanks_is_not_a_list(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    assert causes(read_paths, tmp_path / "list.txt") == [(1, "[list.file-type]")]
