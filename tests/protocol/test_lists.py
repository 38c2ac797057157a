"""The lists of the protocol: entries, problems and warnings of every line."""

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
    """Write bytes or text as a list and return its path."""

    def write(data):
        path = tmp_path / "list.txt"
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
        return path

    return write


@pytest.fixture
def warnings(caplog, monkeypatch):
    """Return the warnings logged so far, but those of classes with a single track, which short lists have."""
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    caplog.set_level(logging.WARNING, "mirex_submission")
    return lambda: [message for message in caplog.messages if "[list.single-track]" not in message]


def problems_of(read, path):
    """Return the problems of a list as (line number or None, code)."""
    with pytest.raises(ListError, match=re.escape(str(path))) as caught:
        read(path)
    assert caught.value.exit_status == 3
    lines = [
        re.fullmatch(rf"{re.escape(str(path))}(?::(\d+))?: .*: .* \[([a-z.0-9-]+)\]", line, re.DOTALL)
        for line in str(caught.value).split("\n")
    ]
    return [(line[1] and int(line[1]), line[2]) for line in lines]


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
    assert problems_of(read_labelled, list_file("\n\n/a.wav\n")) == [(3, "list.no-tab")]


def test_an_entry_has_its_line_number_which_equality_ignores(list_file, warnings):
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


def test_any_names_and_number_of_classes_are_read(list_file):
    tracks = [Track(f"/a/track{k}.wav", f"class {k} ☃") for k in range(300)]
    assert read_labelled(list_file("".join(f"{t.path}\t{t.label}\n" for t in tracks))) == tracks


def test_a_test_list_keeps_order_and_repeated_paths(list_file, warnings):
    assert read_paths(list_file("/b.wav\n/a.wav\n/b.wav\n")) == ["/b.wav", "/a.wav", "/b.wav"]
    [message] = [message for message in warnings() if message.endswith("[list.duplicate]")]
    assert "line 3 repeats line 1" in message


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"/a.wav rock", "list.no-tab"),
        (b"\trock", "list.no-path"),
        (b"  \trock", "list.no-path"),
        (b"/a.wav\t", "list.no-label"),
        (b"/a.wav\t  ", "list.no-label"),
        (b"/a\xe9.wav\trock", "list.not-utf8"),
        (b"/a\0.wav\trock", "list.nul"),
        (b"/one.wav\tjazz", "list.two-labels"),
    ],
)
def test_each_problem_has_file_line_and_code(list_file, line, code):
    assert problems_of(read_labelled, list_file(b"/one.wav\trock\n/two.wav\tjazz\n" + line + b"\n")) == [(3, code)]


def test_all_problems_of_a_list_are_reported_at_once_in_order(list_file):
    path = list_file(b"/a.wav\trock\nno tab\n\xff\t\xff\n\tx\n/b.wav\t\n/a.wav\tjazz\n/c.wav\tjazz\n")
    assert [number for number, _ in problems_of(read_labelled, path)] == [2, 3, 4, 5, 6]


def test_very_many_problems_are_counted_instead_of_listed(list_file):
    path = list_file("x\t\n" * (lists.MAX_PROBLEMS_SHOWN + 1234))
    with pytest.raises(ListError) as caught:
        read_labelled(path)
    *shown, last = str(caught.value).splitlines()
    assert len(shown) == lists.MAX_PROBLEMS_SHOWN and last.startswith(f"{path}: ")
    assert "1,234" in last and last.endswith("[list.many]")


@pytest.mark.parametrize("data", [b"", b"\n\n", BOM, b"  \r\n"])
@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_a_list_without_an_entry_is_a_problem(list_file, read, data):
    assert problems_of(read, list_file(data)) == [(None, "list.no-entry")]


@pytest.mark.parametrize("read", [read_paths, read_labelled])
def test_a_missing_list_and_a_folder_are_problems(tmp_path, read):
    assert problems_of(read, tmp_path / "missing.txt") == [(None, "list.unreadable")]
    assert problems_of(read, tmp_path) == [(None, "list.folder")]


def test_fewer_than_two_classes_is_a_problem(list_file):
    assert problems_of(read_labelled, list_file("/a.wav\trock\n/b.wav\trock\n")) == [(None, "list.one-class")]
    assert len(read_labelled(list_file("/a.wav\trock\n"), min_classes=1)) == 1


def test_one_file_spelled_two_ways_is_one_track(list_file, warnings):
    good = "/x/a.wav\trock\n/b.wav\tjazz\n"
    assert problems_of(read_labelled, list_file(good + "/x/./y/../a.wav\tjazz\n")) == [(3, "list.two-labels")]
    assert read_labelled(list_file(good + "/x//a.wav\trock\n")) == [Track("/x/a.wav", "rock"), Track("/b.wav", "jazz")]
    assert "line 3 repeats line 1" in warnings()[0]


def test_a_duplicate_line_of_a_training_list_is_a_warning_and_counts_once(list_file, warnings):
    tracks = read_labelled(list_file("/one.wav\trock\n/two.wav\tjazz\n" + "/one.wav\trock\n" * 5))
    assert tracks == [Track("/one.wav", "rock"), Track("/two.wav", "jazz")]
    [message] = warnings()
    assert ": 5 " in message and "line 3 repeats line 1 (/one.wav), line 4" in message
    assert message.count("repeats") == 3 and message.endswith(" [list.duplicate]")


def test_a_labelled_line_in_a_test_list_is_a_problem_but_a_file_name_with_a_tab_is_not(list_file, tmp_path):
    assert problems_of(read_paths, list_file("/a.wav\trock")) == [(1, "list.label")]
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
    for n, code in ((5, "output.cut-line"), (4, "output.same-name"), (4, "output.short-name")):
        [message] = [message for message in warnings() if message.endswith(f", ... [{code}]")]
        assert message.startswith(f"{path}: {n} ")
        assert message.count("/m/") == (6 if code == "output.same-name" else 3)


def test_labels_that_the_evaluator_would_merge_split_or_lose_are_warnings(list_file, warnings):
    labels = ["R&B", "rb", "hip hop", "日本"]
    read_labelled(list_file("".join(f"/m/track{k}.wav\t{label}\n" for k, label in enumerate(labels))))
    assert [re.search(r": 1 .*: (.*) \[(.*)\]", message).groups() for message in warnings()] == [
        ("hip hop", "output.cut-line"),
        ("'R&B' = 'rb'", "output.same-label"),
        ("日本", "output.no-letters"),
    ]


PIECES = st.sampled_from(
    [b"\t", b"\n", b"\r", b" ", b"\0", b"\x0c", b"/a.wav", b"/b.wav", b"rock", b"jazz", BOM, b"\xff"]
)


@given(data=st.binary() | st.lists(PIECES, max_size=30).map(b"".join))
@settings(deadline=None)
def test_arbitrary_bytes_give_a_list_or_a_list_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "arbitrary.txt"
    path.write_bytes(data)
    for read in (read_paths, read_labelled):
        try:
            entries = read(path)
        except ListError as error:
            problems = str(error).split("\n")
        else:
            assert entries
            assert read is read_paths or len({track.label for track in entries}) >= 2
            continue
        assert all(line.startswith(f"{path}:") for line in problems)
