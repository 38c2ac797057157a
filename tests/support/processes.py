"""Calls in processes of their own: how tests start them, end them, and what they wait for."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from project import PROJECT

PATIENCE_S = 60.0


def start(script, *args, env=None, prefix=(), before=None):
    """A script of bin/, as the leader of a session: what it says comes through its stderr.

    prefix : a command that becomes the one behind it. before : what the process does before it becomes the script.
    """
    environment = {**os.environ, "MIREX_PYTHON": sys.executable, **(env or {})}
    command = [*prefix, str(PROJECT / "bin" / script), *map(str, args)]

    def prepare():
        # A shell that runs the tests in the background makes them ignore SIGINT, and their children too.
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
    """Run (script, *arguments) one after the other: their statuses, and what they said, which is no traceback."""
    statuses, said = [], ""
    for script, *args in calls:
        with start(script, *args, **more) as process:
            try:
                said += process.communicate(timeout=120)[1]
            except subprocess.TimeoutExpired:
                end(process)  # else the block would wait for it without end
                raise
        statuses.append(process.returncode)
    assert "Traceback" not in said, said
    return statuses, said


def end(process, number=signal.SIGKILL):
    """Signal all processes of a session whose leader is not reaped yet, as a terminal does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    if number == signal.SIGKILL:  # the tracker of loky's semaphores too, which takes them away after any other end
        wait_for(lambda: not members(process.pid))
        for semaphore in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
            semaphore.unlink()


def members(session):
    """The processes of a session that run."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session and not gone(pid):
                found.append(pid)
    return found


def wait_for(is_so):
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    """Whether a process runs no more; one that nobody has reaped counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def files_below(folder):
    """{relative path: bytes} of all files, however deep."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
