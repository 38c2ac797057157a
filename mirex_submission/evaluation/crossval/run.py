"""Runs the plans of a cross-validation: extraction once, then the folds, one after the other or side by side.

A step that has ended well before is not repeated. Whatever ends a run ends its steps, and the same command resumes it.
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

from mirex_submission.errors import StorageError, UsageError, coded
from mirex_submission.evaluation.crossval.plan import FoldPlan, Plan
from mirex_submission.evaluation.crossval.step import Step, StepResult
from mirex_submission.evaluation.crossval.system import OWN_FOLDER, Submission
from mirex_submission.system.atomic import make_folder, remove, storage_error, write_file
from mirex_submission.system.inner import open_inner
from mirex_submission.system.progress import Progress, duration

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class FoldRun:
    """The results of one fold's steps and the files that it left, None for those that it did not."""

    steps: list[StepResult]
    output: Path | None = None
    probabilities: Path | None = None
    history: Path | None = None


@dataclass(frozen=True)
class SystemRun:
    """The results of one submission; folds : in the order of the plan, without steps where extraction failed."""

    plan: Plan
    extraction: StepResult | None
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
    """Run all steps that have not ended well before, one submission after the other.

    Parameters
    ----------
    plans : sequence of Plan
        The submissions.
    scratch : Path
        Folder of the scratch folders and records.
    n_jobs : int
        Folds side by side; with several GPUs each fold gets one of its own, as far as they go.
    device : str
        With "cpu" no step sees a GPU.
    limit_s : float
        Time limit of each step in seconds.
    environment : mapping
        The caller's environment, before this program set anything for itself.

    Returns
    -------
    list of SystemRun
        A submission that fails has steps with a problem.

    Raises
    ------
    UsageError
        If another run uses `scratch`.
    StorageError
        If the disk does not take the files.
    """
    if device == "cpu":
        environment = {**environment, "CUDA_VISIBLE_DEVICES": "-1"}
    with _locked(scratch):
        runs = [_SystemRunner(plan, n_jobs, limit_s, environment).run() for plan in plans]
    for submission in {plan.submission.folder: plan.submission for plan in plans}.values():
        if submission.current_digest() != submission.digest:
            warning = f"{submission.folder}: its files have changed meanwhile: the next run repeats all its steps"
            log.warning("%s", coded(warning, code="crossval.changed-submission"))
    return runs


@contextlib.contextmanager
def _locked(scratch: Path) -> Iterator[None]:
    path = make_folder(scratch) / ".lock"
    try:
        lock = open_inner(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        problem = f"{scratch}: another crossval is running here: wait, or give another --scratch"
        raise UsageError(problem, code="crossval.locked") from None
    finally:
        os.close(lock)


class _SystemRunner:
    """Runs the steps of one submission."""

    def __init__(self, plan: Plan, n_jobs: int, limit_s: float, environment: Mapping[str, str]) -> None:
        self._plan, self._n_jobs, self._limit_s = plan, n_jobs, limit_s
        n_steps = bool(plan.extraction) + sum(len(fold.steps) for fold in plan.folds)
        self._progress = Progress(plan.submission.name, n_steps, unit="steps")
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
        if extraction and extraction.problem:
            return SystemRun(plan, extraction, [FoldRun([]) for _ in plan.folds])
        folds = self._side_by_side([partial(self._fold, fold) for fold in plan.folds])
        self._progress.close()
        return SystemRun(plan, extraction, folds)

    def _side_by_side(self, tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Run all tasks, n_jobs at a time. Any exception, here or in one of them, ends all steps."""
        with ThreadPoolExecutor(self._n_jobs) as pool:
            try:
                futures = [pool.submit(task) for task in tasks]
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
                return [future.result() for future in futures]
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _extract(self, step: Step) -> StepResult:
        name, folder = self._plan.submission.name, self._plan.scratch

        def prepare() -> None:
            # Our extraction checks what it finds there; of any other system nothing of another extraction may stay.
            if not self._plan.submission.own and not step.attempts():
                remove(folder)
            make_folder(folder)

        return self._run_step(name, step, self._environment, prepare)

    def _fold(self, fold: FoldPlan) -> FoldRun:
        title = f"{self._plan.submission.name} {fold.lists.name}"
        earlier = [result for step in fold.steps if (result := step.earlier_result())]
        if len(earlier) == len(fold.steps) and fold.steps[-1].finished():
            log.info("%s: done before", title)
            self._progress.advance(len(earlier))
            return _collect(fold, earlier)
        gpu = self._gpus.get()
        environment = {**self._environment, "CUDA_VISIBLE_DEVICES": gpu} if gpu else self._environment
        results: list[StepResult] = []
        try:
            for step in fold.steps:
                results.append(self._run_step(title, step, environment, partial(self._prepare, fold, step)))
                if results[-1].problem:
                    break
        finally:
            self._gpus.put(gpu)
        return _collect(fold, results)

    def _prepare(self, fold: FoldPlan, step: Step) -> None:
        """Remove earlier files, which could be taken for what this step or the next one writes."""
        for path in (fold.output, fold.failed, fold.probabilities, fold.history):
            if path:
                remove(path)
        if fold.copied and step is fold.steps[0]:
            _copy(self._plan.scratch, fold.scratch)

    def _run_step(
        self, owner: str, step: Step, environment: Mapping[str, str], prepare: Callable[[], object]
    ) -> StepResult:
        title = f"{owner} {step.name}"
        result = step.finished()
        if result:
            log.info("%s: done before", title)
            self._progress.advance()
            return result
        prepare()
        log.info("%s: begins; its log is %s", title, step.log)
        result = step.run(environment=environment, limit_s=self._limit_s, stop=self._stop)
        if result.problem:
            log.warning("%s: %s", title, result.problem)
        else:
            log.info("%s: done in %s, peak memory %.0f MB", title, duration(result.seconds), result.peak_mb)
        self._progress.advance()
        return result


def _collect(fold: FoldPlan, results: list[StepResult]) -> FoldRun:
    """Keep the files of a fold: its output under another name if a step failed."""
    if results[-1].problem:
        with contextlib.suppress(FileNotFoundError):
            fold.output.rename(fold.failed)
        return FoldRun(results)
    if fold.copied:
        remove(fold.scratch)
    if fold.models_history and fold.models_history.exists():
        write_file(fold.history, fold.models_history.read_bytes())
    return FoldRun(results, fold.output, fold.probabilities, fold.history if fold.history.exists() else None)


def _copy(source: Path, target: Path) -> None:
    """Make `target` a copy of a folder, sharing its blocks where the file system can."""
    remove(target)
    make_folder(target)
    if source.exists():
        command = ["cp", "-a", "--reflink=auto", f"{source}/.", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            problem = f"{target}: cannot be made a copy of {source}: {done.stderr.strip()}: free some space"
            raise StorageError(problem, code="crossval.copy")


def _environment_of(submission: Submission, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a submission's steps."""
    # bin/mirex-submission.sh sets it for itself; a system in Python may need the modules beside its script.
    inherited = {name: value for name, value in environment.items() if name != "PYTHONSAFEPATH"}
    if submission.folder.resolve() == OWN_FOLDER or not submission.own:  # another version of ours has its own Python
        inherited.setdefault("MIREX_PYTHON", sys.executable)
    return inherited


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """List the GPUs that steps may use."""
    if "CUDA_VISIBLE_DEVICES" in environment:
        return [gpu for gpu in environment["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):  # no driver, or no GPU
        return []
