"""One supervised command: its measurements, and that no process of it survives."""

import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from processes import gone, wait_for

from mirex_submission.errors import StorageError
from mirex_submission.evaluation.crossval import supervise as module
from mirex_submission.evaluation.crossval.supervise import Stopped, supervise, watched


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
def call(tmp_path):
    """A function that supervises a command, with a log in the test's folder."""

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
    command, *lines = call.log.read_text().splitlines()
    assert command.startswith("$ /") and command.endswith("/call.sh 'a b'")
    assert lines == ["one", "two", "a b word"]


def test_a_log_is_watched_while_its_command_runs_but_not_through_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WATCH_S", 0.01)
    log, lines = tmp_path / "log", []
    with watched(log, lines.append):
        log.write_text("2026-11-28 12:00:00 headers: 1 of 9\n2026-11-28 12:00:15 extraction: 3 of 9 tracks\n")
        wait_for(lambda: lines)
        (tmp_path / "secret").write_text("a secret")
        log.unlink()
        log.symlink_to(tmp_path / "secret")
        time.sleep(0.1)
    assert set(lines) == {"extraction: 3 of 9 tracks"}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("#!/bin/sh\nexit 3\n", 3),
        ("#!/bin/sh\nkill -KILL $$\n", 137),
        ("exit 4\n", 4),  # no first line that names a shell
        ("#!/none/such\n", 126),
    ],
)
def test_the_status_is_that_of_a_shell(call, script, text, status):
    ended = call(script(text))
    assert ended.status == status or (status, ended.status) == (126, 127)  # shells differ


def test_a_missing_script_is_named_in_the_log(call, tmp_path):
    assert call(str(tmp_path / "none.sh")).status == 127
    assert "none.sh" in call.log.read_text().splitlines()[-1]


def test_a_command_has_an_empty_stdin(call, script):
    assert call(script("#!/bin/sh\ncat\necho end\n")).status == 0
    assert call.log.read_text().splitlines()[1:] == ["end"]


def own_peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def test_time_and_memory_include_all_child_processes(call, script):
    burn = "import time; x = b'x' * 300_000_000\nwhile time.process_time() < 0.5: pass"
    ended = call(script(f'#!/bin/sh\n{sys.executable} -c "$1"\ntrue\n'), burn)
    assert ended.status == 0
    assert ended.seconds >= 0.45
    assert ended.cpu_seconds >= 0.45
    assert 300 <= ended.peak_mb < max(1000, own_peak_mb() + 1)
    assert call(script("#!/bin/sh\nsleep 0.3\n")).cpu_seconds < 0.3


def test_memory_is_the_sum_of_all_processes_at_the_same_time(call, script):
    hold = "import sys, time; x = b'x' * 200_000_000; sys.stdin.read(1); time.sleep(2)"
    ended = call(script(f'#!/bin/sh\n{sys.executable} -c "$1" &\n{sys.executable} -c "$1"\nwait\n'), hold)
    assert ended.status == 0
    assert 400 <= ended.peak_mb < max(1000, own_peak_mb() + 1)


LEAVES_A_CHILD = """#!/bin/sh
(trap '' TERM; sleep 1000 & echo $! > "$1"; wait) &
while [ ! -s "$1" ]; do sleep 0.02; done
"""


def test_a_background_child_is_killed_when_its_command_ends(call, script, tmp_path):
    assert call(script(LEAVES_A_CHILD), str(tmp_path / "pid")).status == 0
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_command_over_its_time_limit_is_killed_with_children_that_ignore_sigterm(call, script, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    ended = call(script("#!/bin/sh\ntrap '' TERM\n" + LEAVES_A_CHILD + "wait\n"), str(tmp_path / "pid"), limit_s=3)
    assert ended.timed_out and ended.status == 137
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_command_has_time_to_clean_up_after_sigterm(call, script):
    ended = call(script("#!/bin/sh\ntrap 'echo in order; exit 0' TERM\nsleep 1000 &\nwait\n"), limit_s=3)
    assert ended.timed_out and ended.status == 0
    assert call.log.read_text().endswith("in order\n")


def test_a_caller_that_has_to_stop_ends_its_command(call, script, tmp_path):
    stop = threading.Event()
    waiting = threading.Thread(target=lambda: (pid_in(tmp_path / "pid"), stop.set()))
    waiting.start()
    with pytest.raises(Stopped):
        call(script(LEAVES_A_CHILD + "wait\n"), str(tmp_path / "pid"), stop=stop)
    waiting.join()
    wait_for(lambda: gone(pid_in(tmp_path / "pid")))


def test_a_command_does_not_survive_a_killed_caller(script, tmp_path):
    caller = (
        "import math, os, sys, threading; from pathlib import Path\n"
        "from mirex_submission.evaluation.crossval.supervise import supervise\n"
        "supervise(sys.argv[2:], Path(sys.argv[1]), environment=os.environ, limit_s=math.inf, stop=threading.Event())"
    )
    pid = tmp_path / "pid"
    argv = [sys.executable, "-c", caller, str(tmp_path / "log"), script(LEAVES_A_CHILD + "wait\n"), str(pid)]
    with subprocess.Popen(argv) as process:
        child = pid_in(pid)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: gone(child))
    assert process.returncode == -signal.SIGKILL


def test_a_log_that_cannot_be_written_is_a_storage_error(call, script, tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(StorageError, match="logs"):
        call(script("#!/bin/sh\n"))


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "device", "folder"])
def test_a_log_that_is_not_a_regular_file_is_an_error(call, script, tmp_path, kind):
    call.log.parent.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("password\n")
    if kind in ("link", "dangling"):
        call.log.symlink_to(secret if kind == "link" else tmp_path / "new")
    elif kind == "pipe":
        os.mkfifo(call.log)
    elif kind == "device":
        call.log.symlink_to("/dev/zero")
    else:
        call.log.mkdir()
    with pytest.raises(StorageError, match=r"call\.log: cannot be written: "):
        call(script("#!/bin/sh\necho hello\n"))
    assert secret.read_text() == "password\n" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("target", ["secret", "/dev/zero"])
def test_the_last_line_comes_from_the_written_log(call, script, tmp_path, target):
    (tmp_path / "secret").write_text("password\n")
    swap = f"rm {call.log}; ln -s {tmp_path / target} {call.log}"
    assert call(script(f"#!/bin/sh\necho before; {swap}; echo after\n")).last_line == "after"


@pytest.mark.parametrize("kind", ["escape", "long", "none", "blank lines"])
def test_the_last_line_is_printable_and_short(call, script, kind):
    text = {
        "escape": r"printf 'x\n\033[2J\033]0;t\007y'",
        "long": "printf '%1000s'; printf 'end'",
        "none": "true",
        "blank lines": r"printf 'x\n \n\n\t\n'",
    }[kind]
    line = call(script(f"#!/bin/sh\n{text}\n")).last_line
    expected = {"escape": r"\x1b[2J\x1b]0;t\x07y", "long": "end", "none": f"$ {call.log.parents[1]}/call.sh"}
    assert line == expected.get(kind, "x")


def test_the_command_in_the_log_is_printable(call, script):
    call(script("#!/bin/sh\n"), "\x1b[2J", "a\nb", "Motörhead")
    assert call.log.read_text().endswith(r"/call.sh '\x1b[2J' 'a\nb' 'Motörhead'" + "\n")
