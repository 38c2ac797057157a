"""Steps on the workers of a cluster: supervised as on this machine, and stopped when the run ends.

The run writes a heartbeat into a file of the scratch folder, which all hosts share, so that no worker needs to connect
to the host of the run. A worker stops its step in three cases: the heartbeat says that the run has ended; the heartbeat
does not change any more because the run was killed; or another worker has started the same step because the cluster
considered this worker lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from pathlib import Path

from mirex_submission.errors import UsageError, coded
from mirex_submission.evaluation.crossval.step import StepCall, StepResult
from mirex_submission.evaluation.crossval.supervise import GRACE_S, Stopped
from mirex_submission.system.atomic import remove, write_file
from mirex_submission.system.cluster import Cluster, ClusterOptions, check_import, connected

log = logging.getLogger(__name__)

SILENCE_S = 60.0  # time without a new heartbeat; longer than a network file system may show old contents
_BEAT_S = 2.0
_LONGEST_STOP_S = 2 * _BEAT_S + GRACE_S  # longest time until a worker has stopped its step
_RESULT_POLL_S = 0.1
_MOST_WORKERS = 3  # attempts of a step whose worker is lost
_FILES_S = 60.0  # longest time until this host sees a file of another host
_ENDED = "ended"
# Variables that describe the host or the job of a process. All other variables come from the caller.
_OF_HOST = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HOSTNAME",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
)
_OF_JOB = "SLURM_"


@dataclass(frozen=True)
class Heartbeat:
    """The heartbeat of a run, which its workers read.

    Parameters
    ----------
    path : Path
        File in the scratch folder.
    run : str
        Unique name of the run.
    silence_s : float
        Time after which a run without a new heartbeat counts as dead.
    """

    path: Path
    run: str
    silence_s: float

    def read(self) -> str:
        """Return the last heartbeat; `_ENDED` if the run has ended, or the file is missing or of another run."""
        try:
            text = self.path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return _ENDED
        return text if text.startswith(self.run) else _ENDED


@contextlib.contextmanager
def beating(descriptor: int, path: Path, stop: threading.Event) -> Iterator[Heartbeat]:
    """Write a heartbeat into an open file until the block ends or `stop` is set."""
    heartbeat = Heartbeat(path, uuid.uuid4().hex, SILENCE_S)

    def write(text: str) -> None:
        # Overwritten in place: for a minute, other hosts may cache that a file did not exist or was another one.
        os.pwrite(descriptor, f"{text:<60}\n".encode(), 0)
        os.fsync(descriptor)

    def beat() -> None:
        n_beats = 0
        while not stop.wait(_BEAT_S):
            n_beats += 1
            with contextlib.suppress(OSError):  # the disk may be unreachable for a moment
                write(f"{heartbeat.run} {n_beats}")
        with contextlib.suppress(OSError):
            write(_ENDED)

    write(f"{heartbeat.run} 0")
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield heartbeat
    finally:
        stop.set()
        thread.join()


class _Watch:
    """Stop signal for a step on a worker; it checks the heartbeat and the lease every two seconds."""

    def __init__(self, heartbeat: Heartbeat, lease: Path, token: str) -> None:
        self._heartbeat, self._lease, self._token = heartbeat, lease, token
        self._last, self._n_silent = "", 0
        self._next_look_s, self._stop = 0.0, False

    def is_set(self) -> bool:
        if not self._stop and time.monotonic() >= self._next_look_s:
            self._stop = self._must_stop()
            self._next_look_s = time.monotonic() + _BEAT_S
        return self._stop

    def _must_stop(self) -> bool:
        try:
            if self._lease.read_text(encoding="ascii", errors="replace") != self._token:
                return True
            sign = self._heartbeat.read()
        except FileNotFoundError:
            return True
        except OSError:
            sign = self._last
        # Checks are counted, not seconds: a file system that hangs delays this check and the heartbeat equally.
        self._n_silent = self._n_silent + 1 if sign == self._last else 0
        self._last = sign
        return sign == _ENDED or self._n_silent * _BEAT_S >= self._heartbeat.silence_s


def run_on_worker(call: StepCall, heartbeat: Heartbeat) -> StepResult:
    """Run a step in this worker process, unless another worker has completed it.

    Raises
    ------
    UsageError
        This host does not see the scratch folder of the run, or sees outdated contents.
    Stopped
        The run has ended, or another worker has started the step.
    """
    unseen = _unseen([], heartbeat)
    if unseen:
        raise _unshared(socket.gethostname(), unseen)
    step, token = call.step, uuid.uuid4().hex
    lease = step.record.with_suffix(".worker")
    is_taken_over = lease.exists()
    write_file(lease, token.encode())
    watch = _Watch(heartbeat, lease, token)
    try:
        until_s = time.monotonic() + (_LONGEST_STOP_S if is_taken_over else 0)
        while time.monotonic() < until_s and not watch.is_set():  # the other worker may still be running
            time.sleep(_RESULT_POLL_S)
        return step.finished() or replace(call, environment=_environment(call.environment)).run(watch)
    finally:
        with contextlib.suppress(OSError):
            if lease.read_text(encoding="ascii") == token:
                remove(lease)


def _environment(callers: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a step: the caller's, with the host and job variables of this worker."""

    def is_of_host(name: str) -> bool:
        return name in _OF_HOST or name.startswith(_OF_JOB)

    environment = {name: value for name, value in callers.items() if not is_of_host(name)}
    environment |= {name: value for name, value in os.environ.items() if is_of_host(name)}
    if callers.get("CUDA_VISIBLE_DEVICES") == "-1":  # no GPU, as with --device cpu
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    return environment


def _unseen(paths: Sequence[Path], heartbeat: Heartbeat) -> Path | None:
    """Return the first path (or the heartbeat's) that this process does not see as the run does, or None."""
    try:
        if heartbeat.read() == _ENDED:
            return heartbeat.path
    except OSError:
        return heartbeat.path
    return next((path for path in paths if not path.exists()), None)


def _unshared(worker: str, path: Path) -> UsageError:
    return UsageError(
        f"the worker {worker} does not see {path}: all hosts of a cluster must share a file system with the current "
        "folder, the scratch folder, the results, the lists and the submissions under the same paths",
        code="crossval.unshared",
    )


@contextlib.contextmanager
def remote_runner(
    options: ClusterOptions, descriptor: int, lock: Path, stop: threading.Event, paths: Sequence[Path]
) -> Iterator[Callable[[str, StepCall], StepResult]]:
    """Connect to a cluster for the duration of the block; yield a function that runs a step on one of its workers.

    Parameters
    ----------
    options : ClusterOptions
        The cluster.
    descriptor, lock : int and Path
        The open file for the heartbeat, and its path.
    stop : threading.Event
        Stops all steps when it is set; it is set when the block ends.
    paths : sequence of Path
        Files and folders that every worker must see.

    Raises
    ------
    UsageError
        The cluster does not answer, or a worker does not see a path.
    InstallationError
        A worker cannot import this program.
    """
    with connected(options) as cluster, beating(descriptor, lock, stop) as heartbeat:
        for worker, unseen in cluster.everywhere(_unseen, [Path.cwd(), *paths], heartbeat).items():
            check_import(unseen)
            if isinstance(unseen, BaseException):
                raise unseen
            if unseen:
                raise _unshared(worker, unseen)
        yield _Remote(options, cluster, heartbeat, stop).run


@dataclass(frozen=True)
class _Remote:
    options: ClusterOptions
    cluster: Cluster
    heartbeat: Heartbeat
    stop: threading.Event

    def run(self, title: str, call: StepCall) -> StepResult:
        """Run a step on a worker; if the worker is lost, repeat the step on another one."""
        log.info("%s: sent to a worker; log: %s", title, call.step.log)
        call, problem = replace(call, folder=Path.cwd()), ""
        # A worker also stops if it considers this run dead.
        lost: tuple[type[BaseException], ...] = (*self.cluster.lost, Stopped)
        for n_left in reversed(range(_MOST_WORKERS)):
            try:
                result = self._wait(self.cluster.submit(run_on_worker, call, self.heartbeat))
            except lost as error:
                if self.stop.is_set():
                    raise Stopped from error
                worker = getattr(getattr(error, "last_worker", None), "address", "that ran it")
                text = f"the worker {worker} was lost ({type(error).__name__}): see its own log for the reason"
                problem = coded(text, code="crossval.worker-lost")
                if n_left:
                    log.warning("%s: sent to another worker: %s", title, problem)
            else:
                _wait_for_files(call.step.outputs if not result.problem else ())
                return result
        return call.step.lost(problem)

    def _wait(self, future: Future[StepResult]) -> StepResult:
        """Wait for the result; after `stop` is set, only as long as a worker needs to stop its step."""
        until_s = None
        while not wait_for([future], timeout=_RESULT_POLL_S).done:
            if self.stop.is_set():
                until_s = until_s or time.monotonic() + _LONGEST_STOP_S
                if time.monotonic() > until_s:
                    future.cancel()
                    raise Stopped
        try:
            return future.result()
        except CancelledError as error:
            if self.stop.is_set():
                raise Stopped from error
            raise UsageError(
                f"the {self.options.backend} cluster does not answer: start it again and repeat the command to resume",
                code="usage.no-cluster",
            ) from error


def _wait_for_files(paths: Sequence[Path]) -> None:
    """Wait until this host sees the files of a worker: a network file system may cache that they did not exist."""
    until_s = time.monotonic() + _FILES_S
    while not all(path.is_file() for path in paths) and time.monotonic() < until_s:
        time.sleep(_RESULT_POLL_S)
