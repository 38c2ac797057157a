"""Labelled tracks from a table, from folders and from mirdata's loaders."""

import os
import re
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.folds.sources import from_mirdata
from mirex_submission.protocol.groups import one_form
from mirex_submission.protocol.tables import read_table


@pytest.fixture
def files(tmp_path):
    """A function that makes empty files, as no audio is opened here."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return make


@pytest.fixture
def table(tmp_path, files):
    """A function that writes a table of the existing files a.wav to d.wav."""
    files("a.wav", "b.wav", "c.wav", "d.wav")

    def write(text):
        path = tmp_path / "table.tsv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def problems_of(error, path):
    """Return (line, code) of each line of a message."""
    lines = [line.removeprefix(f"{path}:") for line in str(error.value).splitlines()]
    return [(int(line.partition(":")[0]), line.rpartition(" ")[2].strip("[]")) for line in lines]


def rows(tracks):
    return [(os.path.basename(track.path), track.label, track.group) for track in tracks]


def test_columns_may_have_any_order_and_paths_become_absolute(table, tmp_path, monkeypatch):
    path = table(f"artist\tyear\tpath\tlabel\nBach\t1720\ta.wav\tbaroque\nWham!\t1984\t{tmp_path}/b.wav\tpop music\n")
    monkeypatch.chdir("/")
    tracks = read_table(path, group="artist")
    assert [track.path for track in tracks] == [f"{tmp_path}/a.wav", f"{tmp_path}/b.wav"]
    assert rows(tracks) == [("a.wav", "baroque", "bach"), ("b.wav", "pop music", "wham!")]


def test_paths_of_a_table_may_be_relative_to_another_folder(tmp_path, files):
    files("audio/a.wav", "lists/table.tsv")
    (tmp_path / "lists/table.tsv").write_text("path\tlabel\na.wav\trock\n")
    assert read_table(tmp_path / "lists/table.tsv", root=tmp_path / "audio")[0].path == f"{tmp_path}/audio/a.wav"


def test_without_a_group_column_each_track_is_its_own_group(table):
    tracks = read_table(table("path\tlabel\tartist\na.wav\trock\tX\nb.wav\tjazz\tX\n"))
    assert [track.group for track in tracks] == [track.path for track in tracks]


def test_groups_are_compared_by_their_letters_and_an_empty_one_gives_a_warning(table, caplog):
    text = (
        "path\tlabel\tartist\na.wav\trock\tThe  Beach Boys\nb.wav\tjazz\tthe beach boys \nc.wav\tpop\t\nd.wav\tpop\t \n"
    )
    tracks = read_table(table(text), group="artist")
    assert tracks[0].group == tracks[1].group == "the beach boys"
    assert [track.group for track in tracks[2:]] == [track.path for track in tracks[2:]]
    assert "2 track(s) without artist" in caplog.text and "[folds.no-group]" in caplog.text


def test_all_problems_of_a_table_are_reported_together_with_their_lines(table, tmp_path):
    text = (
        b"path\tlabel\tartist\na.wav\trock\tX\n\nb.wav\tjazz\tX\nc.wav\t \tX\n\tjazz\tX\na.wav\tjazz\tY\n"
        b"nowhere.wav\trock\tX\n\xff.wav\trock\tX\n./a.wav\trock\tX\na\0.wav\trock\tX\n"
    )
    path = table(text)
    with pytest.raises(ListError) as error:
        read_table(path, group="artist")
    assert problems_of(error, path) == [
        (5, "list.no-label"),
        (6, "list.no-path"),
        (7, "folds.repeated-track"),
        (8, "folds.no-file"),
        (9, "list.not-utf8"),
        (10, "folds.repeated-track"),
        (11, "list.nul"),
    ]


@pytest.mark.parametrize(
    ("header", "named"),
    [("file\tlabel", "'path'"), ("path\tlabel", "'artist'"), ("path\tpath\tlabel\tartist", "2 col")],
)
def test_a_missing_column_is_an_error_that_names_the_existing_columns(table, header, named):
    with pytest.raises(ListError, match=rf"table\.tsv:1: .*{named}.*\[folds\.columns\]"):
        read_table(table(f"{header}\na.wav\trock\n"), group="artist")


def test_a_table_whose_files_are_all_missing_is_one_problem(table):
    with pytest.raises(ListError, match=r"table\.tsv:2: .*--root.*\[folds\.no-file\]") as error:
        read_table(table("path\tlabel\nx/1.wav\trock\nx/2.wav\trock\nx/3.wav\tjazz\n"))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "path\tlabel\n"])
def test_a_table_without_tracks_is_an_error(table, text):
    with pytest.raises(ListError, match=r"table\.tsv"):
        read_table(table(text))


def test_an_unreadable_table_is_an_error(tmp_path):
    for name in ("none.tsv", "none.csv", "none.xlsx", "none.parquet"):
        with pytest.raises(ListError, match=r"\[list\.unreadable\]"):
            read_table(tmp_path / name)
    with pytest.raises(ListError, match=r"\[list\.folder\]"):
        read_table(tmp_path)


TRICKY = {
    "path": ["a.wav", "b.wav", "c.wav"],
    "label": ["NA", "None", "007"],
    "artist": ["nan", "", 'The "X", and Y'],
}


@pytest.mark.parametrize("suffix", ["tsv", "csv", "xlsx", "parquet"])
def test_cells_of_every_format_are_read_as_text(table, tmp_path, suffix):
    table("")
    path = tmp_path / f"other.{suffix}"
    frame = pd.DataFrame(TRICKY, dtype=object)
    if suffix == "tsv":
        path.write_text("\n".join("\t".join(row) for row in [TRICKY, *zip(*TRICKY.values(), strict=True)]))
    elif suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "xlsx":
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    tracks = read_table(path, group="artist")
    assert rows(tracks) == [
        ("a.wav", "NA", "nan"),
        ("b.wav", "None", f"{tmp_path}/b.wav"),
        ("c.wav", "007", 'the "x", and y'),
    ]


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet"])
def test_problems_of_other_formats_have_the_row(table, tmp_path, suffix):
    table("")
    path = tmp_path / f"other.{suffix}"
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["rock", None]}, dtype=object)
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "xlsx":
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False)
    else:
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    with pytest.raises(ListError) as error:
        read_table(path)
    assert problems_of(error, path) == [(3, "list.no-label")]


def test_damaged_tables_and_lines_with_too_many_cells_are_problems(table, tmp_path):
    path = table("path\tlabel\n\na.wav\trock\nb.wav\tjazz\tbop\n")
    with pytest.raises(ListError) as error:
        read_table(path)
    assert problems_of(error, path) == [(4, "folds.cells")]
    (tmp_path / "x.csv").write_text('path,label\n"a.wav,rock\n')
    with pytest.raises(ListError, match=r"x\.csv: .*\[folds\.cells\]"):
        read_table(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text('path,label\na.wav,"ro\nck"\n')
    with pytest.raises(ListError, match=r"y\.csv:2: .*\[folds\.unlistable-name\]"):
        read_table(tmp_path / "y.csv")
    for module, suffix in (("openpyxl", "xlsx"), ("pyarrow", "parquet")):
        pytest.importorskip(module)
        (tmp_path / f"z.{suffix}").write_text("no table")
        with pytest.raises(ListError, match=r"\[folds\.damaged-table\]"):
            read_table(tmp_path / f"z.{suffix}")


@pytest.mark.parametrize(("module", "suffix"), [("openpyxl", "xlsx"), ("pyarrow", "parquet")])
def test_without_the_package_of_a_format_the_extra_is_named(monkeypatch, tmp_path, module, suffix):
    monkeypatch.setitem(sys.modules, module, None)
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / f"a.{suffix}")
    with pytest.raises(UsageError, match=r"\[tables\].*\[folds\.table-package\]"):
        read_table(tmp_path / f"a.{suffix}")


class Loader:
    """A substitute for mirdata with two loaders, as in mirdata 1.0, and the tracks that a test gives."""

    def __init__(self, tracks):
        self.tracks = tracks

    def list_datasets(self):
        return ["gtzan_genre", "orchset"]

    def initialize(self, name, data_home):
        assert os.path.isabs(data_home)
        return self

    def load_tracks(self):
        if isinstance(self.tracks, Exception):
            raise self.tracks
        return {str(k): SimpleNamespace(**track) for k, track in enumerate(self.tracks)}


@pytest.fixture
def mirdata(monkeypatch):
    return lambda *tracks: monkeypatch.setitem(sys.modules, "mirdata", Loader(*tracks))


def test_a_loaders_tracks_have_a_genre_an_audio_file_and_any_attribute_as_group(mirdata, tmp_path, files, caplog):
    files("1.wav", "2.wav", "3.wav", "4.wav")
    audio = [f"{tmp_path}/{k}.wav" for k in range(1, 6)]
    mirdata(
        [
            {"audio_path": audio[0], "genre": "rock", "artist": "X"},
            {"audio_path": audio[1], "genre": ["jazz"], "artist": ["Y"]},
            {"audio_path": audio[2], "genre": ["jazz", "rock"], "artist": "Y"},
            {"audio_path": audio[3], "genre": None, "artist": "Y"},
            {"audio_path": audio[4], "genre": "rock", "artist": "Z"},
            {"audio_path": None, "genre": "rock", "artist": "Z"},
        ]
    )
    tracks = from_mirdata("gtzan_genre", tmp_path, group="artist")
    assert rows(tracks) == [("1.wav", "rock", "x"), ("2.wav", "jazz", "y")]
    assert "left out 4 of 6 tracks" in caplog.text


def test_a_loader_may_label_by_composer_and_have_several_mixes(mirdata, tmp_path, files):
    files("mono.wav", "stereo.wav")
    paths = {"audio_path_stereo": f"{tmp_path}/stereo.wav", "audio_path_mono": f"{tmp_path}/mono.wav"}
    mirdata([{**paths, "composer": "Haydn"}])
    assert rows(from_mirdata("orchset", tmp_path)) == [("mono.wav", "Haydn", f"{tmp_path}/mono.wav")]


def test_without_mirdata_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mirdata", None)
    with pytest.raises(UsageError, match=r"\[mirdata\].*\[folds\.no-mirdata\]"):
        from_mirdata("gtzan_genre", tmp_path)


def test_an_unknown_loader_or_group_is_a_usage_error_that_names_the_choice(mirdata, tmp_path):
    mirdata([{"audio_path": "x", "genre": "rock", "title": "t"}])
    with pytest.raises(UsageError, match=r"gtzan_genre, orchset.*\[folds\.mirdata-loader\]"):
        from_mirdata("gtzan", tmp_path)
    with pytest.raises(UsageError, match=r"audio_path, genre, title.*\[folds\.mirdata-group\]"):
        from_mirdata("gtzan_genre", tmp_path, group="artist")


@pytest.mark.parametrize(
    ("tracks", "code"),
    [
        (FileNotFoundError("This dataset's index must be downloaded."), "folds.mirdata-data"),
        ([{"audio_path": "x", "tempo": 120}], "folds.mirdata-label"),
        ([], "folds.mirdata-label"),
        ([{"audio_path": "x", "genre": "rock"}], "folds.no-audio"),
    ],
)
def test_a_loader_without_usable_tracks_is_an_error(mirdata, tmp_path, tracks, code):
    mirdata(tracks)
    with pytest.raises(ListError, match=re.escape(f"[{code}]")):
        from_mirdata("gtzan_genre", tmp_path)


COMPOSED, DECOMPOSED = "Mot\u00f6rhead", "Moto\u0308rhead"


def test_an_artist_in_two_unicode_forms_is_one_group_with_a_warning(table, caplog):
    text = (
        f"path\tlabel\tartist\na.wav\trock\t{COMPOSED}\nb.wav\tjazz\t{DECOMPOSED.upper()}\nc.wav\tjazz\t{DECOMPOSED}\n"
    )
    tracks = read_table(table(text), group="artist")
    assert {track.group for track in tracks} == {COMPOSED.lower()}
    assert "artist: 1 name(s)" in caplog.text and "[folds.unicode-forms]" in caplog.text


def test_an_attribute_of_mirdata_in_two_unicode_forms_is_one_group(mirdata, tmp_path, files, caplog):
    files("1.wav", "2.wav")
    artists = (COMPOSED, DECOMPOSED)
    mirdata([{"audio_path": f"{tmp_path}/{k + 1}.wav", "genre": "rock", "artist": artists[k]} for k in range(2)])
    assert len({track.group for track in from_mirdata("gtzan_genre", tmp_path, group="artist")}) == 1
    assert "[folds.unicode-forms]" in caplog.text


@pytest.mark.parametrize(("on_disk", "listed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_a_file_whose_name_has_another_unicode_form_is_used_with_a_warning(
    table, files, tmp_path, caplog, on_disk, listed
):
    files(f"{on_disk}/1.wav")
    assert read_table(table(f"path\tlabel\n{listed}/1.wav\trock\n"))[0].path == f"{tmp_path}/{on_disk}/1.wav"
    assert "another Unicode form" in caplog.text


def test_a_label_in_two_unicode_forms_becomes_one_and_other_labels_stay_unchanged(table, caplog):
    text = f"path\tlabel\na.wav\t{COMPOSED}\nb.wav\t{DECOMPOSED}\nc.wav\tcafe\u0301\n"
    tracks = one_form(read_table(table(text)))
    assert [track.label for track in tracks] == [COMPOSED, COMPOSED, "cafe\u0301"]
    assert caplog.text.count("[folds.unicode-forms]") == 1 and COMPOSED in caplog.text


def test_names_in_one_unicode_form_give_no_warning(table, caplog):
    text = f"path\tlabel\tartist\na.wav\tcafe\u0301\t{DECOMPOSED}\nb.wav\tcafe\u0301\t{DECOMPOSED}\n"
    assert len(one_form(read_table(table(text), group="artist"))) == 2 and not caplog.text
