"""One step of a cross-validation: its record, and when it is repeated."""

import json
import math
import os
import threading

import pytest

from mirex_submission.evaluation.crossval.step import Step
from mirex_submission.evaluation.crossval.supervise import Stopped


@pytest.fixture
def script(tmp_path):
    """A function that writes a shell script and returns its path."""

    def write(text, name="call.sh"):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def step(tmp_path, script):
    """A step that copies its list, counts its runs, and exits with the status in the file `status`."""
    (tmp_path / "list").write_text("one\n")
    (tmp_path / "status").write_text("0")
    command = script('#!/bin/sh\ncd "$1"\necho . >> count\ncp list out\nexit "$(cat status)"\n')

    def make(*more, after="", outputs=("out",), folder=None):
        return Step(
            "copy",
            [command, str(tmp_path), *more],
            [tmp_path / "list"],
            after,
            [tmp_path / name for name in outputs],
            folder,
            tmp_path / "log",
            tmp_path / "records" / "copy.json",
        )

    return make


def run(step):
    return step.run(environment=os.environ, limit_s=math.inf, stop=threading.Event())


def test_a_successful_step_is_finished_as_long_as_nothing_has_changed(step, tmp_path):
    assert step().finished() is None
    made = run(step())
    assert (made.status, made.problem, made.attempts) == (0, None, 1)
    assert step().finished() == made
    assert step("more").finished() is None
    assert step(after="another").finished() is None
    assert step(folder=tmp_path / "none").finished() is None
    (tmp_path / "list").write_text("two\n")
    assert step().finished() is None
    (tmp_path / "list").write_text("one\n")
    assert step().finished() == made
    (tmp_path / "out").write_text("changed\n")
    assert step().finished() is None and step().earlier_result() == made
    (tmp_path / "out").unlink()
    assert step().finished() is None and step().earlier_result() == made


def test_a_failed_step_is_not_finished_and_its_attempts_are_counted(step, tmp_path):
    (tmp_path / "status").write_text("5")
    failed = run(step())
    assert failed.status == 5 and failed.problem.endswith(" [crossval.status]")
    assert step().finished() is None and step().earlier_result() is None
    (tmp_path / "status").write_text("0")
    assert run(step()).attempts == 2
    assert run(step("more")).attempts == 1


def test_a_step_that_does_not_write_its_output_has_failed(step, tmp_path):
    made = run(step(outputs=("out", "probabilities")))
    assert made.status == 0
    assert f"{tmp_path}/probabilities" in made.problem and made.problem.endswith("[crossval.no-output]")


def test_a_failure_quotes_the_last_line_of_the_log(tmp_path, script):
    command = [script("#!/bin/sh\nprintf 'first\\nno such thing: \\303\\244\\377 %1000s\\n\\n' x\nexit 1\n")]
    failed = run(Step("fail", command, [], "", [], None, tmp_path / "log", tmp_path / "record"))
    assert f"{tmp_path}/log" in failed.problem
    assert "first" not in failed.problem and len(failed.problem) < 400 + len(str(tmp_path)) + 80


def test_a_stopped_step_is_not_finished(step, tmp_path):
    stop = threading.Event()
    stop.set()
    (tmp_path / "call.sh").write_text("#!/bin/sh\nsleep 1000\n")
    with pytest.raises(Stopped):
        step().run(environment=os.environ, limit_s=math.inf, stop=stop)
    assert json.loads((tmp_path / "records" / "copy.json").read_text())["attempts"] == 1
    assert step().finished() is None


FORGED = [
    {"result": {"seconds": float("nan")}},
    {"result": {"seconds": float("inf")}},
    {"result": {"seconds": 10**400}},
    {"result": {"cpu_seconds": -1}},
    {"result": {"peak_mb": 1e308}},
    {"result": {"status": -1}},
    {"result": {"attempts": 10**30}},
    {"attempts": -(10**30)},
    {"left": {"\\0": None}},
    {"left": None},
]


@pytest.mark.parametrize("forged", FORGED, ids=repr)
def test_a_forged_record_is_ignored(step, tmp_path, forged):
    run(step())
    path = tmp_path / "records" / "copy.json"
    record = json.loads(path.read_text())
    for name, value in forged.items():
        record[name] = {**record[name], **value} if name == "result" else value
    path.write_text(json.dumps(record))
    assert step().finished() is None
    assert run(step()).problem is None


def test_a_record_of_missing_files_is_ignored(step, tmp_path):
    run(step())
    path = tmp_path / "records" / "copy.json"
    (tmp_path / "out").unlink()
    path.write_text(json.dumps({**json.loads(path.read_text()), "left": {str(tmp_path / "out"): None}}))
    assert step().finished() is None


@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
def test_a_special_or_huge_record_is_ignored_at_once(step, tmp_path, kind):
    path = tmp_path / "records" / "copy.json"
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with open(path, "wb") as f:
            f.truncate(1 << 40)
    assert step().finished() is None and step().attempts() == 0


@pytest.mark.parametrize("change", [lambda record: '{"key":', lambda record: json.dumps({**record, "attempts": "1"})])
def test_a_damaged_record_is_ignored(step, tmp_path, change):
    run(step())
    path = tmp_path / "records" / "copy.json"
    path.write_text(change(json.loads(path.read_text())))
    assert step().finished() is None
    assert run(step()).attempts == 1
