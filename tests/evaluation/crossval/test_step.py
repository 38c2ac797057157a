"""One supervised call: what is measured, that nothing of it goes on, and when it is not made again."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest
from processes import gone, wait_for

from mirex_submission.errors import StorageError
from mirex_submission.evaluation.crossval import step as calls
from mirex_submission.evaluation.crossval.step import Step, Stopped, supervise


@pytest.fixture
def script(tmp_path):
    """Write a shell script; returns its path."""

    def write(text, name="call.sh"):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return write


@pytest.fixture
def call(tmp_path):
    """Supervise a command, with a log in the test's folder."""

    def run(*argv, limit_s=math.inf, stop=None, **environment):
        environment = {**os.environ, **environment}
        log = tmp_path / "logs" / "call.log"
        return supervise(argv, log, environment=environment, limit_s=limit_s, stop=stop or threading.Event())

    run.log = tmp_path / "logs" / "call.log"
    return run


def pid_in(path):
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_the_log_has_the_command_and_both_streams_in_their_order(call, script):
    ended = call(script("#!/bin/sh\necho one\necho two >&2\necho $1 $WORD\n"), "a b", WORD="word")
    assert (ended.status, ended.timed_out) == (0, False)
    command, *said = call.log.read_text().splitlines()
    assert command.startswith("$ /") and command.endswith("/call.sh 'a b'")
    assert said == ["one", "two", "a b word"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("#!/bin/sh\nexit 3\n", 3),
        ("#!/bin/sh\nkill -KILL $$\n", 137),
        ("exit 4\n", 4),  # no first line that names a shell
        ("#!/none/such\n", 126),
    ],
)
def test_the_status_is_a_shells(call, script, text, status):
    ended = call(script(text))
    assert ended.status == status or (status, ended.status) == (126, 127)  # shells differ


def test_a_script_that_is_not_there_is_said_in_the_log(call, tmp_path):
    assert call(str(tmp_path / "none.sh")).status == 127
    assert "none.sh" in call.log.read_text().splitlines()[-1]


def test_a_call_reads_nothing(call, script):
    assert call(script("#!/bin/sh\ncat\necho end\n")).status == 0
    assert call.log.read_text().splitlines()[1:] == ["end"]


def own_peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def test_time_and_memory_are_those_of_the_whole_tree(call, script):
    burn = "import time; x = b'x' * 300_000_000\nwhile time.process_time() < 0.5: pass"
    ended = call(script(f'#!/bin/sh\n{sys.executable} -c "$1"\ntrue\n'), burn)
    assert ended.status == 0
    assert ended.seconds >= 0.45
    assert ended.cpu_seconds >= 0.45
    assert 300 <= ended.peak_mb < max(1000, own_peak_mb() + 1)
    assert call(script("#!/bin/sh\nsleep 0.3\n")).cpu_seconds < 0.3


def test_memory_is_that_of_all_processes_at_a_time(call, script):
    hold = "import sys, time; x = b'x' * 200_000_000; sys.stdin.read(1); time.sleep(2)"
    ended = call(script(f'#!/bin/sh\n{sys.executable} -c "$1" &\n{sys.executable} -c "$1"\nwait\n'), hold)
    assert ended.status == 0
    assert 400 <= ended.peak_mb < max(1000, own_peak_mb() + 1)


LEAVES_A_CHILD = """#!/bin/sh
(trap '' TERM; sleep 1000 & echo $! > "$1"; wait) &
while [ ! -s "$1" ]; do sleep 0.02; done
"""


def test_a_child_that_a_call_leaves_behind_is_ended_with_it(call, script, tmp_path):
    assert call(script(LEAVES_A_CHILD), str(tmp_path / "pid")).status == 0
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_call_that_takes_too_long_is_ended_with_its_children_that_do_not_listen(call, script, tmp_path, monkeypatch):
    monkeypatch.setattr(calls, "GRACE_S", 0.2)
    ended = call(script("#!/bin/sh\ntrap '' TERM\n" + LEAVES_A_CHILD + "wait\n"), str(tmp_path / "pid"), limit_s=3)
    assert ended.timed_out and ended.status == 137
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_call_has_time_to_put_its_things_in_order(call, script):
    ended = call(script("#!/bin/sh\ntrap 'echo in order; exit 0' TERM\nsleep 1000 &\nwait\n"), limit_s=3)
    assert ended.timed_out and ended.status == 0
    assert call.log.read_text().endswith("in order\n")


def test_a_caller_that_is_to_stop_ends_its_call(call, script, tmp_path):
    stop = threading.Event()
    waiting = threading.Thread(target=lambda: (pid_in(tmp_path / "pid"), stop.set()))
    waiting.start()
    with pytest.raises(Stopped):
        call(script(LEAVES_A_CHILD + "wait\n"), str(tmp_path / "pid"), stop=stop)
    waiting.join()
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_call_does_not_outlive_a_caller_that_is_killed(script, tmp_path):
    caller = (
        "import math, os, sys, threading; from pathlib import Path\n"
        "from mirex_submission.evaluation.crossval.step import supervise\n"
        "supervise(sys.argv[2:], Path(sys.argv[1]), environment=os.environ, limit_s=math.inf, stop=threading.Event())"
    )
    pid = tmp_path / "pid"
    argv = [sys.executable, "-c", caller, str(tmp_path / "log"), script(LEAVES_A_CHILD + "wait\n"), str(pid)]
    with subprocess.Popen(argv) as process:
        child = pid_in(pid)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: gone(child))
    assert process.returncode == -signal.SIGKILL


def test_a_log_that_cannot_be_written_is_said_so(call, script, tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(StorageError, match="logs"):
        call(script("#!/bin/sh\n"))


# Not again.


@pytest.fixture
def step(tmp_path, script):
    """A call that copies its list, counts itself, and has the status in the file `status`."""
    (tmp_path / "list").write_text("one\n")
    (tmp_path / "status").write_text("0")
    command = script('#!/bin/sh\ncd "$1"\necho . >> count\ncp list out\nexit "$(cat status)"\n')

    def make(*more, after="", leaves=("out",), folder=None):
        return Step(
            "copy",
            [command, str(tmp_path), *more],
            [tmp_path / "list"],
            after,
            [tmp_path / name for name in leaves],
            folder,
            tmp_path / "log",
            tmp_path / "records" / "copy.json",
        )

    return make


def run(step):
    return step.run(environment=os.environ, limit_s=math.inf, stop=threading.Event())


def test_a_call_that_ended_well_is_finished_as_long_as_all_is_as_it_was(step, tmp_path):
    assert step().finished() is None
    made = run(step())
    assert (made.status, made.fault, made.attempts) == (0, None, 1)
    assert step().finished() == made
    assert step("more").finished() is None
    assert step(after="another").finished() is None
    assert step(folder=tmp_path / "none").finished() is None
    (tmp_path / "list").write_text("two\n")
    assert step().finished() is None
    (tmp_path / "list").write_text("one\n")
    assert step().finished() == made
    (tmp_path / "out").write_text("changed\n")
    assert step().finished() is None and step().noted() == made
    (tmp_path / "out").unlink()
    assert step().finished() is None and step().noted() == made


def test_a_call_that_failed_is_not_finished_and_its_attempts_are_counted(step, tmp_path):
    (tmp_path / "status").write_text("5")
    failed = run(step())
    assert failed.status == 5 and failed.fault.startswith("status 5; its log, ")
    assert step().finished() is None and step().noted() is None
    (tmp_path / "status").write_text("0")
    assert run(step()).attempts == 2
    assert run(step("more")).attempts == 1


def test_a_call_that_does_not_write_what_it_has_to_failed(step, tmp_path):
    made = run(step(leaves=("out", "probabilities")))
    assert made.status == 0
    assert made.fault.startswith(f"status 0, but it did not write {tmp_path}/probabilities; its log")


def test_a_fault_tells_the_last_line_of_the_log(tmp_path, script):
    command = [script("#!/bin/sh\nprintf 'first\\nno such thing: \\303\\244\\377 %1000s\\n\\n' x\nexit 1\n")]
    failed = run(Step("fail", command, [], "", [], None, tmp_path / "log", tmp_path / "record"))
    assert failed.fault.startswith(f"status 1; its log, {tmp_path}/log, ends: ")
    assert "first" not in failed.fault and len(failed.fault) < 400 + len(str(tmp_path)) + 60


def test_a_call_that_was_begun_and_stopped_is_no_finished_one(step, tmp_path):
    stop = threading.Event()
    stop.set()
    (tmp_path / "call.sh").write_text("#!/bin/sh\nsleep 1000\n")
    with pytest.raises(Stopped):
        step().run(environment=os.environ, limit_s=math.inf, stop=stop)
    assert json.loads((tmp_path / "records" / "copy.json").read_text())["attempts"] == 1
    assert step().finished() is None


def test_a_record_that_is_damaged_is_none(step, tmp_path):
    run(step())
    (tmp_path / "records" / "copy.json").write_text('{"key":')
    assert step().finished() is None
