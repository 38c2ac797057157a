"""One shell call of a submission: supervised, measured, logged, and not made again once it has ended well.

A call runs in a process group of its own, with stdout and stderr in one log. The whole group is ended when the call
is over, when its time is up, when the caller is told to stop, and when the caller itself is killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from mirex_submission.system.atomic import make_folder, sha256, storage_error, write_file
from mirex_submission.system.progress import duration, printable

GRACE_S = 10.0  # from SIGTERM to SIGKILL
_POLL_S = 0.05
_LOOK_S = 0.5  # between two looks at the memory of a call, which take a millisecond
_LONGEST_LINE = 400
# The shell becomes the script, also one without a first line that names its interpreter. Before that it leaves behind
# a guard that is nobody's child: it reads from a pipe that only we hold open, and ends the group when we are gone.
_GUARDED = """
exec 3<&0 </dev/null
( (read -r _ <&3; kill -s KILL 0) >/dev/null 2>&1 & )
exec 3<&-
exec "$0" "$@"
"""


class Stopped(Exception):
    """The call was ended because the caller is to stop."""


@dataclass(frozen=True)
class Ended:
    """How a call ended.

    status : as a shell has it, 128 + N for signal N. seconds : wall clock. cpu_seconds : of the script and of all below
    it that was waited for. peak_mb : the most that was seen of the memory of all its processes together, shared pages
    counted once, in 10^6 bytes; never less than the largest of them, nor than this program, from which it is forked.
    """

    status: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    timed_out: bool


def supervise(
    argv: Sequence[str], log: Path, *, environment: Mapping[str, str], limit_s: float, stop: threading.Event
) -> Ended:
    """Run a command to its end, or to its time limit; what it says is added to `log`.

    Raises Stopped if `stop` is set meanwhile.
    """
    read_end, held = os.pipe()
    started_s = time.monotonic()
    try:
        with open(read_end, "rb") as alive, _begin_log(log, argv) as said:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDED, *argv],
                stdin=alive,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        try:
            in_time, peak_kib = _ends(process.pid, started_s + limit_s, stop)
            if not in_time:
                os.killpg(process.pid, signal.SIGTERM)
                _ends(process.pid, time.monotonic() + GRACE_S, threading.Event())
        finally:
            seconds = time.monotonic() - started_s
            # The script is not reaped yet, so that the group's number is still its own.
            os.killpg(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        os.close(held)
    if stop.is_set() and not in_time:
        raise Stopped
    return Ended(
        status=process.returncode if process.returncode >= 0 else 128 - process.returncode,
        seconds=round(seconds, 2),
        cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        peak_mb=round(max(usage.ru_maxrss, peak_kib) * 1024 / 1e6, 1),
        timed_out=not in_time,
    )


def _begin_log(log: Path, argv: Sequence[str]) -> BinaryIO:
    """The log, opened to be added to, with the command in it."""
    make_folder(log.parent)
    try:
        said = open(log, "ab", buffering=0)  # noqa: SIM115 - the caller closes it
        said.write(os.fsencode(f"$ {shlex.join(argv)}\n"))
    except OSError as error:
        raise storage_error(error, log) from error
    return said


def _ends(pid: int, until_s: float, stop: threading.Event) -> tuple[bool, int]:
    """Wait for the leader of a session, which is not reaped.

    Returns whether it ended before the time was up or the caller was to stop, and the most memory of the session, KiB.
    """
    peak_kib, next_look_s = 0, 0.0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        now_s = time.monotonic()
        if stop.is_set() or now_s >= until_s:
            return False, peak_kib
        if now_s >= next_look_s:
            peak_kib, next_look_s = max(peak_kib, _memory_kib(pid)), now_s + _LOOK_S
        time.sleep(_POLL_S)
    return True, peak_kib


def _memory_kib(session: int) -> int:
    """What all processes of a session hold, each of n that share a page an n-th of it."""
    total = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.getsid(int(name)) == session:
                found = re.search(rb"^Pss: *(\d+) kB", Path(f"/proc/{name}/smaps_rollup").read_bytes(), re.MULTILINE)
                total += int(found[1]) if found else 0
    return total


@dataclass(frozen=True)
class Call:
    """A call that was made. attempts : how often it was begun. fault : why it does not count, None if it does."""

    call: str
    argv: list[str]
    status: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    log: str
    attempts: int
    fault: str | None


@dataclass(frozen=True)
class Step:
    """A call to make.

    lists : files that decide what it does, beside argv. after : the key of what it goes on from. leaves : the files
    that it has to write. folder : what it leaves beside them, if anything. record : where it is noted how it ended.
    """

    call: str
    argv: list[str]
    lists: Sequence[Path]
    after: str
    leaves: Sequence[Path]
    folder: Path | None
    log: Path
    record: Path

    @cached_property
    def key(self) -> str:
        """Of all that decides what the call does: equal keys, equal calls."""
        decides = json.dumps([self.argv, [sha256(path) for path in self.lists], self.after])
        return hashlib.sha256(decides.encode()).hexdigest()

    def begun(self) -> int:
        """How often it was begun before."""
        return int(self._noted().get("attempts", 0))

    def noted(self) -> Call | None:
        """The call as it was made before, if it ended well."""
        call = self._noted().get("call")
        return Call(**call) if call and not call["fault"] else None

    def finished(self) -> Call | None:
        """The same, if what it left is still there as it was."""
        intact = self._noted().get("left") == self._left() and (self.folder is None or self.folder.is_dir())
        return self.noted() if intact else None

    def run(self, *, environment: Mapping[str, str], limit_s: float, stop: threading.Event) -> Call:
        """Make the call now, and note how it ended. Raises Stopped, and StorageError."""
        attempts = self.begun() + 1
        self._note({"attempts": attempts})
        ended = supervise(self.argv, self.log, environment=environment, limit_s=limit_s, stop=stop)
        for path in filter(Path.is_symlink, self.leaves):  # what it leads to may go
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                path.unlink()
                write_file(path, content)
        left = self._left()
        fault = None
        if ended.timed_out:
            fault = f"ended at its time limit of {duration(limit_s)}"
        elif ended.status:
            fault = f"status {ended.status}"
        elif None in left.values():
            missing = next(path for path, content in left.items() if content is None)
            fault = f"status 0, but it did not write {missing}"
        if fault:
            fault += f"; its log, {self.log}, ends: {_last_line(self.log)}"
        measured = {name: value for name, value in dataclasses.asdict(ended).items() if name != "timed_out"}
        call = Call(self.call, self.argv, log=str(self.log), attempts=attempts, fault=fault, **measured)
        self._note({"attempts": attempts, "call": dataclasses.asdict(call), "left": left})
        return call

    def _left(self) -> dict[str, str | None]:
        """{file: its hash, None if it is not there}."""
        return {str(path): sha256(path) if path.is_file() else None for path in self.leaves}

    def _noted(self) -> dict[str, Any]:
        """What is noted of a call with this key; empty if there was none."""
        try:
            noted = json.loads(self.record.read_bytes())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) and noted.get("key") == self.key else {}

    def _note(self, what: dict[str, Any]) -> None:
        write_file(self.record, json.dumps({"key": self.key, **what}, indent=1).encode())


def _last_line(log: Path) -> str:
    """The last line of a log that says anything, its own end if it is long."""
    with open(log, "rb") as f:
        f.seek(max(0, os.fstat(f.fileno()).st_size - _LONGEST_LINE))
        return printable(f.read().decode(errors="replace").strip().rpartition("\n")[2])
