"""Run a shell command in its own process group: logged, measured, and ended together with all its child processes.

The group is killed when the command ends, when its time limit is reached, when the caller has to stop, and when the
caller itself is killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import psutil

from mirex_submission.system.atomic import make_folder, storage_error
from mirex_submission.system.inner import open_inner
from mirex_submission.system.progress import printable

GRACE_S = 10.0  # from SIGTERM to SIGKILL
_POLL_S = 0.05
_MEMORY_POLL_S = 0.5
_WATCH_S = 1.0
_LONGEST_LINE = 400
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")  # at the beginning of the lines of our own logs
# The shell replaces itself with the script, even one without an interpreter line. Before that, it starts a guard
# process without a parent: the guard reads from a pipe that only the caller holds open, and kills the group when the
# pipe closes.
_GUARDED = """
exec 3<&0 </dev/null
( (read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 & )
exec 3<&-
exec "$0" "$@"
"""


class Stopped(Exception):
    """The command was ended because the caller has to stop."""


class Stop(Protocol):
    """A stop signal, such as a threading.Event."""

    def is_set(self) -> bool:
        """Return True if the caller has to stop."""


@dataclass(frozen=True)
class Outcome:
    """The result of a command.

    Parameters
    ----------
    status : int
        Exit status as in a shell; 128 + N for signal N.
    seconds : float
        Wall-clock time.
    cpu_seconds : float
        CPU time of the script and of all descendants that were waited for.
    peak_mb : float
        Peak memory of all its processes together in 10^6 bytes, shared pages counted once. It is never less than that
        of the largest process, nor than that of this program, from which the command is forked.
    timed_out : bool
        True if the time limit was reached.
    last_line : str
        The last line of its log that is not blank, printable; only the end of a long line.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    timed_out: bool
    last_line: str


def supervise(
    argv: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str],
    limit_s: float,
    stop: Stop,
    folder: Path | None = None,
) -> Outcome:
    """Run a command until it ends or reaches its time limit, and append its stdout and stderr to a log.

    Parameters
    ----------
    argv : sequence of str
        The command.
    log : Path
        File to append to.
    environment : mapping
        Environment of the command.
    limit_s : float
        Time limit in seconds, math.inf for none.
    stop : Stop
        Ends the command when it is set.
    folder : Path, optional
        Working folder of the command; default: the current folder.

    Returns
    -------
    Outcome

    Raises
    ------
    Stopped
        If `stop` is set before the command ends.
    StorageError
        If the log cannot be written.
    """
    with _begin_log(log, argv) as stream:
        return _supervise(argv, stream, environment, limit_s, stop, folder)


def _supervise(
    argv: Sequence[str],
    stream: BinaryIO,
    environment: Mapping[str, str],
    limit_s: float,
    stop: Stop,
    folder: Path | None,
) -> Outcome:
    read_end, held = os.pipe()
    started_s = time.monotonic()
    try:
        process = _start(argv, stream, environment, read_end, folder)
        try:
            in_time, peak = _wait(process.pid, started_s + limit_s, stop)
            if not in_time:
                os.killpg(process.pid, signal.SIGTERM)
                _wait(process.pid, time.monotonic() + GRACE_S, threading.Event())
        finally:
            seconds = time.monotonic() - started_s
            # The script is not reaped yet, so no other process group can have this id.
            os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.close(held)
    if stop.is_set() and not in_time:
        raise Stopped
    return Outcome(
        status=process.returncode if process.returncode >= 0 else 128 - process.returncode,
        seconds=round(seconds, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_mb=round(max(usage.ru_maxrss * 1024, peak) / 1e6, 1),
        timed_out=not in_time,
        last_line=_last_line(stream),
    )


def _start(
    argv: Sequence[str], stream: BinaryIO, environment: Mapping[str, str], read_end: int, folder: Path | None
) -> subprocess.Popen[bytes]:
    """Start the guarded command in its own session."""
    with open(read_end, "rb") as alive:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARDED, *argv],
            stdin=alive,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )


def _begin_log(log: Path, argv: Sequence[str]) -> BinaryIO:
    """Open the log for appending and reading, and write the command into it."""
    make_folder(log.parent)
    try:
        descriptor = open_inner(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        stream = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - the caller closes it
        stream.write(os.fsencode(f"$ {printable(shlex.join(argv))}\n"))
    except OSError as error:
        raise storage_error(error, log) from error
    return stream


@contextlib.contextmanager
def watched(log: Path, show: Callable[[str], object]) -> Iterator[None]:
    """Call `show` with the last line of a log, without its time, again and again while the block runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_S):
            with contextlib.suppress(OSError), open(open_inner(log), "rb", buffering=0) as stream:
                show(_TIME.sub("", _last_line(stream), count=1))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _last_line(stream: IO[bytes]) -> str:
    # Read from the open file: another file may have its name by now.
    size = os.fstat(stream.fileno()).st_size
    tail = os.pread(stream.fileno(), _LONGEST_LINE, max(0, size - _LONGEST_LINE))
    return printable(tail.decode(errors="replace").strip().rpartition("\n")[2])


def _wait(pid: int, until_s: float, stop: Stop) -> tuple[bool, int]:
    """Wait for the leader of a session without reaping it.

    Returns True if it ended before the time limit and before `stop` was set, and the peak memory in bytes.
    """
    peak, next_look_s = 0, 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        now_s = time.monotonic()
        if stop.is_set() or now_s >= until_s:
            return False, peak
        if now_s >= next_look_s:
            peak, next_look_s = max(peak, _memory(pid)), now_s + _MEMORY_POLL_S
        time.sleep(_POLL_S)
    return True, peak


def _memory(session: int) -> int:
    """Sum the memory of all processes of a session in bytes; a page that n processes share counts 1/n for each.

    The session is used instead of the descendants, because the parent of a process may have ended.
    """
    total = 0
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):  # the process may have ended meanwhile
            if os.getsid(pid) == session:
                total += psutil.Process(pid).memory_full_info().pss
    return total
