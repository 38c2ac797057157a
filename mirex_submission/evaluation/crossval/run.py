"""Runs the plans of a cross-validation: extraction once, then the folds, one after the other or side by side.

What has ended well before is not called again; whatever ends a run ends its calls, and the same run goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from mirex_submission.errors import StorageError, UsageError
from mirex_submission.evaluation.crossval.plan import FoldPlan, Plan
from mirex_submission.evaluation.crossval.step import Call, Step
from mirex_submission.evaluation.crossval.system import OWN_FOLDER, Submission
from mirex_submission.system.atomic import make_folder, remove, storage_error, write_file
from mirex_submission.system.progress import duration

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FoldRun:
    """The calls of one fold and the files that it left, None for what it did not."""

    calls: list[Call]
    output: Path | None = None
    probabilities: Path | None = None
    history: Path | None = None


@dataclass(frozen=True)
class SystemRun:
    """What became of one submission; folds : in the order of the plan, empty where extraction failed."""

    plan: Plan
    extraction: Call | None
    folds: list[FoldRun]


def run(
    plans: Sequence[Plan],
    scratch: Path,
    *,
    n_jobs: int,
    device: str,
    limit_s: float,
    environment: Mapping[str, str],
) -> list[SystemRun]:
    """Make all calls of one plan after the other that have not ended well before.

    n_jobs : folds side by side; with several GPUs each has one of its own, as far as they go. limit_s : of each call.
    environment : the caller's, before this program set anything for itself.

    A submission that fails has calls with a fault. Raises UsageError where another run is on `scratch`, and
    StorageError.
    """
    if device == "cpu":
        environment = {**environment, "CUDA_VISIBLE_DEVICES": "-1"}
    with _locked(scratch):
        runs = [_System(plan, n_jobs, limit_s, environment).run() for plan in plans]
    for submission in {plan.submission.folder: plan.submission for plan in plans}.values():
        if submission.current_digest() != submission.digest:
            log.warning(
                "%s: its files have changed meanwhile: the next run makes all its calls again", submission.folder
            )
    return runs


@contextlib.contextmanager
def _locked(scratch: Path) -> Iterator[None]:
    path = make_folder(scratch) / ".lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(f"{scratch}: another crossval is running here: wait, or give another --scratch") from None
    finally:
        os.close(lock)


class _System:
    """One submission's calls, while they are made."""

    def __init__(self, plan: Plan, n_jobs: int, limit_s: float, environment: Mapping[str, str]) -> None:
        self._plan, self._n_jobs, self._limit_s = plan, n_jobs, limit_s
        self._environment = _environment_of(plan.submission, environment)
        self._stop = threading.Event()
        self._gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        gpus = _gpus(self._environment) if n_jobs > 1 else []
        for k in range(n_jobs):
            self._gpus.put(gpus[k % len(gpus)] if len(gpus) > 1 else None)

    def run(self) -> SystemRun:
        plan, extraction = self._plan, None
        make_folder(plan.outputs)
        if plan.extraction:
            [extraction] = self._side_by_side([partial(self._extract, plan.extraction)])
        if extraction and extraction.fault:
            return SystemRun(plan, extraction, [FoldRun([]) for _ in plan.folds])
        return SystemRun(plan, extraction, self._side_by_side([partial(self._fold, fold) for fold in plan.folds]))

    def _side_by_side(self, works: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Do all of them, n_jobs at a time. Whatever is raised, here or in one of them, ends all calls."""
        with ThreadPoolExecutor(self._n_jobs) as pool:
            try:
                futures = [pool.submit(work) for work in works]
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                return [future.result() for future in futures]
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _extract(self, step: Step) -> Call:
        name, folder = self._plan.submission.name, self._plan.scratch

        def prepare() -> None:
            # Ours tells by itself what of it is still true; of any other what another extraction left is not to be.
            if not self._plan.submission.own and not step.begun():
                remove(folder)
            make_folder(folder)

        return self._call(name, step, self._environment, prepare)

    def _fold(self, fold: FoldPlan) -> FoldRun:
        what = f"{self._plan.submission.name} {fold.lists.name}"
        before = [call for step in fold.steps if (call := step.noted())]
        if len(before) == len(fold.steps) and fold.steps[-1].finished():
            log.info("%s: done before", what)
            return _collect(fold, before)
        gpu = self._gpus.get()
        environment = {**self._environment, "CUDA_VISIBLE_DEVICES": gpu} if gpu else self._environment
        calls: list[Call] = []
        try:
            for step in fold.steps:
                calls.append(self._call(what, step, environment, partial(self._prepare, fold, step)))
                if calls[-1].fault:
                    break
        finally:
            self._gpus.put(gpu)
        return _collect(fold, calls)

    def _prepare(self, fold: FoldPlan, step: Step) -> None:
        """Leave nothing of an earlier time, which could be taken for what this call or the next one writes."""
        for path in (fold.output, fold.failed, fold.probabilities, fold.history):
            if path:
                remove(path)
        if fold.copied and step is fold.steps[0]:
            _copy(self._plan.scratch, fold.scratch)

    def _call(self, whose: str, step: Step, environment: Mapping[str, str], prepare: Callable[[], object]) -> Call:
        what = f"{whose} {step.call}"
        call = step.finished()
        if call:
            log.info("%s: done before", what)
            return call
        prepare()
        log.info("%s: begins; its log is %s", what, step.log)
        call = step.run(environment=environment, limit_s=self._limit_s, stop=self._stop)
        if call.fault:
            log.warning("%s: %s", what, call.fault)
        else:
            log.info("%s: done in %s, peak memory %.0f MB", what, duration(call.seconds), call.peak_mb)
        return call


def _collect(fold: FoldPlan, calls: list[Call]) -> FoldRun:
    if calls[-1].fault:
        with contextlib.suppress(FileNotFoundError):
            fold.output.rename(fold.failed)
        return FoldRun(calls)
    if fold.copied:
        remove(fold.scratch)
    if fold.models_history and fold.models_history.exists():
        write_file(fold.history, fold.models_history.read_bytes())
    return FoldRun(calls, fold.output, fold.probabilities, fold.history if fold.history.exists() else None)


def _copy(source: Path, target: Path) -> None:
    """Make `target` a copy of a folder, sharing its blocks where the file system can."""
    remove(target)
    make_folder(target)
    if source.exists():
        command = ["cp", "-a", "--reflink=auto", f"{source}/.", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise StorageError(f"{target}: cannot be made a copy of {source}: {done.stderr.strip()}: free some space")


def _environment_of(submission: Submission, environment: Mapping[str, str]) -> dict[str, str]:
    # bin/mirex-submission.sh sets it for itself; a system in Python may need what lies beside its script.
    inherited = {name: value for name, value in environment.items() if name != "PYTHONSAFEPATH"}
    if submission.folder.resolve() == OWN_FOLDER or not submission.own:  # another version of ours has its own Python
        inherited.setdefault("MIREX_PYTHON", sys.executable)
    return inherited


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that calls may use."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):  # no driver, or no GPU
        return []
