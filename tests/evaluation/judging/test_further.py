"""Probabilities, groups, strata and wiki tables through the commands: files, text, and every problem with its line."""

import csv
import json
import shutil

import pytest

from mirex_submission.cli.main import main
from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.probabilities import beside, read_probabilities
from mirex_submission.evaluation.judging.results import read
from mirex_submission.evaluation.report.page import write_report

HEAD = "path,x,y\n"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """A function that runs evaluate in the test's folder and returns its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        try:
            status = main(("evaluate", "--truth", "truth", "--system", "A=A", "--out", "out", *args))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def task(tmp_path):
    """Two folds of four tracks, and a system of others with probabilities beside its outputs."""
    for fold in "12":
        tracks = [(f"/a/track{fold}{n}.wav", "xy"[n % 2]) for n in range(4)]
        rows = [(path, 0.9 if label == "x" else 0.25) for path, label in tracks]
        for folder in ("truth", "A"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{fold}.txt").write_text("".join(f"{path}\t{label}\n" for path, label in tracks))
        table = HEAD + "".join(f"{path},{p},{1 - p}\n" for path, p in rows)
        (tmp_path / "A" / f"{fold}.csv").write_text(table)
    return tmp_path


def results(folder):
    [system] = json.loads((folder / "out" / "results.json").read_text())["systems"]
    return {(part["kind"], part["name"]): part for part in system["parts"]}


def test_a_table_of_probabilities_beside_the_output_adds_figures_everywhere(call, task):
    (task / "A" / "2.csv").write_text((task / "A" / "2.csv").read_text().replace("path,", "path,label,", 1).replace(
        ".wav,", ".wav,x,"
    ))  # fmt: skip
    status, stdout, _ = call()
    assert status == 0 and "log loss" in stdout and stdout.startswith("system  accuracy")
    part = results(task)["all", ""]
    assert part["n_known"] == 8 and part["figures"]["brier_score"]["value"] == pytest.approx((0.02 + 0.125) / 2)
    assert set(results(task)) == {("all", ""), ("fold", "1"), ("fold", "2")}
    rows = list(csv.DictReader((task / "out" / "figures.csv").open()))
    [row] = [row for row in rows if row["Kind"] == "all" and row["Figure"] == "brier_score"]
    assert (row["Value"], row["Tracks"], row["Group low"]) == ("0.072500", "8", "")
    assert sum(int(row["Tracks"]) for row in csv.DictReader((task / "out" / "reliability.csv").open())) == 16
    assert write_report("out", "out/report.html", ["report"])
    page = (task / "out" / "report.html").read_text()
    assert "reliability curve of A" in page and "calibration error" in page


@pytest.mark.parametrize(
    ("old", "new", "where", "expected"),
    [
        ("/a/track10.wav,0.9,0.09999999999999998\n", "", "1.csv: no row for the track '/a/track10.wav'", "missing"),
        ("0.9,0.09999999999999998", "0.9,0.2", "1.csv:2: the probabilities sum to 1.1", "invalid"),
        ("0.9,0.09999999999999998", "nan,0.1", "1.csv:2: nan is not a probability", "invalid"),
        ("0.9,0.09999999999999998", "1.1,-0.1", "1.csv:2: 1.1 is not a probability", "invalid"),
        ("0.9,0.09999999999999998", "0.9", "1.csv:2: 2 cells", "invalid"),
        ("0.9,0.09999999999999998", "high,low", "1.csv:2: could not convert", "invalid"),
        ("track11.wav", "track10.wav", "1.csv:3: the track '/a/track10.wav' is also in line 2", "invalid"),
        ("path,x,y", "path,x,polka", "1.csv:1: the column 'polka' is not a class", "class"),
        ("path,x,y", "path,x,X", "1.csv:1: two columns for the class 'X'", "invalid"),
        ("path,x,y", "file,x,y", "1.csv:1: the first line is not `path`", "invalid"),
    ],
)
def test_every_problem_of_a_table_has_its_line_and_the_other_figures_are_written(call, task, old, new, where, expected):
    table = task / "A" / "1.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    status, stdout, stderr = call()
    assert status == 3 and f"A/{where}" in stderr and f"[output.probabilities-{expected}]" in stderr, stderr
    assert "100.00%" in stdout and (task / "out" / "summaryResults.csv").exists()
    assert results(task)["all", ""]["n_known"] == 4  # of the other fold


def test_a_fold_without_a_table_is_a_warning(call, task):
    (task / "A" / "2.csv").unlink()
    status, _, stderr = call()
    assert status == 0 and "A: no probabilities for 2" in stderr and "[output.probabilities-fold]" in stderr


def test_a_class_without_a_column_has_probability_0(call, task):
    (task / "A" / "1.csv").write_text("path,x\n" + "".join(f"/a/track1{n}.wav,1\n" for n in range(4)))
    assert call()[0] == 0
    assert results(task)["fold", "1"]["figures"]["log_loss"]["value"] == pytest.approx(36.04 / 2, abs=0.01)


def test_an_output_is_not_taken_as_its_own_table(task):
    assert beside(task / "A" / "1.csv") is None and beside(task / "A" / "1.txt") == task / "A" / "1.csv"
    (task / "A" / "1.csv").write_text("\ufeff" + HEAD + "/a/b,0.5,0.5\n", encoding="utf-8")
    assert read_probabilities(task / "A" / "1.csv").of("/a//b", "y") == 0.5


def test_without_probabilities_nothing_is_added_and_earlier_files_are_removed(call, task):
    call()
    for fold in "12":
        (task / "A" / f"{fold}.csv").unlink()
    status, stdout, _ = call()
    assert status == 0 and len(stdout.splitlines()) == 2
    assert not (task / "out" / "figures.csv").exists() and not (task / "out" / "reliability.csv").exists()
    assert results(task) == {}
    write_report("out", "out/report.html", ["report"])


def test_groups_and_strata(call, task):
    paths = [f"/a/track{fold}{n}.wav" for fold in "12" for n in range(4)]
    (task / "groups.txt").write_text("".join(f"{path}\tartist {n // 2}\n" for n, path in enumerate(paths[:-1])))
    lines = [f"{path}\t{'mp3' if n < 5 else 'flac'}\t{'' if n else 1970}\n" for n, path in enumerate(paths)]
    (task / "strata.tsv").write_text("path\tcodec\tyear\n" + "".join(lines))
    status, stdout, stderr = call("--groups", "groups.txt", "--strata", "strata.tsv")
    assert status == 0 and "over groups" in stdout and "codec=mp3" in stdout
    assert "1 of 8 tracks are missing and count as groups of their own" in stderr
    assert "year: 7 of 8 tracks are missing and count as in no stratum" in stderr and stderr.count("[strata.") == 2
    strata = {name: part["n_tracks"] for (kind, name), part in results(task).items() if kind == "stratum"}
    assert strata == {"codec=flac": 3, "codec=mp3": 5, "year=1970": 1}
    figure = results(task)["all", ""]["figures"]["accuracy"]
    low_of_5_groups = 5 / (5 + 1.959963985**2)
    assert figure["by_group"] == [pytest.approx(low_of_5_groups), 1.0] and figure["by_track"][0] > low_of_5_groups
    assert read(task / "out" / "results.json").groups.path == str(task / "groups.txt")
    write_report("out", "out/report.html", ["report"])
    assert "codec=flac" in (task / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("--groups", "/elsewhere.wav\tx\n", "[usage.tags]"),
        ("--strata", "path\tcodec\n/elsewhere.wav\tx\n", "[usage.tags]"),
        ("--strata", "path\n/a/track10.wav\n", "table:1: the columns 'path'"),
        ("--strata", "file\tcodec\n/a/track10.wav\tx\n", "[strata.columns]"),
        (
            "--strata",
            "path\tcodec\n/a/track10.wav\tx\n/a/track10.wav\ty\n",
            "table:3: the track '/a/track10.wav' is also in line 2",
        ),
    ],
)
def test_wrong_groups_and_strata_are_refused_before_anything_is_written(call, task, option, text, expected):
    (task / "table").write_text(text)
    status, _, stderr = call(option, "table")
    assert status in (2, 3) and expected in stderr
    assert not (task / "out").exists()


def test_too_many_strata_are_refused(call, task):
    tracks = [f"/a/track1{n}.wav" for n in range(300)]
    (task / "truth" / "1.txt").write_text("".join(f"{path}\tx\n" for path in tracks))
    shutil.rmtree(task / "A")
    (task / "A").mkdir()
    (task / "A" / "1.txt").write_text("".join(f"{path}\tx\n" for path in tracks))
    (task / "A" / "2.txt").write_text((task / "truth" / "2.txt").read_text())
    (task / "table").write_text("path\tid\n" + "".join(f"{path}\t{n}\n" for n, path in enumerate(tracks)))
    status, _, stderr = call("--strata", "table")
    assert status == 3 and "[strata.many]" in stderr


def test_with_wiki_only_escaped_wiki_tables_are_printed(call, task):
    for folder in ("truth", "A"):
        path = task / folder / "1.txt"
        path.write_text(path.read_text().replace("\tx", "\tR|B [[x]] {{y}} ''z''"))
    status, stdout, _ = call("--wiki")
    assert status == 0
    assert stdout.count('{| class="wikitable"') == stdout.count("\n|}") == 3
    assert "! Algorithm !! Classification Accuracy !! Normalised Classification Accuracy\n|-\n! A\n| 1.0000" in stdout
    rows = [line for line in stdout.splitlines() if line.startswith("! R")]
    assert (
        rows == ["! R&#124;B &#91;&#91;x&#93;&#93; &#123;&#123;y&#125;&#125; &#39;&#39;z&#39;&#39;"]
        and "=== Accuracy per Fold ===" in stdout
    )


def test_results_of_an_earlier_version_are_read(call, task):
    call()
    path = task / "out" / "results.json"
    old = json.loads(path.read_text())
    for key in ("groups", "strata"):
        del old[key]
    for system in old["systems"]:
        del system["parts"]
    path.write_text(json.dumps(old, indent=1))
    assert read(path).systems[0].parts == []
    write_report("out", "out/report.html", ["report"])


def test_an_unreadable_table_is_a_list_error(tmp_path):
    (tmp_path / "p.csv").write_bytes(b"path,x\n\xff,1\n")
    with pytest.raises(ListError, match=r"p\.csv:\d: .*utf-8"):
        read_probabilities(tmp_path / "p.csv")
