"""Run the plans of a cross-validation: extraction once, then the folds, one after the other or in parallel.

A step that has already succeeded is not repeated. If a run is interrupted, its steps are stopped too; the same command
resumes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import math
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
from typing import TypeAlias, TypeVar

from mirex_submission.errors import StorageError, UsageError, coded
from mirex_submission.evaluation.crossval.plan import FoldPlan, Plan, StressStep
from mirex_submission.evaluation.crossval.remote import remote_runner
from mirex_submission.evaluation.crossval.step import Step, StepCall, StepResult
from mirex_submission.evaluation.crossval.supervise import Stopped, watched
from mirex_submission.evaluation.crossval.system import OWN_FOLDER, Submission
from mirex_submission.system.atomic import make_folder, remove, storage_error, write_file
from mirex_submission.system.cluster import ClusterOptions
from mirex_submission.system.inner import open_inner
from mirex_submission.system.progress import Progress, duration

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_StepRunner: TypeAlias = Callable[[str, StepCall], StepResult]
_LOCK = ".lock"
_MOST_AT_A_TIME = 256  # folds that wait for a cluster at the same time, each in a thread of this process


@dataclass(frozen=True)
class FoldRun:
    """The results of one fold's steps, and the files that they wrote (None for missing ones)."""

    steps: list[StepResult]
    output: Path | None = None
    probabilities: Path | None = None
    history: Path | None = None


@dataclass(frozen=True)
class SystemRun:
    """The results of one submission; folds : in the order of the plan, without steps if extraction failed."""

    plan: Plan
    extraction: StepResult | None
    folds: list[FoldRun]


def run(
    plans: Sequence[Plan],
    scratch: Path,
    *,
    n_jobs: int | None,
    device: str,
    limit_s: float,
    environment: Mapping[str, str],
    cluster: ClusterOptions,
    then: Callable[[Runner, Sequence[SystemRun]], object] = lambda runner, runs: None,
) -> list[SystemRun]:
    """Run all steps that have not succeeded yet: one submission after the other, or on a cluster all in parallel.

    Parameters
    ----------
    plans : sequence of Plan
        The submissions.
    scratch : Path
        Folder of the scratch folders and records.
    n_jobs : int or None
        Number of folds in parallel; if this machine has several GPUs, the folds share them evenly. None: one, or on a
        cluster all.
    device : str
        With "cpu" no step sees a GPU.
    limit_s : float
        Time limit of each step in seconds.
    environment : mapping
        The caller's environment, without the changes of this program.
    cluster : ClusterOptions
        The cluster, or this machine.
    then : callable
        Called afterwards with the runner and the results, for the steps on altered audio.

    Returns
    -------
    list of SystemRun
        A failed submission has steps with a problem.

    Raises
    ------
    UsageError
        If another run uses `scratch`, or the cluster does not answer or does not see the folders.
    StorageError
        If files cannot be written.
    """
    if device == "cpu":
        environment = {**environment, "CUDA_VISIBLE_DEVICES": "-1"}
    n_folds = sum(len(plan.folds) for plan in plans)
    n_jobs = n_jobs or (1 if cluster.local else min(n_folds, _MOST_AT_A_TIME))
    stop = threading.Event()
    for plan in plans:
        make_folder(plan.outputs)
    with (
        _locked(scratch) as lock,
        _step_runner(cluster, lock, scratch, stop, plans) as run_step,
        ThreadPoolExecutor(n_jobs) as pool,
        # On this machine one submission after the other, so that their times can be compared.
        ThreadPoolExecutor(1 if cluster.local else len(plans)) as systems,
    ):
        gpus = _gpus(environment) if cluster.local and n_jobs > 1 else []
        n_steps = sum(bool(plan.extraction) + sum(len(fold.steps) for fold in plan.folds) for plan in plans)
        progress = Progress("crossval", n_steps, unit="steps", alike=False)
        runner = Runner(run_step, pool, stop, progress, limit_s, environment, n_jobs, gpus)
        try:
            runs = _results(systems, [partial(runner.system, plan) for plan in plans])
            progress.close()
            then(runner, runs)
        finally:  # an exception, here or in a step, stops all steps
            stop.set()
    _warn_of_changes(plans)
    return runs


def _warn_of_changes(plans: Sequence[Plan]) -> None:
    for submission in {plan.submission.folder: plan.submission for plan in plans}.values():
        if submission.current_digest() != submission.digest:
            warning = f"{submission.folder}: files changed during the run: the next run will repeat all its steps"
            log.warning("%s", coded(warning, code="crossval.changed-submission"))


@contextlib.contextmanager
def _locked(scratch: Path) -> Iterator[int]:
    """Lock a scratch folder for the duration of the block; yields the descriptor of the lock."""
    path = make_folder(scratch) / _LOCK
    try:
        lock = open_inner(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    except BlockingIOError:
        problem = f"{scratch}: another crossval uses this scratch folder: wait, or give another --scratch"
        raise UsageError(problem, code="crossval.locked") from None
    finally:
        os.close(lock)


@contextlib.contextmanager
def _step_runner(
    cluster: ClusterOptions, lock: int, scratch: Path, stop: threading.Event, plans: Sequence[Plan]
) -> Iterator[_StepRunner]:
    """Yield the function that runs a step, on this machine or on a cluster."""
    if cluster.local:
        yield partial(_run_here, stop)
        return
    paths = [path for plan in plans for path in (plan.submission.folder, plan.outputs)]
    paths += [path for fold in plans[0].folds for path in (fold.lists.train, fold.lists.test)]
    with remote_runner(cluster, lock, scratch / _LOCK, stop, paths) as run_step:
        yield run_step


def _run_here(stop: threading.Event, title: str, call: StepCall) -> StepResult:
    log.info("%s: started; log: %s", title, call.step.log)
    return call.run(stop)


def _results(pool: ThreadPoolExecutor, tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Run all tasks and return their results; raise the first exception immediately."""
    futures = [pool.submit(task) for task in tasks]
    for future in wait(futures, return_when=FIRST_EXCEPTION).done:
        future.result()
    return [future.result() for future in futures]


class Runner:
    """Runs the steps of submissions.

    Parameters
    ----------
    run_step : callable
        Runs a step, on this machine or on a cluster.
    pool : ThreadPoolExecutor
        For the folds of all submissions.
    stop : threading.Event
        After it is set, no step starts.
    progress : Progress
        Counts the steps of all submissions.
    limit_s : float
        Time limit of each step in seconds.
    environment : mapping
        The caller's environment.
    n_jobs : int
        Number of folds in parallel.
    gpus : sequence of str
        GPUs that the folds share.
    """

    def __init__(
        self,
        run_step: _StepRunner,
        pool: ThreadPoolExecutor,
        stop: threading.Event,
        progress: Progress,
        limit_s: float,
        environment: Mapping[str, str],
        n_jobs: int,
        gpus: Sequence[str],
    ) -> None:
        self._call, self._pool, self._stop, self._progress = run_step, pool, stop, progress
        self._limit_s, self._environment = limit_s, environment
        self._locks: dict[Path, threading.Lock] = {}
        self._gpus: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        for k in range(n_jobs):
            self._gpus.put(gpus[k % len(gpus)] if len(gpus) > 1 else None)

    def system(self, plan: Plan) -> SystemRun:
        """Run the steps of one submission."""
        environment, step = _environment_of(plan.submission, self._environment), plan.extraction
        extraction = None
        if step:
            prepare = partial(_prepare_extraction, step, plan.scratch, is_own=plan.submission.own)
            # Only one extraction at a time in a folder, even if systems have different features.
            extraction = self._run_step(plan.submission.name, step, environment, prepare, lock=plan.scratch)
            self._progress.advance()
            if extraction.problem:
                return SystemRun(plan, extraction, [FoldRun([]) for _ in plan.folds])
        folds = [partial(self._fold, plan, fold, environment) for fold in plan.folds]
        return SystemRun(plan, extraction, _results(self._pool, folds))

    def _fold(self, plan: Plan, fold: FoldPlan, environment: Mapping[str, str]) -> FoldRun:
        title = f"{plan.submission.name} {fold.lists.name}"
        earlier = [result for step in fold.steps if (result := step.earlier_result())]
        is_whole = all(extra.source.is_dir() for extra in fold.pending)
        if len(earlier) == len(fold.steps) and fold.steps[-1].finished() and is_whole:
            log.info("%s: already done", title)
            self._progress.advance(len(earlier))
            return _collect(fold, earlier)
        results: list[StepResult] = []
        with self._gpu(environment) as own:
            for step in fold.steps:
                copied = plan.scratch if fold.copied and step is fold.steps[0] else None
                prepare = partial(_prepare_fold, fold, copied)
                results.append(self._run_step(title, step, own, prepare, lock=step.record))
                self._progress.advance()
                if results[-1].problem:
                    break
        return _collect(fold, results)

    @contextlib.contextmanager
    def _gpu(self, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Reserve a GPU for the duration of the block, if there are several; yields the environment of its steps."""
        gpu = self._gpus.get()
        try:
            yield {**environment, "CUDA_VISIBLE_DEVICES": gpu} if gpu else environment
        finally:
            self._gpus.put(gpu)

    def stress_step(self, plan: Plan, extra: StressStep, title: str, limit_s: float) -> StepResult:
        """Classify altered audio in a copy of the trained folder of a fold; remove the copy afterwards."""
        prepare = partial(_prepare_stress_step, extra)
        try:
            with self._gpu(_environment_of(plan.submission, self._environment)) as environment:
                return self._run_step(title, extra.step, environment, prepare, lock=extra.step.record, limit_s=limit_s)
        finally:
            remove(extra.scratch)

    def side_by_side(self, tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
        """Run tasks in parallel, as many at a time as folds, and return their results."""
        return _results(self._pool, tasks)

    def _run_step(
        self,
        owner: str,
        step: Step,
        environment: Mapping[str, str],
        prepare: Callable[[], object],
        *,
        lock: Path,
        limit_s: float = math.inf,
    ) -> StepResult:
        """Run a step unless it has already succeeded; steps with the same lock never run at the same time."""
        title = f"{owner} {step.name}"
        with self._locks.setdefault(lock, threading.Lock()):
            if self._stop.is_set():
                raise Stopped
            result = step.finished()
            if result:
                log.info("%s: already done", title)
                return result
            with watched(step.log, lambda line: self._progress.advance(0, note=f"{title}: {line}")):
                result = self._call(title, StepCall(step, prepare, environment, min(limit_s, self._limit_s)))
        if result.problem:
            log.warning("%s: %s", title, result.problem)
        else:
            log.info("%s: done in %s, peak memory %.0f MB", title, duration(result.seconds), result.peak_mb)
        return result


def _prepare_extraction(step: Step, folder: Path, *, is_own: bool) -> None:
    # Our extraction checks existing files; for any other system, files of an earlier extraction must be removed.
    if not is_own and not step.attempts():
        remove(folder)
    make_folder(folder)


def _prepare_fold(fold: FoldPlan, copied: Path | None) -> None:
    """Remove earlier files, which could be mistaken for output of this step or the next one."""
    for path in (fold.output, fold.failed, fold.probabilities, fold.history):
        if path:
            remove(path)
    if copied:
        _copy(copied, fold.scratch)


def _prepare_stress_step(extra: StressStep) -> None:
    for path in extra.step.outputs:
        remove(path)
        make_folder(path.parent)
    remove(extra.scratch)
    _copy(extra.source, extra.target)


def _collect(fold: FoldPlan, results: list[StepResult]) -> FoldRun:
    """Collect the files of a fold; if a step failed, rename its output."""
    if results[-1].problem:
        with contextlib.suppress(FileNotFoundError):
            fold.output.rename(fold.failed)
        return FoldRun(results)
    if fold.copied and not fold.pending:
        remove(fold.scratch)
    if fold.models_history and fold.models_history.exists():
        write_file(fold.history, fold.models_history.read_bytes())
    probabilities, history = (path if path.exists() else None for path in (fold.probabilities, fold.history))
    return FoldRun(results, fold.output, probabilities, history)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder to `target`, sharing its blocks if the file system supports that."""
    remove(target)
    make_folder(target)
    if source.exists():
        command = ["cp", "-a", "--reflink=auto", f"{source}/.", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            problem = f"{target}: {source} cannot be copied here: {done.stderr.strip()}: free some space"
            raise StorageError(problem, code="crossval.copy")


def _environment_of(submission: Submission, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a submission's steps."""
    # bin/mirex-submission.sh sets PYTHONSAFEPATH for itself; another system may import modules beside its script.
    inherited = {name: value for name, value in environment.items() if name != "PYTHONSAFEPATH"}
    # Another version of this program has its own Python.
    if submission.folder.resolve() == OWN_FOLDER or not submission.own:
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
