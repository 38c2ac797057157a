"""Every reader of lists and tables returns a result for any bytes, or raises a ListError that names the file."""

import contextlib
import copy
import csv
import functools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_data import make_results

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.crossval.record import read_runs
from mirex_submission.evaluation.folds import check
from mirex_submission.evaluation.folds import split as folds
from mirex_submission.evaluation.folds.lists import find_lists
from mirex_submission.evaluation.judging import results
from mirex_submission.evaluation.judging.evaluate import evaluate
from mirex_submission.evaluation.judging.probabilities import read_probabilities
from mirex_submission.evaluation.judging.results import record
from mirex_submission.evaluation.judging.tables import write_results
from mirex_submission.evaluation.report.curves import read_history
from mirex_submission.evaluation.report.page import write_report
from mirex_submission.protocol.groups import GroupedTrack
from mirex_submission.protocol.lists import read_labelled, read_unlabelled
from mirex_submission.protocol.outputs import class_key, write_predictions, write_probabilities
from mirex_submission.protocol.tables import read_table

TRACKS = [GroupedTrack(f"/none/{label}{n}.wav", label, group=f"{n}") for n in range(4) for label in ("rock", "jazz")]
PARTS = ("train", "test", "truth")

# Bytes similar to a list: fragments of lines, whole good lines, and bytes that a list must not hold.
FRAGMENTS = [
    *(b"\t", b"\n", b"\r", b"\r\n", b" ", b"\0", b"\x0c", b"\xef\xbb\xbf", b"\xff", b'"', b",", b"path\tlabel\n"),
    *(
        b"/none/rock0.wav",
        b"/none/jazz1.wav\tjazz\n",
        b"/none/rock1.wav\trock\n",
        b"rock0.wav",
        b"rock",
        b"nan",
        b"0.5",
    ),
    *(
        b"0.5",
        b"path,label,rock,jazz\n",
        b"/none/rock0.wav,jazz,0.25,0.75\n",
        b"model,epoch,loss,accuracy\n",
        b"1,1,0.5,0.5\n",
    ),
]
anything = st.binary(max_size=300) | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)
fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_problems(error, *files):
    """Check that each problem begins with its file."""
    lines = str(error).split("\n")
    assert lines and all(line.startswith(tuple(f"{file}:" for file in files)) for line in lines), lines


@pytest.fixture
def lists(tmp_path):
    """A folder with good lists of two folds."""
    folder = tmp_path / "lists"
    made = folds.split(TRACKS, 2)
    folds.write(made, folder)
    return folder


@given(data=anything)
@fuzz
def test_unlabelled_lists_and_lists_of_groups(tmp_path, data):
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    for read in (read_unlabelled, lambda path: read_labelled(path, min_classes=1, for_evaluator=False)):
        try:
            assert read(path)
        except ListError as error:
            check_problems(error, path)


@given(data=anything, group=st.sampled_from([None, "artist", ""]))
@fuzz
def test_tables_of_labelled_tracks(tmp_path, data, group):
    path = tmp_path / "table.tsv"
    (tmp_path / "rock0.wav").touch()
    for head in (b"", b"path\tlabel\n", b"label\tartist\tpath\trock\n"):
        path.write_bytes(head + data)
        try:
            tracks = read_table(path, group=group)
        except ListError as error:
            check_problems(error, path)
        else:
            assert tracks and all(track.label.strip() and track.group for track in tracks)


@given(data=anything, name=st.sampled_from(["features", *(f"fold1.{part}" for part in PARTS)]))
@fuzz
def test_the_lists_of_folds(lists, data, name):
    file = lists / f"{name}.txt"
    sound = file.read_bytes()
    for damaged in (data, sound + data, data + sound):
        file.write_bytes(damaged)
        for read in (find_lists, lambda folder: check.read(folder, TRACKS)):
            try:
                assert read(lists)
            except ListError as error:
                check_problems(error, lists, *lists.iterdir())
    file.write_bytes(sound)
    assert len(find_lists(lists).folds) == len(check.read(lists, TRACKS)) == 2


@given(truth=anything | st.just(b"/none/rock0.wav\trock\n/none/jazz1.wav\tjazz\n"), output=anything)
@settings(fuzz, max_examples=30)
def test_truth_and_outputs_that_are_judged(tmp_path, truth, output):
    for folder, data in (("truth", truth), ("system", output)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "fold1.txt").write_bytes(data)
    try:
        judged = evaluate(tmp_path / "truth", {"A": tmp_path / "system"})
    except ListError as error:
        check_problems(error, tmp_path / "truth/fold1.txt")
    else:
        assert record(judged).systems[0].overall.n_tracks <= len(judged.folds[0].tracks)


# JSON and CSV from which a report is made.

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed(draw, sound):
    """Draw the JSON with one value, at any depth, replaced, doubled or removed."""
    whole = at = copy.deepcopy(sound)
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and draw(st.integers(0, 9)):
            at = at[key]
            continue
        how = draw(st.sampled_from(["replace", "remove", "double"]))
        if how == "remove":
            del at[key]
        elif how == "double" and isinstance(at, list):
            at.append(at[key])
        else:
            at[key] = draw(values)
        return whole


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with all inputs of a report on three systems, and the contents of results.json and runs.json."""
    folder = make_results(tmp_path_factory.mktemp("made"), ["rock", "jazz"], ["A", "B", "C"], n_folds=2, n_tracks=3)
    return folder, *(json.loads((folder / name).read_bytes()) for name in ("results.json", "runs.json"))


@given(data=st.data())
@settings(fuzz, max_examples=100)
def test_altered_results_and_runs_are_read_or_a_list_error(made, tmp_path, data):
    _, sound, sound_runs = made
    for name, json_of, read in (
        ("results.json", sound, lambda: results.read(tmp_path / "results.json")),
        ("runs.json", sound_runs, lambda: read_runs(tmp_path)),
    ):
        altered = data.draw(changed(json_of) | values)
        (tmp_path / name).write_text(json.dumps(altered))
        with contextlib.suppress(ListError):
            read()
        (tmp_path / name).write_bytes(data.draw(anything))
        with contextlib.suppress(ListError):
            read()


@pytest.mark.parametrize("n", [3, pytest.param(300, marks=pytest.mark.slow)])
def test_altered_results_that_can_be_read_give_a_page(made, tmp_path, n):
    folder, sound, sound_runs = made
    for name in ("history 0 1.csv", "probabilities 0 1.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())

    @given(data=st.data())
    @settings(fuzz, max_examples=n)
    def check_page(data):
        pairs = (changed(sound), st.just(sound_runs)), (st.just(sound), changed(sound_runs))
        first, second = data.draw(st.one_of(*(st.tuples(*pair) for pair in pairs)))
        (tmp_path / "results.json").write_text(json.dumps(first))
        (tmp_path / "runs.json").write_text(json.dumps(second))
        page = tmp_path / "report.html"
        page.unlink(missing_ok=True)
        with contextlib.suppress(ListError):
            write_report(tmp_path, page, ["report"])
            assert page.read_text(encoding="utf-8").endswith("</html>")

    check_page()


def without_one_key(sound):
    """Yield the JSON without one key, for every key; in a list, only the first element is changed."""
    places = [(sound, ())]
    for at, place in places:
        keys = range(min(len(at), 1)) if isinstance(at, list) else at
        places += [(at[key], (*place, key)) for key in keys if isinstance(at[key], dict | list)]
    for at, place in places:
        for key in at if isinstance(at, dict) else ():
            changed = copy.deepcopy(sound)
            del functools.reduce(lambda inner, step: inner[step], place, changed)[key]
            yield changed


@pytest.mark.parametrize("every", [25, pytest.param(1, marks=pytest.mark.slow)])
def test_results_without_any_one_key_are_a_list_error_or_a_page(made, tmp_path, every):
    """A page takes a second, so only every n-th of those that can be read gets one."""
    _, sound, _ = made
    path, n_read = tmp_path / "results.json", 0
    for lesser in without_one_key(sound):
        path.write_text(json.dumps(lesser))
        with contextlib.suppress(ListError):
            results.read(path)
            n_read += 1
            if n_read % every == 0:
                write_report(tmp_path, tmp_path / "report.html", ["report"])


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": 1}', "[]", "null", "3", '{"a": 1e999}', "\ud800"])
def test_foreign_json_is_a_list_error(tmp_path, text):
    for name, read in (("results.json", results.read), ("runs.json", lambda path: read_runs(path.parent))):
        path = tmp_path / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        if name == "results.json" or not text.startswith("{"):
            with pytest.raises(ListError, match=rf"{name}: .*: \w+"):
                read(path)


@given(data=anything)
@fuzz
def test_histories_and_probabilities(tmp_path, data):
    for head in (b"", b"model,epoch,loss,accuracy\n", b"path,label,rock,jazz\n"):
        path = tmp_path / "table.csv"
        path.write_bytes(head + data)
        for read in (read_history, read_probabilities):
            try:
                table = read(path)
            except ListError as error:
                check_problems(error, path)
            else:
                rows = table.rows.values() if read is read_probabilities else ()
                assert all(((row >= 0) & (row <= 1)).all() for row in rows)


def test_a_field_that_is_too_long_for_csv_is_a_list_error(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("x" * (csv.field_size_limit() + 1))
    for read in (read_history, read_probabilities):
        with pytest.raises(ListError, match=f"^{path}:1: "):
            read(path)


# Reading a file gives what was written.

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), min_size=1, max_size=8)
words = texts.filter(str.strip)


@given(labels=st.lists(words, min_size=2, max_size=12), n_groups=st.integers(2, 5))
@settings(fuzz, max_examples=40)
def test_folds_are_read_as_they_were_written(tmp_path_factory, labels, n_groups):
    tracks = [
        GroupedTrack(f"/none/{k} {label.replace('/', '')}.wav", label, group=f"g{k % n_groups}")
        for k, label in enumerate(labels)
    ]
    folder = tmp_path_factory.mktemp("folds")
    with contextlib.suppress(UsageError, ListError):  # too few groups or classes
        drawn = folds.split(tracks, 2)
        folds.write(drawn, folder)
        if all(fold.train and fold.test for fold in drawn):
            assert check.read(folder, tracks) == drawn
            groups = {track.path: track.label for track in read_labelled(folder / "groups.txt", min_classes=1)}
            assert groups == {track.path: track.group for track in tracks}


@given(
    classes=st.lists(words, min_size=2, max_size=5, unique_by=class_key),
    names=st.lists(words, min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 99),
)
@fuzz
def test_probabilities_are_read_as_they_were_written(tmp_path, classes, names, seed):
    given_ = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), len(names)).astype(np.float32)
    paths = [f"/none/{k}{name.replace('/', '')}" for k, name in enumerate(names)]
    write_probabilities(tmp_path / "p.csv", classes, zip(paths, [classes[0]] * len(paths), given_, strict=True))
    table = read_probabilities(tmp_path / "p.csv")
    for path, row in zip(paths, given_, strict=True):
        assert [np.float32(table.of(path, label)) for label in classes] == list(row)
        assert table.ranked(path)[0][1] == table.rows[path].max()
    assert np.isnan(table.of("/another", classes[0])) and np.isnan(table.of(paths[0], "no class"))


@pytest.mark.parametrize("systems", [["A"], ["A", "B"], ["a b", "☃", "C"]])
def test_results_are_read_as_they_were_written(tmp_path, systems):
    write_predictions(tmp_path / "truth/1.txt", TRACKS)
    for k, system in enumerate(systems):
        write_predictions(tmp_path / system / "1.txt", TRACKS[k:])
    judged = evaluate(tmp_path / "truth", {system: tmp_path / system for system in systems})
    write_results(judged, tmp_path / "out", ["evaluate"])
    assert results.read(tmp_path / "out/results.json") == record(judged, ["evaluate"])


READ = """
import resource, sys, time
from mirex_submission.protocol.lists import read_labelled, read_paths
began_s = time.process_time()
n = len({"read_paths": read_paths, "read_labelled": read_labelled}[sys.argv[1]](sys.argv[2]))
print(n, time.process_time() - began_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.parametrize(("n", "most_mib"), [(50_000, 40), pytest.param(10**6, 475, marks=pytest.mark.slow)])
@pytest.mark.parametrize("reader", ["read_paths", "read_labelled"])
def test_a_million_lines_take_less_than_500_mb(tmp_path, record_property, reader, n, most_mib):
    path = tmp_path / "list.txt"
    label = "\tclass{}" if reader == "read_labelled" else ""
    with open(path, "w") as f:
        f.writelines(f"/data/task/audio/{k % 1000:03}/track{k:07}.wav{label.format(k % 10)}\n" for k in range(n))
    # As a child of a small shell: a process begins with the peak memory of its parent.
    command = ["/bin/sh", "-c", '"$0" "$@"; exit $?', sys.executable, "-c", READ, reader, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    n_read, seconds, peak_mib = map(float, done.stdout.split())
    record_property("seconds", seconds)
    print(f"{reader}: {seconds:.1f} s of CPU, {peak_mib:.0f} MiB")
    assert n_read == n and peak_mib < most_mib


def test_classes_of_a_single_track_are_a_warning_in_a_run(tmp_path, caplog):
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{k}.wav\tclass {k}\n" for k in range(10_000)) + "x.wav\tclass 0\n")
    read_labelled(path)
    assert "9,999 of 10,000 classes have a single track (class 1, class 2, class 3, ...)" in caplog.text
    assert "[list.single-track]" in caplog.text
    caplog.clear()
    read_labelled(path, for_evaluator=False)
    assert "list.single-track" not in caplog.text
