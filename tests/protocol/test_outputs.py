"""Outputs: written completely, read as the organisers' evaluator does, with all problems on which it fails."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirex_submission.errors import ListError, StorageError
from mirex_submission.protocol.lists import Track, read_labelled
from mirex_submission.protocol.outputs import (
    NO_PREDICTION,
    Kind,
    TestList,
    check_names,
    class_key,
    class_names,
    class_numbers,
    read_output,
    write_predictions,
    write_probabilities,
)

PATHS = ["/data/one.wav", "/data/two.wav", "/my music/three.wav"]
CLASSES = {"blues": 0, "hiphop": 1, "rb": 2}


@pytest.fixture
def read(tmp_path):
    """Read an output from text or bytes: return its classes, and (line, kind) of each problem."""

    def run(text, paths=PATHS):
        output = tmp_path / "output.txt"
        output.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        predicted, findings = read_output(output, TestList(paths), CLASSES)
        return predicted.tolist(), [(f.where.removeprefix(str(output)), f.kind) for f in findings]

    return run


def test_labels_match_after_cleaning_and_tracks_by_name_in_any_folder_case_and_order(read):
    text = "/tmp/TWO.mp3\tHIP-HOP\none.22k.wav\tBlues\n/data/three.wav\tR&B\n"
    assert read(text) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    "line", ["/data/one.wav blues", "/data/one.wav\tblues\t0.97", "  /data/one.wav \t blues extra"]
)
def test_a_line_without_a_tab_before_its_label_is_split_as_by_the_evaluator(read, line):
    assert read(f"{line}\n", PATHS[:1]) == ([0], [])


def test_a_blank_in_path_or_label_is_reported_and_the_whole_line_is_read(read):
    predicted, findings = read("/my music/three.wav\tblues\n/data/one.wav\thip hop\n/data/two.wav\tblues\n")
    assert predicted == [1, 0, 0]
    assert findings == [(":1", Kind.CUT_LINE), (":2", Kind.CUT_LINE)]


@pytest.mark.parametrize(
    ("line", "kind", "predicted"),
    [
        ("/data/one.wav", Kind.NO_LABEL, [NO_PREDICTION]),
        ("/data/one.wav\t", Kind.NO_LABEL, [NO_PREDICTION]),
        ("/data/one.wav\tpolka", Kind.UNKNOWN_LABEL, [NO_PREDICTION]),
        ("/data/other.wav\tblues", Kind.UNKNOWN_TRACK, [NO_PREDICTION]),
    ],
)
def test_a_line_without_a_known_track_and_label_is_reported_and_left_out(read, line, kind, predicted):
    outcome = read(f"\n{line}\n", PATHS[:1])
    missing = [] if kind is Kind.UNKNOWN_LABEL else [("", Kind.MISSING_TRACK)]
    assert outcome == (predicted, [(":2", kind), *missing])


def test_the_last_of_several_lines_for_one_track_counts(read):
    text = "/data/one.wav\tblues\n/data/one.wav\trb\n/elsewhere/one.au\thiphop\n"
    assert read(text, PATHS[:1]) == ([1], [(":2", Kind.REPEATED_TRACK), (":3", Kind.REPEATED_TRACK)])


@pytest.mark.parametrize("text", ["", "\n  \n", b"\xef\xbb\xbf"])
def test_an_empty_output_is_one_problem(read, text):
    assert read(text) == ([NO_PREDICTION] * 3, [("", Kind.EMPTY)])


def test_bytes_that_are_not_utf8_are_read_as_by_java(read):
    assert read(b"/data/one.wav\tbl\xe9ues\n", PATHS[:1]) == ([0], [])
    assert read(b"/data/on\xe9.wav\tblues\n", PATHS[:1])[1][0] == (":1", Kind.UNKNOWN_TRACK)


@pytest.mark.parametrize(
    "line",
    [
        "/data/one.wav rock\trock",  # both ways of reading agree
        "/data/one rb\tpolka",
        "/data/one.wav blues\tpolka",
        "/data/one.wav  hip-hop live\tsomething else",
    ],
)
def test_a_path_whose_second_word_names_a_class_is_reported(read, line):
    assert read(line.replace("rock", "rb"), PATHS[:1])[1] == [(":1", Kind.CUT_LINE)]


@pytest.mark.parametrize("blank", ["\t", " \t ", "\t\t", "\x0b\t", " "])
def test_a_line_of_white_space_is_skipped(read, blank):
    assert read(f"{blank}\n/data/one.wav\tblues\n{blank}\n{blank}", PATHS[:1]) == ([0], [])


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("start", "marked", "findings"),
    [
        (MARK + b"one.wav\t", False, [(":1", Kind.BYTE_ORDER_MARK)]),
        (MARK + b"C:\\music\\one.wav ", False, [(":1", Kind.BYTE_ORDER_MARK)]),
        (MARK + b"/data/one.wav\t", False, []),
        (MARK + b"data/one.wav ", False, []),
        (MARK + b"one.wav\t", True, []),
        (b"one.wav\t", True, [(":1", Kind.BYTE_ORDER_MARK)]),
        (b"one.wav\t", False, []),
    ],
)
def test_a_byte_order_mark_before_a_file_name_without_a_folder_is_reported(tmp_path, start, marked, findings):
    output = tmp_path / "output.txt"
    output.write_bytes(start + b"blues\n")
    names = ["C:\\music\\one.wav"] if b"C:" in start else ["/data/one.wav"]
    predicted, problems = read_output(output, TestList(names, marked=marked), CLASSES)
    assert predicted.tolist() == [0]
    assert [(problem.where.removeprefix(str(output)), problem.kind) for problem in problems] == findings


COMPOSED, DECOMPOSED = "canci\u00f3n", "cancio\u0301n"


@pytest.mark.parametrize(("ours", "theirs"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("が", "か\u3099")])
def test_another_unicode_form_of_a_path_or_label_is_reported_and_counted(tmp_path, ours, theirs):
    output = tmp_path / "output.txt"
    output.write_text(f"/{theirs}.wav\t{ours}\n/b.wav\t{theirs}\n/c.wav\t{ours}\n")
    classes = class_numbers(class_names([Track("/x", "blues"), Track("/y", ours)]))
    number = sorted(["blues", class_key(ours)]).index(class_key(ours))
    predicted, findings = read_output(output, TestList([f"/{ours}.wav", "/b.wav", "/c.wav"]), classes)
    assert predicted.tolist() == [number] * 3
    assert [(f.where[-1], f.kind) for f in findings] == [("1", Kind.UNICODE_FORM), ("2", Kind.UNICODE_FORM)]


def test_a_label_without_its_accent_is_another_label(tmp_path):
    output = tmp_path / "output.txt"
    output.write_text(f"/b.wav\t{COMPOSED}\n")
    classes = class_numbers(class_names([Track("/x", "blues"), Track("/y", "cancion")]))
    assert [f.kind for f in read_output(output, TestList(["/b.wav"]), classes)[1]] == [Kind.UNKNOWN_LABEL]


def test_a_label_in_two_unicode_forms_in_the_truth_is_two_classes_as_for_the_evaluator():
    tracks = [Track("/one.wav", COMPOSED, line=1), Track("/two.wav", DECOMPOSED, line=2)]
    assert list(class_names(tracks)) == ["cancin", "cancion"]
    assert [(f.where, f.kind) for f in check_names(("t", track) for track in tracks)] == [("t:2", Kind.TWO_FORMS)]
    merged = [Track("/one.wav", "a\u03ac", line=1), Track("/two.wav", "a\u03b1\u0301", line=2)]
    assert [f.kind for f in check_names(("t", track) for track in merged)] == [Kind.SAME_LABEL]


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_an_output_that_cannot_be_read_at_all_is_an_error(tmp_path, name):
    with pytest.raises(ListError, match=re.escape(str(tmp_path))):
        read_output(tmp_path / name, TestList(PATHS), CLASSES)


def test_tracks_with_one_evaluators_name_are_distinguished_by_file_name_and_then_by_path():
    gtzan = TestList([f"/a/blues.{n:05}.wav" for n in range(3)])
    assert [gtzan.find(f"/elsewhere/blues.{n:05}.wav") for n in (2, 0, 7)] == [2, 0, None]
    albums = TestList(["/a/cd1/01.wav", "/a/cd2/01.wav", "/a/cd2/02.wav"])
    assert [albums.find(f"/a/{name}.wav") for name in ("cd2/01", "./cd1/01", "cd3/01", "cd3/02")] == [1, 0, None, 2]


def test_a_problem_names_its_line_and_ends_with_its_code(tmp_path):
    output = tmp_path / "output.txt"
    output.write_text("/data/one.wav\tpolka\n")
    [finding] = read_output(output, TestList(PATHS[:1]), CLASSES)[1]
    assert str(finding).startswith(f"{output}:1: ") and "'polka'" in str(finding)
    assert str(finding).endswith(" [output.unknown-label]")


def test_the_code_of_a_problem_is_made_from_the_name_of_its_kind():
    assert all(kind.code == f"output.{kind.name.lower().replace('_', '-')}" for kind in Kind)


def test_classes_are_in_the_order_of_the_evaluators_keys_and_spelled_as_first_seen():
    labels = ["R&B", "hip-hop", "Blues", "rb", "日本", "中国"]
    names = class_names(Track("/a", label) for label in labels)
    assert names == {"blues": "Blues", "hiphop": "hip-hop", "rb": "R&B", "中国": "中国", "日本": "日本"}
    assert list(names) == sorted(names)


def test_labels_without_ascii_letters_remain_different_classes():
    assert class_key("日本") != class_key("中国")
    assert class_key("R&B") == class_key("r b") == "rb"


def test_each_name_on_which_the_evaluator_fails_is_reported_once_with_its_line():
    tracks = [
        Track("/a/one.wav", "R&B", line=1),
        Track("/b c/two.wav", "rb", line=3),
        Track("/b/ONE.mp3", "hip hop", line=4),
        Track("/b/x", "日本", line=5),
        Track("/a/one.wav", "rb", line=9),
    ]
    places = [(finding.where, finding.kind) for finding in check_names(("list.txt", track) for track in tracks)]
    assert places == [
        ("list.txt:3", Kind.CUT_LINE),
        ("list.txt:3", Kind.SAME_LABEL),
        ("list.txt:4", Kind.SAME_NAME),
        ("list.txt:4", Kind.CUT_LINE),
        ("list.txt:5", Kind.SHORT_NAME),
        ("list.txt:5", Kind.NO_LETTERS),
    ]


def test_a_test_list_has_no_problems_of_labels():
    assert check_names([("test.txt", Track("/a/one.wav", line=1)), ("test.txt", Track("/a/two.wav", line=2))]) == []


LINES = st.lists(
    st.sampled_from(
        [
            "\t",
            "\n",
            " ",
            "/data/one.wav",
            "/data/two.wav",
            "one",
            "/x",
            "blues",
            "hip hop",
            "R&B",
            "\ufeff",
            "\x0b",
            "é",
        ]
    ),
    max_size=30,
).map("".join)


@given(LINES.map(str.encode) | st.binary())
@settings(deadline=None)
def test_any_bytes_give_a_class_or_a_problem_for_each_track(tmp_path_factory, data):
    output = tmp_path_factory.getbasetemp() / "any.txt"
    output.write_bytes(data)
    predicted, findings = read_output(output, TestList(PATHS), CLASSES)
    assert predicted.shape == (3,)
    assert set(predicted.tolist()) <= {NO_PREDICTION, 0, 1, 2}
    assert bool((predicted == NO_PREDICTION).any()) <= bool(findings)
    assert all(finding.where.startswith(os.fspath(output)) for finding in findings)


names = st.text(st.characters(categories=["Ll", "Nd"], include_characters="-_"), min_size=3, max_size=8)


@given(st.dictionaries(names, st.sampled_from(["Blues", "hip-hop", "R&B"]), min_size=1), st.randoms())
@settings(deadline=None)
def test_a_good_output_is_read_completely_in_any_order(tmp_path_factory, labels, random):
    output = tmp_path_factory.getbasetemp() / "sound.txt"
    lines = [f"/somewhere/{name}.wav\t{label}\n" for name, label in labels.items()]
    random.shuffle(lines)
    output.write_text("".join(lines), encoding="utf-8")
    predicted, findings = read_output(output, TestList([f"/data/{name}.mp3" for name in labels]), CLASSES)
    assert findings == []
    np.testing.assert_array_equal(predicted, [CLASSES[class_key(label)] for label in labels.values()])


# Writing.

TWO = [Track("/a/one.wav", "rock"), Track("/a/two.wav", "jazz")]


def test_predictions_are_written_in_order_and_missing_folders_are_made(tmp_path):
    output = tmp_path / "new" / "deep er" / "output.txt"
    write_predictions(output, [*TWO, TWO[0]])
    assert output.read_bytes() == b"/a/one.wav\trock\n/a/two.wav\tjazz\n/a/one.wav\trock\n"


@pytest.mark.parametrize(
    "track", [Track("/a", "x\ty"), Track("/a", "x\ny"), Track("/a\r", "x"), Track("/a"), Track("", "x")]
)
def test_a_path_or_label_that_an_output_cannot_hold_is_refused_and_the_old_output_remains(tmp_path, track):
    output = tmp_path / "output.txt"
    output.write_text("old")
    with pytest.raises(ListError, match=r"\[output\.unwritable\]"):
        write_predictions(output, [*TWO, track])
    assert output.read_text() == "old"
    assert os.listdir(tmp_path) == ["output.txt"]


def test_an_output_that_cannot_be_written_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_predictions(tmp_path, TWO)


def test_probabilities_are_a_csv_with_a_header(tmp_path):
    rows = [('/a "b",c.wav', "rock", [0.75, 0.25]), ("/d.wav", "R&B, soul", [0.1, 0.9])]
    write_probabilities(tmp_path / "p.csv", ["rock", "R&B, soul"], rows)
    assert (tmp_path / "p.csv").read_text(encoding="utf-8").split("\n") == [
        'path,label,rock,"R&B, soul"',
        '"/a ""b"",c.wav",rock,0.75,0.25',
        '/d.wav,"R&B, soul",0.1,0.9',
        "",
    ]


def text(forbidden):
    """Draw text that UTF-8 and a list can hold and that is not blank."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters=forbidden)
    return st.text(characters, min_size=1).filter(str.strip)


# A path that names no file and begins like a comment, or is the name of a column, is a problem of its own. So is a
# label that names a file.
@given(
    path=text("\0\r\n").filter(lambda path: path[0] not in "\ufeff#<").map("{}.".format),
    label=text("\t\r\n").filter(lambda label: not os.path.isfile(label)),
)
@settings(deadline=None)
def test_any_label_without_tab_or_newline_is_read_as_it_was_written(tmp_path_factory, path, label):
    output = tmp_path_factory.getbasetemp() / "round-trip.txt"
    write_predictions(output, [Track(path, label)])
    assert read_labelled(output, min_classes=1) == [Track(path, label)]
