"""The commands evaluate, validate and report: their arguments, messages and exit statuses."""

import json
import os
import re
import subprocess
import sys

import pytest

from mirex_submission.cli.main import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """A function that runs a command in an empty folder and returns its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        try:
            status = main(args)
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def task(tmp_path, call):
    """The truth of two folds, a correct system, and one that lacks a track and predicts an unknown label."""
    for fold in (1, 2):
        lines = [f"/a/track{fold}{n}.wav\t{'xy'[n % 2]}\n" for n in range(4)]
        for folder, kept in (
            ("truth", lines),
            ("right", lines),
            ("faulty", [*lines[:2], lines[2].replace("x\n", "z\n")]),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{fold}.txt").write_text("".join(kept))


EVALUATE = ("evaluate", "--truth", "truth", "--out", "out")


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--system", "A=right", "--seed", "-1"], "--seed"),
        (["--system", "results.json=right"], "[usage.system-name]"),
        (["--system", "right=right", "--out", "."], "[usage.out-among-outputs]"),
    ],
)
def test_evaluate_refuses_to_overwrite_its_own_inputs(call, tmp_path, args, expected):
    status, _, stderr = call(*EVALUATE, *args)
    assert (status, expected in stderr) == (2, True), stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("task")
def test_evaluate_writes_the_figures_and_prints_one_line_per_system(call, tmp_path):
    status, stdout, stderr = call(*EVALUATE, "--system", "A=right", "--system", "B=faulty", "--seed", "3")
    assert status == 0
    assert [line.split()[0] for line in stdout.splitlines()] == ["system", "A", "B"]
    assert json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["seed"] == 3
    assert (tmp_path / "out" / "B" / "report.txt").exists()
    assert re.search(r"faulty/1\.txt:3: .*\[output\.unknown-label\]", stderr)
    assert "[report.few-rows]" in stderr


@pytest.mark.usefixtures("task")
def test_problems_of_a_kind_are_one_warning_per_file_with_their_number(call, tmp_path):
    (tmp_path / "faulty" / "1.txt").write_text("/a/track10.wav\tx\n")
    _, _, stderr = call(*EVALUATE, "--system", "B=faulty")
    [line] = [line for line in stderr.splitlines() if "[output.missing-track]" in line and "faulty/1.txt: " in line]
    assert line.endswith(" (and 2 more of this kind) [output.missing-track]")


@pytest.mark.usefixtures("task")
def test_strict_is_status_3_for_any_problem_and_the_figures_are_written_anyway(call, tmp_path):
    assert call(*EVALUATE, "--strict", "--system", "A=right")[0] == 0
    status, _, stderr = call(*EVALUATE, "--strict", "--system", "B=faulty")
    assert status == 3
    assert re.search(r"out: 4 .*\[output\.strict\]", stderr)
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["systems"][0]["findings"]) == 4


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("systems", "expected"),
    [
        ([], "--system"),
        (["--system", "right"], "NAME=DIR"),
        (["--system", "A="], "--system"),
        (["--system", "../A=right"], "[usage.system-name]"),
        (["--system", "A=right", "--system", "A=faulty"], "[usage.system-twice]"),
    ],
)
def test_wrong_arguments_are_a_usage_error(call, systems, expected):
    status, _, stderr = call(*EVALUATE, *systems)
    assert status == 2
    assert expected in stderr


@pytest.mark.usefixtures("task")
def test_outputs_can_be_given_as_a_pattern_or_as_a_single_file(call, tmp_path):
    for fold in (1, 2):
        (tmp_path / f"right/{fold}.txt").rename(tmp_path / f"right/results.{fold}.csv")
    status, _, stderr = call(*EVALUATE, "--system", "A=right")
    assert status == 0 and stderr.count("[output.no-output]") == 1
    status, stdout, _ = call(*EVALUATE, "--strict", "--system", "A=right/results.{fold}.csv")
    assert status == 0 and "8 of 8 of 8" in stdout
    single = ("--truth", "truth/1.txt", "--system", "A=right/results.1.csv")
    status, stdout, _ = call("evaluate", *single, "--out", "single", "--strict")
    assert status == 0 and "4 of 4 of 4" in stdout


@pytest.mark.usefixtures("task")
def test_a_missing_folder_is_status_3(call):
    assert call(*EVALUATE, "--system", "A=missing")[0] == 3


@pytest.mark.usefixtures("task")
def test_validate_is_status_0_for_a_correct_output_and_3_with_every_problem_otherwise(call, tmp_path):
    (tmp_path / "test.txt").write_text("".join(f"/a/track1{n}.wav\n" for n in range(4)))
    status, stdout, stderr = call("validate", "test.txt", "truth/2.txt", "right/1.txt")
    assert (status, stdout) == (0, "")
    assert "all 4 tracks" in stderr
    status, _, stderr = call("validate", "test.txt", "truth/2.txt", "faulty/1.txt")
    assert status == 3
    assert re.search(r"faulty/1\.txt:3: .*\[output\.unknown-label\]", stderr)
    assert re.search(r"/a/track13\.wav.*\[output\.missing-track\]", stderr)


@pytest.mark.usefixtures("task")
def test_report_writes_its_page_beside_the_results_or_to_the_given_file(call, tmp_path):
    call(*EVALUATE, "--system", "A=right", "--seed", "3")
    status, stdout, stderr = call("report", "out")
    assert (status, stdout) == (0, "")
    assert "no runs.json beside the results" in stderr and "out/report.html: one page" in stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<pre>mirex-submission evaluate --truth truth --out out --system A=right --seed 3</pre>" in page
    assert "<pre>mirex-submission report out</pre>" in page
    assert call("report", "out", "-o", "to/a.html")[0] == 0
    assert (tmp_path / "to" / "a.html").exists()
    status, _, stderr = call("report", "none")
    assert status == 3 and "none/results.json: cannot be read: No such file" in stderr.replace("[Errno 2] ", "")


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(
    ("stdout", "status", "expected"),
    [("/dev/full", 7, "No space left on device"), ("a closed pipe", 141, "")],
)
def test_a_failed_write_to_stdout_is_a_status_and_no_traceback(tmp_path, stdout, status, expected):
    if stdout == "/dev/full":
        to = os.open(stdout, os.O_WRONLY)
    else:
        reading, to = os.pipe()
        os.close(reading)
    command = [sys.executable, "-m", "mirex_submission", *EVALUATE, "--system", "A=right"]
    done = subprocess.run(command, cwd=tmp_path, stdout=to, stderr=subprocess.PIPE, text=True)
    os.close(to)
    assert done.returncode == status, done.stderr
    assert expected in done.stderr and "Traceback" not in done.stderr


ESCAPE = "\x1b[2J\x1b]0;title\x07\u202e"


def assert_printable(text):
    assert all(line.isprintable() for line in text.replace("\t", " ").split("\n")), text


def test_no_escape_code_of_a_label_or_path_reaches_the_terminal_or_a_text_file(call, tmp_path):
    truth = f"/a{ESCAPE}/one.wav\trock{ESCAPE}\n/a{ESCAPE}/two.wav\t=1+1\n/a/x y.wav\trock{ESCAPE}\n"
    output = f"/a/{ESCAPE}.wav\tpolka{ESCAPE}\n/a{ESCAPE}/two.wav\t{ESCAPE}\n/b{ESCAPE}\n"
    for name, text in (("truth", truth), ("A", output)):
        (tmp_path / f"{name}{ESCAPE}").mkdir()
        (tmp_path / f"{name}{ESCAPE}" / f"1{ESCAPE}.txt").write_text(text)
    status, stdout, stderr = call("evaluate", "--truth", f"truth{ESCAPE}", f"--system=A=A{ESCAPE}", "--out", "out")
    assert status == 0
    for text in (stdout, stderr, (tmp_path / "out/A/report.txt").read_text()):
        assert_printable(text)
    assert r"rock\x1b[2J\x1b]0;title\x07\u202e" in (tmp_path / "out/A/report.txt").read_text()
    # These files keep the spelling of the truth, for the organisers' programs.
    assert {"=1+1,0.0000", f"rock{ESCAPE},0.0000"} <= set(
        (tmp_path / "out/PerClassResults.csv").read_text().split("\n")
    )
    (tmp_path / "test.txt").write_text(f"/a{ESCAPE}/one.wav\n")
    status, _, stderr = call("validate", "test.txt", f"truth{ESCAPE}/1{ESCAPE}.txt", f"A{ESCAPE}/1{ESCAPE}.txt")
    assert status == 3
    assert_printable(stderr)


@pytest.mark.parametrize("name", ["class", "file"])
def test_no_escape_code_of_a_folder_reaches_the_table_of_folds(call, tmp_path, name):
    for label in (f"rock{ESCAPE if name == 'class' else ''}", "jazz"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(2):
            (tmp_path / "data" / label / f"{n} {ESCAPE if name == 'file' else ''}.wav").touch()
    status, stdout, stderr = call("folds", "--from-folders", "data", "--folds", "2", "--out", "lists")
    assert status == 0
    assert_printable(stdout + stderr)
    assert len({len(line) for line in stdout.splitlines()}) == 1


def test_a_very_long_line_of_an_output_is_quoted_shortened(call, tmp_path):
    (tmp_path / "list.txt").write_text("/a/one.wav\tx\n/a/two.wav\ty\n")
    (tmp_path / "test.txt").write_text("/a/one.wav\n")
    for line in ("x" * 1_000_000, f"/a/one.wav\t{'x' * 1_000_000}", f"{'x' * 1_000_000}\ty"):
        (tmp_path / "output.txt").write_text(line)
        status, _, stderr = call("validate", "test.txt", "list.txt", "output.txt")
        assert status == 3 and len(stderr) < 5000
