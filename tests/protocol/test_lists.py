"""The lists of the protocol: what is read, every fault named at once, what is only warned of, what is written."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirex_submission.errors import ListError
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import (
    Track,
    numbered_lines,
    read_labelled,
    read_paths,
    read_unlabelled,
)

BOM = b"\xef\xbb\xbf"
TWO = [Track("/a/one.wav", "rock"), Track("/a/two.wav", "jazz")]


@pytest.fixture
def list_file(tmp_path):
    """Write bytes or text as a list; returns its path."""

    def write(data):
        path = tmp_path / "list.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
        return path

    return write


@pytest.fixture
def warnings(caplog, monkeypatch):
    """The warnings so far."""
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    caplog.set_level(logging.WARNING, "mirex_submission")
    return lambda: caplog.messages


def faults_of(read, path):
    """The faults that reading a list gives, without the list's name."""
    with pytest.raises(ListError, match=re.escape(str(path))) as caught:
        read(path)
    assert caught.value.exit_status == 3
    return [line.removeprefix(str(path)) for line in str(caught.value).split("\n")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("bom", [b"", BOM], ids=["plain", "BOM"])
@pytest.mark.parametrize("last_end", [True, False])
def test_utf8_with_or_without_bom_and_any_line_end(list_file, bom, end, last_end):
    lines = ["/müsik/ä 1.wav\tR&B", "/音楽/2.wav\tsoul"]
    path = list_file(bom + end.join(line.encode() for line in lines) + end * last_end)
    assert read_labelled(path) == [Track("/müsik/ä 1.wav", "R&B"), Track("/音楽/2.wav", "soul")]
    assert read_paths(list_file(bom + end.join([b"/a b.wav", b"/c.wav"]) + end * last_end)) == ["/a b.wav", "/c.wav"]


def test_blank_lines_are_skipped_and_still_counted(list_file):
    assert read_paths(list_file("\n/a.wav\n\n   \n/b.wav\n\n")) == ["/a.wav", "/b.wav"]
    assert faults_of(read_labelled, list_file("\n\n/a.wav\n"))[0].endswith("[list.no-tab]")


def test_an_entry_knows_its_line_and_is_equal_without_it(list_file, warnings):
    path = list_file("\n/a.wav\trock\n\n/b b.wav\tjazz\n")
    tracks = read_labelled(path, for_evaluator=False)
    assert [(track.path, track.line) for track in tracks] == [("/a.wav", 2), ("/b b.wav", 4)]
    assert tracks[0] == Track("/a.wav", "rock")
    assert warnings() == []
    path = list_file("\n/a.wav\n/b b.wav\n/a.wav\n")
    assert [(track.path, track.line) for track in read_unlabelled(path)] == [
        ("/a.wav", 2),
        ("/b b.wav", 3),
        ("/a.wav", 4),
    ]
    assert warnings() == []
    assert list(numbered_lines(list_file(b"\xff\r\n \n/b"))) == [(1, b"\xff"), (3, b"/b")]


def test_the_label_is_what_follows_the_last_tab(list_file):
    tracks = read_labelled(list_file("/a\tb.wav\trock\n/c.wav\tjazz\n"))
    assert tracks[0] == Track("/a\tb.wav", "rock")


def test_labels_and_paths_are_kept_as_spelled(list_file):
    spelled = [Track(" /x/./A.WAV", " Hip-Hop / R&B "), Track("/x//b.wav ", "hip-hop"), Track("/ω.wav", "Ünder\x0bx")]
    assert read_labelled(list_file("".join(f"{t.path}\t{t.label}\n" for t in spelled))) == spelled


def test_class_names_and_number_are_never_assumed(list_file):
    tracks = [Track(f"/a/track{k}.wav", f"class {k} ☃") for k in range(300)]
    assert read_labelled(list_file("".join(f"{t.path}\t{t.label}\n" for t in tracks))) == tracks


def test_a_test_list_keeps_order_and_repeated_paths(list_file, warnings):
    assert read_paths(list_file("/b.wav\n/a.wav\n/b.wav\n")) == ["/b.wav", "/a.wav", "/b.wav"]
    assert any("line 3 repeats line 1" in text and "[list.duplicate]" in text for text in warnings())


@pytest.mark.parametrize(
    ("line", "shown", "code"),
    [
        ("/a.wav rock", "'/a.wav rock'", "list.no-tab"),
        ("\trock", "", "list.no-path"),
        ("  \trock", "", "list.no-path"),
        ("/a.wav\t", "", "list.no-label"),
        ("/a.wav\t  ", "", "list.no-label"),
        (b"/a\xe9.wav\trock", "byte 0xe9 at column 3", "list.not-utf8"),
        ("/a\0.wav\trock", "NUL", "list.nul"),
        ("/one.wav\tjazz", "'/one.wav' is 'jazz' here and 'rock' in line 1", "list.two-labels"),
    ],
)
def test_each_problem_has_its_line_and_code(list_file, line, shown, code):
    line = line if isinstance(line, bytes) else line.encode()
    [fault] = faults_of(read_labelled, list_file(b"/one.wav\trock\n/two.wav\tjazz\n" + line + b"\n"))
    assert fault.startswith(":3: ") and shown in fault and fault.endswith(f" [{code}]")


def test_all_faults_of_a_list_are_reported_at_once_in_order(list_file):
    path = list_file(b"/a.wav\trock\nno tab\n\xff\t\xff\n\tx\n/b.wav\t\n/a.wav\tjazz\n/c.wav\tjazz\n")
    assert [fault.split(":")[1] for fault in faults_of(read_labelled, path)] == ["2", "3", "4", "5", "6"]


def test_of_very_many_faults_the_rest_is_counted(list_file):
    faults = faults_of(read_labelled, list_file("x\n" * (lists.MAX_PROBLEMS_SHOWN + 1234)))
    assert len(faults) == lists.MAX_PROBLEMS_SHOWN + 1
    assert "1,234 " in faults[-1]


@pytest.mark.parametrize("data", [b"", b"\n\n", BOM, b"  \r\n"])
@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_no_line_at_all_is_a_fault(list_file, read, data):
    assert "[list.no-entry]" in faults_of(read, list_file(data))[0]


@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_a_missing_list_and_a_folder_are_faults(tmp_path, read):
    assert "[list.unreadable]" in faults_of(read, tmp_path / "missing.txt")[0]
    assert "[list.folder]" in faults_of(read, tmp_path)[0]


def test_fewer_than_two_classes_is_a_fault(list_file):
    assert "[list.one-class]" in faults_of(read_labelled, list_file("/a.wav\trock\n/b.wav\trock\n"))[0]
    assert len(read_labelled(list_file("/a.wav\trock\n"), min_classes=1)) == 1


def test_one_file_spelled_two_ways_is_one_track(list_file, warnings):
    good = "/x/a.wav\trock\n/b.wav\tjazz\n"
    assert "[list.two-labels]" in faults_of(read_labelled, list_file(good + "/x/./y/../a.wav\tjazz\n"))[0]
    assert read_labelled(list_file(good + "/x//a.wav\trock\n")) == [Track("/x/a.wav", "rock"), Track("/b.wav", "jazz")]
    assert "line 3 repeats line 1" in warnings()[0]


def test_a_duplicate_line_of_a_training_list_is_a_warning_and_counts_once(list_file, warnings):
    tracks = read_labelled(list_file("/one.wav\trock\n/two.wav\tjazz\n" + "/one.wav\trock\n" * 5))
    assert tracks == [Track("/one.wav", "rock"), Track("/two.wav", "jazz")]
    [message] = warnings()
    assert "5 duplicate line(s): line 3 repeats line 1 (/one.wav), line 4" in message
    assert message.count("repeats") == 3


def test_a_labelled_line_in_a_test_list_is_a_fault_but_a_file_name_with_a_tab_is_none(list_file, tmp_path):
    [fault] = faults_of(read_paths, list_file("/a.wav\trock"))
    assert re.fullmatch(r":1: .*'rock'.*\[list\.label\]", fault)
    odd = tmp_path / "a\tb.wav"
    odd.touch()
    assert read_paths(list_file(f"{odd}\n")) == [str(odd)]


def test_each_kind_of_name_that_breaks_the_evaluator_is_one_warning_with_three_examples(list_file, warnings):
    names = [f"a b{k}" for k in range(5)] + [f"dup{k}.{n}" for k in range(4) for n in "xy"] + ["a", "b", "1", "2"]
    path = list_file("".join(f"/m/{name}\n" for name in names))
    assert read_paths(path, for_evaluator=False) == [f"/m/{name}" for name in names]
    assert warnings() == []
    read_paths(path)
    assert len(warnings()) == 3
    for expected in ("5 path(s) with white space", "4 track name(s)", "4 file name(s) shorter than 3 characters"):
        [message] = [message for message in warnings() if f"{path}: {expected}" in message]
        assert message.count("/m/") == (6 if "track name" in message else 3)
        assert ", ... [output." in message


def test_labels_that_the_evaluator_would_merge_split_or_lose_are_warnings(list_file, warnings):
    labels = ["R&B", "rb", "hip hop", "日本"]
    read_labelled(list_file("".join(f"/m/track{k}.wav\t{label}\n" for k, label in enumerate(labels))))
    assert [re.search(r": 1 (\w+)\(.*: (.*) \[", message).groups() for message in warnings()] == [
        ("label", "hip hop"),
        ("class", "'R&B' = 'rb'"),
        ("label", "日本"),
    ]


PIECES = st.sampled_from(
    [b"\t", b"\n", b"\r", b" ", b"\0", b"\x0c", b"/a.wav", b"/b.wav", b"rock", b"jazz", BOM, b"\xff"]
)


@given(data=st.binary() | st.lists(PIECES, max_size=30).map(b"".join))
@settings(deadline=None)
def test_arbitrary_bytes_give_a_list_or_a_list_error_and_nothing_else(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "arbitrary.txt"
    path.write_bytes(data)
    for read in (read_paths, read_labelled):
        try:
            entries = read(path)
        except ListError as error:
            faults = str(error).split("\n")
        else:
            assert entries
            assert read is read_paths or len({track.label for track in entries}) >= 2
            continue
        assert all(line.startswith(f"{path}:") for line in faults)
