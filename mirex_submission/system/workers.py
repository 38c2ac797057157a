"""Worker processes, all through joblib: of this machine, of a Dask cluster or of a Ray cluster.

Each library is imported only when it is used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing.connection import Connection
from typing import Any

from mirex_submission.errors import InstallationError, UsageError
from mirex_submission.system.installation import install_command, install_extra
from mirex_submission.system.progress import printable

BACKENDS = ("loky", "dask", "ray")
_LIBRARIES = {"dask": "distributed", "ray": "ray"}
_ROUND = 256  # tasks of each Ray worker before their results are collected: joblib cannot stream them from Ray
_WAIT_S = 60.0  # time in which a cluster must answer
_PR_SET_PDEATHSIG = 1


class WorkerLost(Exception):
    """A worker died, and the backend did not repeat its task."""


@dataclass(frozen=True)
class Workers:
    """Processes that run tasks. The calling process runs none, because a crash would end it.

    Parameters
    ----------
    n_jobs : int
        Number of processes, as joblib counts them; -1: all processors, on a cluster all of its workers.
    backend : {"loky", "dask", "ray"}
        This machine, or a cluster.
    limit_s : float
        Most seconds for one track.
    scheduler : str, optional
        Address of the Dask scheduler or the Ray head; default: $DASK_SCHEDULER_ADDRESS or $RAY_ADDRESS, for Ray also
        a cluster on this machine.
    """

    n_jobs: int
    backend: str = "loky"
    scheduler: str | None = None
    limit_s: float = 1800.0

    @property
    def local(self) -> bool:
        """Whether the processes run on this machine and are started by this one."""
        return self.backend == "loky"

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Connect to the cluster for the time of the block; make joblib use these workers.

        Raises
        ------
        UsageError
            The library of the backend is not installed, or the cluster does not answer.
        """
        import joblib

        check_library(self.backend)
        if self.backend == "dask":
            with dask_client(self.scheduler) as client, joblib.parallel_config(_dask_backend()(client=client)):
                yield
        elif self.backend == "ray":
            with (
                ray_session(self.scheduler) as n_cpus,
                joblib.parallel_config(
                    "ray",
                    n_jobs=n_cpus if self.n_jobs < 0 else min(max(self.n_jobs, 2), n_cpus),
                    ray_remote_args={"max_restarts": -1, "max_task_retries": 3},
                ),
            ):
                yield
        elif "loky" not in joblib.parallel.BACKENDS:
            yield  # the system has no semaphores, as without /dev/shm: joblib works in this process
        else:
            # With one process joblib would work in the calling process; so there are two, and one works at a time.
            n_jobs = max(2, joblib.effective_n_jobs(self.n_jobs))
            # Tasks have no arrays, so joblib needs no folder for them, which would fail if its path is not ASCII.
            with joblib.parallel_config(
                "loky",
                n_jobs=n_jobs,
                temp_folder=os.devnull,
                max_nbytes=None,
                inner_max_num_threads=1,
                initializer=_end_with,
                initargs=(os.getpid(),),
            ):
                yield

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Run tasks; call it while joined.

        Parameters
        ----------
        tasks : iterable of joblib.delayed calls
            A task is taken only when a worker needs it.

        Yields
        ------
        object
            Results, in the order in which they are finished.

        Raises
        ------
        WorkerLost
            A worker died with its task.
        InstallationError
            A worker cannot import what a task needs.
        """
        import joblib

        # joblib warns of unfinished tasks when a signal or an error, which is reported anyway, ends the run.
        warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning, r"joblib\.parallel")
        try:
            if self.backend == "ray":
                tasks = iter(tasks)
                with joblib.Parallel() as parallel:  # one pool for all rounds
                    n_round = _ROUND * joblib.effective_n_jobs()
                    for first in tasks:  # takes one task; islice takes the others of the round
                        yield from parallel(chain([first], islice(tasks, n_round - 1)))
            elif self.local and joblib.effective_n_jobs(self.n_jobs) == 1 and _can_fork():
                yield from _forked(tasks)
            else:
                is_one = self.local and joblib.effective_n_jobs(self.n_jobs) == 1
                with _interrupt_waits() if self.local else contextlib.nullcontext():
                    parallel = joblib.Parallel(
                        return_as="generator_unordered", pre_dispatch=1 if is_one else "2 * n_jobs"
                    )
                    results = parallel(tasks)
                yield from results
        except lost_worker_errors(self.backend) as error:
            # A worker that cannot import a task's function sends only the text of its traceback.
            raise_import_failure(str(error.__cause__))
            raise WorkerLost(str(error)) from error
        except ImportError as error:
            raise_import_failure(f"{type(error).__name__}: {error}")
            raise


def _can_fork() -> bool:
    """Return whether this process has one thread, so that a copy of it has no locks that no thread releases."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _forked(tasks: Iterable[Any]) -> Iterator[Any]:
    """Run tasks one after the other in a copy of this process, which saves 1 s because all modules are loaded.

    Raises
    ------
    WorkerLost
        The copy died with its task.
    """
    import multiprocessing

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_serve, args=(ours, theirs, os.getpid()), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C must reach only this process
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    try:
        for task in tasks:
            try:
                ours.send(task)
                result = ours.recv()
            except (EOFError, ConnectionError) as error:
                raise WorkerLost("the process ended with its task") from error
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        worker.kill()
        worker.join()
        ours.close()


def _serve(ours: Connection, theirs: Connection, parent: int) -> None:
    """Answer each task from the parent with its result, or with the exception that it raised."""
    from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined] # keeps the traceback as the cause

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with(parent)
    ours.close()
    while True:
        function, args, kwargs = theirs.recv()
        try:
            theirs.send(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the parent raises it
            theirs.send(ExceptionWithTraceback(error, error.__traceback__))


@contextlib.contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Block SIGINT in processes that start in the block: Ctrl-C on a terminal must reach only this process."""
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    for tracker in (resource_tracker, loky_tracker):  # if they started later, they would unblock the signal
        tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Make this worker end with the process that started it; otherwise it would run for minutes more."""
    import ctypes

    if hasattr(ctypes.CDLL(None), "prctl"):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before
        os.kill(os.getpid(), signal.SIGKILL)


def check_library(backend: str) -> None:
    """Check that the library of a backend is installed. Raises UsageError."""
    library = _LIBRARIES.get(backend)
    if library and not importlib.util.find_spec(library):
        raise UsageError(
            f"--backend {backend}: the Python package {library!r} is missing: {install_extra(backend)}",
            code="usage.package",
        )


def lost_worker_errors(backend: str) -> tuple[type[BaseException], ...]:
    """Return the types of the errors of a task whose worker died."""
    if backend == "dask":
        import distributed

        return (distributed.KilledWorker,)
    if backend == "ray":
        import ray

        errors = ray.exceptions  # RaySystemError: no worker could start
        return (errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.RaySystemError)
    from joblib.externals.loky.process_executor import BrokenProcessPool

    return (BrokenProcessPool,)


def check_imports(module: str) -> None:
    """Check that a new process can import a module.

    Raises
    ------
    InstallationError
        The import fails. If a signal ends the process, nothing is raised.
    """
    command = [sys.executable, "-c", f"import {module}"]
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 1:
        raise_import_failure(done.stderr)


def raise_import_failure(traceback: str) -> None:
    """Raise InstallationError if a traceback ends with an error of an import."""
    reason = printable(traceback.strip("\n \"'").rpartition("\n")[2])
    if re.match(r"(Import|ModuleNotFound|Syntax)Error: ", reason):
        raise InstallationError(
            f"a worker process cannot import a module: {reason}: a package is damaged, or hidden by a module of "
            f"$PYTHONPATH: install this project again with `{install_command()}`",
            code="installation.worker",
        ) from ImportError(reason)


def _dask_backend() -> Any:
    """Return joblib's Dask backend with a fix: it waited forever for a task that Dask had given up (KilledWorker)."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))  # joblib would run a single job in this process

        def submit(self, func: Any, callback: Any = None) -> Any:
            job = super().submit(func, callback)
            job.add_done_callback(lambda job: job.exception() and callback(job.exception()))
            return job

        def abort_everything(self, ensure_ready: bool = True) -> None:
            super().abort_everything(ensure_ready)
            self.client.cancel(list(self._results))  # or a track that kills workers would kill more of them
            self._results.clear()
            self._callbacks.clear()

    return Backend


def _check_answer(server: str, address: str) -> None:
    """Raise UsageError if nothing listens: Ray would retry for minutes, and Dask would leave a client that hangs."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_WAIT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(
            f"no {server} answers at {address}: {error}: check the address and that it runs", code="usage.no-cluster"
        ) from error


@contextlib.contextmanager
def dask_client(scheduler: str | None) -> Iterator[Any]:
    """Connect to a Dask scheduler for the time of the block. Raises UsageError if it or its workers do not answer."""
    import dask
    import distributed

    address = scheduler or dask.config.get("scheduler-address", None)
    if not address:
        raise UsageError(
            "no Dask scheduler: give its address, such as --scheduler tcp://HOST:8786", code="usage.no-cluster"
        )
    _check_answer("Dask scheduler", address)
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # no tracebacks beside our own errors
    with distributed.Client(address, timeout=_WAIT_S) as client:
        try:
            client.wait_for_workers(1, timeout=_WAIT_S)
        except TimeoutError as error:
            raise UsageError(
                f"the Dask scheduler at {address} has no workers: start some with `dask worker`",
                code="usage.cluster-size",
            ) from error
        yield client


@contextlib.contextmanager
def ray_session(head: str | None) -> Iterator[int]:
    """Connect to a Ray cluster for the time of the block; yield its number of processors. Raises UsageError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.util.joblib import register_ray

    head = head or os.environ.get("RAY_ADDRESS")
    if head and head != "auto":
        _check_answer("Ray head", head)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=head or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise UsageError(
            "no Ray cluster: start one with `ray start --head`, or give its address with --scheduler",
            code="usage.no-cluster",
        ) from error
    signal.signal(signal.SIGTERM, terminate)
    register_ray()
    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if n_cpus < 2:  # joblib would run a single job in this process
            raise UsageError(
                f"the Ray cluster has {n_cpus} processor(s), and at least 2 are needed: start more workers with "
                "`ray start`",
                code="usage.cluster-size",
            )
        yield n_cpus
    finally:
        ray.shutdown()
