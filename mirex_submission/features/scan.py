"""A pass over audio files in worker processes, in which a crash of a decoder affects one file only.

Audio is decoded in worker processes only, so a decoder that crashes loses one track and does not end the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import joblib
from msgspec import Struct

from mirex_submission.errors import AudioError, ResourceError, StorageError, UsageError, coded
from mirex_submission.features.logmel import method
from mirex_submission.system.progress import duration
from mirex_submission.system.workers import WorkerLost, Workers, check_imports

log = logging.getLogger(__name__)

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


class Scanned(Struct, Generic[Item, Result], frozen=True):
    """Result of an item, or the reason (with its code) why there is none; and the seconds that it took."""

    item: Item
    result: Result | None = None
    reason: str = ""
    seconds: float = 0.0


def scan(measure: Callable[[Item], Result], items: Sequence[Item], workers: Workers) -> Iterator[Scanned[Item, Result]]:
    """Measure items in parallel, and yield the results in no particular order.

    If a worker dies, the items that it may have had are measured again, one at a time, to find the one that kills it.

    Parameters
    ----------
    measure : callable
        Function of a module that takes an item, and may raise AudioError. Its result should be small.
    items : sequence
        Distinct full paths of files, or tuples that have them.
    workers : Workers
        Processes that measure.

    Raises
    ------
    ResourceError, InstallationError
        Workers die even without an item, for example because memory is short.
    StorageError, UsageError, ResourceError, ImportError
        An error of `measure` that every other item would have too.
    """
    left = dict.fromkeys(items)
    with workers.joined():
        while left:
            begun: dict[Item, None] = {}

            def tasks(items: Sequence[Item] = tuple(left), begun: dict[Item, None] = begun) -> Iterator[object]:
                for item in items:
                    begun[item] = None
                    yield joblib.delayed(measured)(measure, item, workers.limit_s)

            try:
                for scanned in workers.run(tasks()):
                    del begun[scanned.item], left[scanned.item]
                    yield scanned
            except WorkerLost:
                text = f"a process that decodes audio was killed: {len(begun)} tracks are repeated one at a time"
                log.warning("%s", coded(text, code="limits.worker-killed"))
                for item in begun:
                    del left[item]
                    yield _alone(measure, item, workers)


def measured(measure: Callable[[Item], Result], item: Item, limit_s: float = Workers.limit_s) -> Scanned[Item, Result]:
    """Measure one item. Raises the errors of `scan`."""
    started_s = time.perf_counter()
    result, reason = None, ""
    try:
        with time_limit(limit_s):
            result = measure(item)
    except (StorageError, UsageError, ResourceError, ImportError):
        raise
    except AudioError as error:
        reason = str(error)
    # An unexpected error of a decoder must not end a run of days.
    except Exception as error:  # noqa: BLE001
        reason = coded(f"unexpected {type(error).__name__}: {error}", code="audio.unexpected")
    return Scanned(item, result, reason, time.perf_counter() - started_s)


def _alone(measure: Callable[[Item], Result], item: Item, workers: Workers) -> Scanned[Item, Result]:
    scanned: Scanned[Item, Result]
    try:
        (scanned,) = workers.run([joblib.delayed(measured)(measure, item, workers.limit_s)])
    except WorkerLost:
        _check_workers(measure, workers)
        text = "kills the process that decodes it: a decoder crash, or no memory"
        scanned = Scanned(item, reason=coded(text, code="audio.crash"))
    return scanned


def _check_workers(measure: Callable[[Item], Result], workers: Workers) -> None:
    try:
        for _ in workers.run([joblib.delayed(_load)(measure)]):
            pass
    except WorkerLost as error:
        check_imports("mirex_submission.features.extraction")
        raise ResourceError(
            "processes that decode audio die at their start: raise the memory limits (`ulimit -a`, the "
            "container's) or give a smaller -numThreads; finished work is kept",
            code="limits.workers",
        ) from error


def _load(measure: Callable[[Item], Result]) -> str:
    """Load all modules that an extraction loads, in a worker; unpickling `measure` has loaded the others."""
    return method()


class _Expired(Exception):
    """The time limit of a track is reached."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the block with an AudioError after this time."""
    is_main = threading.current_thread() is threading.main_thread()
    try:
        with _alarm(seconds) if is_main else _watched(seconds):
            yield
    except _Expired:
        text = f"not decoded within {duration(seconds)}: raise --track-limit, or shorten the track"
        raise AudioError(text, code="audio.track-limit") from None


# The exception is raised again every second, because one inside a decoder's callback is lost.
_AGAIN_S = 1.0


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _Expired in the main thread after this time."""

    def end(*_: object) -> None:
        raise _Expired

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _watched(seconds: float) -> Iterator[None]:
    """Raise _Expired after this time in the calling thread, as one of Dask: signals reach only the main thread."""
    thread, lock, ended = ctypes.c_ulong(threading.get_ident()), threading.Lock(), threading.Event()

    def watch() -> None:
        wait_s = seconds
        while not ended.wait(wait_s):
            wait_s = _AGAIN_S
            with lock:
                if not ended.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_Expired))

    try:
        threading.Thread(target=watch, daemon=True).start()
        yield
    finally:
        while not ended.is_set():
            # The exception may come at this moment, too.
            with contextlib.suppress(_Expired), lock:
                ended.set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # one that is on its way


@contextlib.contextmanager
def without_output() -> Iterator[None]:
    """Drop the output of decoders and views, which does not name the track; notes report all problems."""
    sys.stdout.flush()
    kept = [os.dup(fd) for fd in (1, 2)]
    try:
        with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
            for fd in (1, 2):
                os.dup2(nothing.fileno(), fd)
            yield
    finally:
        for fd, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, fd)
            os.close(copy)
