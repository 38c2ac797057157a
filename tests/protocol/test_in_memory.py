"""Lists in the memory of a Python caller: the objects that are read, and the errors for all others."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mirex_submission.errors import ListError, UsageError
from mirex_submission.protocol.in_memory import InMemoryList, TrackTable, as_list
from mirex_submission.protocol.lists import Track, read_labelled, read_unlabelled

PATHS = ["a.wav", "b c.wav", "ä\x0b.wav"]
LABELS = ["rock", "jazz", "R&B"]
PAIRS = list(zip(PATHS, LABELS, strict=True))
FRAME = pd.DataFrame({"artist": ["x", "y", "z"], "label": LABELS, "path": PATHS})
OTHER_NAMES = FRAME.rename(columns={"path": "file", "label": "genre"})


def read(source, *, labelled):
    listed = as_list("tracks", source, labelled=labelled)
    return read_labelled(listed, for_evaluator=False) if labelled else read_unlabelled(listed)


@pytest.mark.parametrize(
    "source",
    [
        PATHS,
        tuple(PATHS),
        dict.fromkeys(PATHS).keys(),
        map(Path, PATHS),
        (path for path in PATHS),
        np.array(PATHS),
        np.array(PATHS, object),
        pd.Series(PATHS),
        pd.Series(PATHS, index=[7, 7, 7], dtype="string"),
        pd.Series(PATHS, dtype="category"),
        pd.Index(PATHS),
        FRAME,
        FRAME[["path"]],
        TrackTable(FRAME),
        TrackTable(OTHER_NAMES, path_column="file"),
        TrackTable(OTHER_NAMES, "file", "no such column"),
    ],
    ids=lambda source: type(source).__name__,
)
def test_paths(source):
    tracks = read(source, labelled=False)
    assert tracks == [Track(path) for path in PATHS] and [track.line for track in tracks] == [1, 2, 3]


@pytest.mark.parametrize(
    "source",
    [
        PAIRS,
        tuple(map(list, PAIRS)),
        zip(map(Path, PATHS), LABELS, strict=True),
        dict(PAIRS),
        np.array(PAIRS),
        np.array(PAIRS, object),
        pd.Series(LABELS, index=PATHS),
        pd.Series(LABELS, index=PATHS, dtype="category"),
        FRAME,
        FRAME.astype("string"),
        FRAME.set_index("artist"),
        TrackTable(OTHER_NAMES, "file", "genre"),
        TrackTable(OTHER_NAMES, path_column="file", label_column="genre"),
    ],
    ids=lambda source: type(source).__name__,
)
def test_paths_and_labels(source):
    assert read(source, labelled=True) == [Track(path, label) for path, label in PAIRS]


def test_the_label_is_the_last_field_of_a_path_with_a_tab():
    assert read([("a\tb.wav", "x"), ("c", "y")], labelled=True)[0] == Track("a\tb.wav", "x")


def test_labels_that_are_numbers_become_text():
    years = pd.DataFrame({"path": ["a", "b"], "label": [1960, 1970]})
    for source in (years, TrackTable(years), [("a", 1960), ("b", 1970)], {"a": 1960, "b": np.int64(1970)}):
        assert read(source, labelled=True) == [Track("a", "1960"), Track("b", "1970")]


@pytest.mark.parametrize("source", ["list.txt", Path("list.txt")])
def test_a_path_is_a_list_file(source, tmp_path, monkeypatch):
    assert as_list("tracks", source, labelled=True) is source
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("a.wav\nb.wav\n")
    assert read(source, labelled=False) == [Track("a.wav"), Track("b.wav")]


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_a_missing_label_is_a_problem_of_its_entry(missing):
    frame = pd.DataFrame({"path": ["a", "b", "c"], "label": ["x", missing, "y"]}, dtype=object)
    for source in (frame, [("a", "x"), ("b", missing), ("c", "y")], dict(frame.itertuples(index=False, name=None))):
        with pytest.raises(ListError) as caught:
            read(source, labelled=True)
        assert str(caught.value).startswith("<tracks>:2: ") and str(caught.value).endswith("[list.no-label]")


@pytest.mark.parametrize(
    ("labelled", "source", "codes"),
    [
        (
            False,
            ["a", 3, None, b"c", float("nan")],
            ["2: list.entry", "3: list.entry", "4: list.entry", "5: list.entry"],
        ),
        (False, ["a", "b\nc", "d\r"], ["2: list.line-end", "3: list.line-end"]),
        (False, ["a", ("b", "x")], ["2: list.label"]),
        (False, ["a", ""], ["2: list.no-path"]),
        (False, ["a", "\udcff"], ["2: list.not-utf8"]),
        (False, ["a", "b\0"], ["2: list.nul"]),
        (True, [("a", "x"), "b", ("c", "y")], ["2: list.no-tab"]),
        (True, [("a", "x"), ("b",), ("c", "y")], ["2: list.no-tab"]),
        (True, [("a", "x"), ("b", "y", "z"), (None, "y")], ["2: list.entry", "3: list.entry"]),
        (True, [("a", "x"), ("b", "y\tz"), ("c", "y\n")], ["2: list.line-end", "3: list.line-end"]),
        (True, [("a", "x"), ("b", "y"), ("a", "y")], ["3: list.two-labels"]),
        (True, {"a": "x", "b": "", "c": "y"}, ["2: list.no-label"]),
    ],
)
def test_all_entries_that_a_list_cannot_hold_are_reported(labelled, source, codes):
    with pytest.raises(ListError) as caught:
        read(source, labelled=labelled)
    lines = str(caught.value).splitlines()
    assert [
        line.removeprefix("<tracks>:").partition(":")[0] + ": " + line.split("[")[-1][:-1] for line in lines
    ] == codes


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("source", [[], (), np.array([]), pd.Series([], dtype=object), FRAME[:0]], ids=type)
def test_an_empty_list_is_a_list_error(source, labelled):
    with pytest.raises(ListError) as caught:
        read(source, labelled=labelled)
    assert caught.value.code == "list.no-entry" and str(caught.value).startswith("<tracks>: ")


@pytest.mark.parametrize(
    ("labelled", "source"),
    [
        (False, 3), (False, None), (False, b"a.wav"), (False, {"a.wav": "rock"}), (False, object()), (False, 1.5),
        (True, 3), (True, None), (True, b"a.wav"), (True, True),
    ],
)  # fmt: skip
def test_an_unsupported_type_is_a_usage_error_with_its_name_and_an_example(labelled, source):
    with pytest.raises(UsageError) as caught:
        as_list("train_list" if labelled else "test_list", source, labelled=labelled)
    text = str(caught.value)
    assert caught.value.code == "usage.list-type" and caught.value.exit_status == 2
    assert text.startswith("train_list: " if labelled else "test_list: ") and type(source).__name__ in text
    assert ("[('a.wav', 'rock'), ('b.wav', 'jazz')]" if labelled else "['a.wav', 'b.wav']") in text


@pytest.mark.parametrize(
    ("labelled", "source", "column"),
    [
        (False, OTHER_NAMES, "'path'"),
        (True, FRAME.rename(columns={"label": "genre"}), "'label'"),
        (True, TrackTable(OTHER_NAMES, "file"), "'label'"),
        (False, TrackTable(FRAME, "file"), "'file'"),
    ],
)
def test_a_missing_column_is_a_usage_error_that_shows_how_to_name_it(labelled, source, column):
    with pytest.raises(UsageError) as caught:
        as_list("tracks", source, labelled=labelled)
    assert caught.value.code == "usage.table-column"
    assert column in str(caught.value) and "TrackTable(" in str(caught.value) and "'artist'" in str(caught.value)


@pytest.mark.parametrize("table", [3, None, [("a", "x")], "table.csv"], ids=repr)
def test_a_track_table_without_a_data_frame_is_a_usage_error(table):
    with pytest.raises(UsageError) as caught:
        as_list("tracks", TrackTable(table), labelled=True)
    assert caught.value.code == "usage.list-type"


def test_the_path_of_a_list_in_memory_is_the_name_of_its_argument():
    listed = as_list("tracks", ["a"], labelled=False)
    assert isinstance(listed, InMemoryList)
    assert os.fspath(listed) == str(listed) == "<tracks>"
