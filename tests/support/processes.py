"""Runs in separate processes: start them, end them, wait for them and read their logs."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from project import PROJECT

PATIENCE_S = 60.0


def start(script, *args, env=None, prefix=(), before=None):
    """Start a script of bin/ as the leader of a session; its stderr is a pipe.

    prefix : a command that becomes the one behind it. before : what the process does before it becomes the script.
    """
    environment = {**os.environ, "MIREX_PYTHON": sys.executable, **(env or {})}
    command = [*prefix, str(PROJECT / "bin" / script), *map(str, args)]

    def prepare():
        # A shell makes background processes and their children ignore SIGINT.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if before:
            before()

    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def run_calls(calls, **more):
    """Run (script, *arguments) one after the other; return their statuses and logs, which must have no traceback."""
    statuses, log = [], ""
    for script, *args in calls:
        with start(script, *args, **more) as process:
            try:
                log += process.communicate(timeout=120)[1]
            except subprocess.TimeoutExpired:
                end(process)  # otherwise the block would wait for it forever
                raise
        statuses.append(process.returncode)
    assert "Traceback" not in log, log
    return statuses, log


def end(process, number=signal.SIGKILL):
    """Send a signal to all processes of a session, as a terminal does; its leader must not have been reaped."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    if number == signal.SIGKILL:  # also loky's resource tracker, which otherwise removes the semaphores
        wait_for(lambda: not members(process.pid))
        for semaphore in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
            semaphore.unlink()


def members(session):
    """Return the running processes of a session."""
    pids = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session and not gone(pid):
                pids.append(pid)
    return pids


def wait_for(condition):
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, "the condition did not come true"
        time.sleep(0.02)


def gone(pid):
    """Return True if a process has ended, even if it has not been reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def resumed_after(log):
    """Return the epochs after which trainings resumed."""
    return [int(epoch) for epoch in re.findall(r"after epoch (\d+) of \d+", log)]


def files_below(folder):
    """Return {relative path: bytes} of all files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
