"""Where parallel work runs: the processes of this machine, a Dask cluster or a Ray cluster, all through joblib.

Each library is loaded only where it is used: the command line knows the names of the backends without them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from mirex_submission.errors import UsageError
from mirex_submission.system.installation import install_extra

BACKENDS = ("loky", "dask", "ray")
_LIBRARIES = {"dask": "distributed", "ray": "ray"}
_ROUND = 256  # tasks a Ray worker gets before their results are collected: joblib cannot stream them from Ray
_WAIT_S = 60.0  # for a cluster to answer
_PR_SET_PDEATHSIG = 1


class WorkerLost(Exception):
    """A worker died with its work, and the backend did not start it again."""


@dataclass(frozen=True)
class Workers:
    """Other processes: work never runs in the calling one, which a crash would end.

    n_jobs : processes, as joblib means it (-1: all processors; on a cluster: all of its workers).
    backend : one of BACKENDS. scheduler : address of the Dask scheduler or the Ray head; None: what the environment
    says (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS), for Ray also a cluster on this machine.
    """

    n_jobs: int
    backend: str = "loky"
    scheduler: str | None = None

    @property
    def local(self) -> bool:
        """Whether they are processes of this machine, which this program starts."""
        return self.backend == "loky"

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        """Connected to the cluster, if it is one. Raises UsageError if that cannot be done."""
        import joblib

        library = _LIBRARIES.get(self.backend)
        if library and not importlib.util.find_spec(library):
            said = f"--backend {self.backend}: the Python package {library!r} is missing"
            raise UsageError(f"{said}: {install_extra(self.backend)}")
        if self.backend == "dask":
            with _dask_client(self.scheduler) as client, joblib.parallel_config(_dask_backend()(client=client)):
                yield
        elif self.backend == "ray":
            with (
                _ray_session(self.scheduler) as n_cpus,
                joblib.parallel_config(
                    "ray",
                    n_jobs=n_cpus if self.n_jobs < 0 else min(max(self.n_jobs, 2), n_cpus),
                    ray_remote_args={"max_restarts": -1, "max_task_retries": 3},
                ),
            ):
                yield
        else:
            # For one, joblib would work in the calling process: of two, one works at a time (see run).
            n_jobs = max(2, joblib.effective_n_jobs(self.n_jobs))
            # Tasks hold no arrays, so joblib needs no folder, and it could use none below a path beyond ASCII.
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
        """The results of joblib's delayed `tasks` as they come. To be called while joined. Raises WorkerLost."""
        import joblib

        # Said where the work ends early, of a signal or an error that is said anyway.
        warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning, r"joblib\.parallel")
        try:
            if self.backend == "ray":
                tasks = iter(tasks)
                with joblib.Parallel() as parallel:  # which keeps its workers from round to round
                    n_round = _ROUND * joblib.effective_n_jobs()
                    for first in tasks:  # the others are taken only when they are handed out
                        yield from parallel(chain([first], islice(tasks, n_round - 1)))
            else:
                is_one = self.local and joblib.effective_n_jobs(self.n_jobs) == 1
                with _interrupt_waits() if self.local else contextlib.nullcontext():
                    parallel = joblib.Parallel(
                        return_as="generator_unordered", pre_dispatch=1 if is_one else "2 * n_jobs"
                    )
                    results = parallel(tasks)
                yield from results
        except _lost_worker_errors(self.backend) as error:
            raise WorkerLost(str(error)) from error


@contextlib.contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Ctrl-C, which reaches all processes of a terminal, is only for this one: those that start here never see it."""
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    for tracker in (resource_tracker, loky_tracker):  # whose own start would let it through again
        tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """End this process of the pool with the one that started it, which else it would outlive by minutes."""
    import ctypes

    if hasattr(ctypes.CDLL(None), "prctl"):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was too late for that
        os.kill(os.getpid(), signal.SIGKILL)


def _lost_worker_errors(backend: str) -> tuple[type[BaseException], ...]:
    if backend == "dask":
        import distributed

        return (distributed.KilledWorker,)
    if backend == "ray":
        import ray

        return (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    return (TerminatedWorkerError,)


def _dask_backend() -> Any:
    """joblib's Dask backend, mended: it never told of a task that Dask gave up (KilledWorker), and waited for ever."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))  # for one job joblib would work in the calling process

        def submit(self, func: Any, callback: Any = None) -> Any:
            job = super().submit(func, callback)
            job.add_done_callback(lambda job: job.exception() and callback(job.exception()))
            return job

        def abort_everything(self, ensure_ready: bool = True) -> None:
            super().abort_everything(ensure_ready)
            self.client.cancel(list(self._results))  # a deadly track is not to kill those who do other work
            self._results.clear()
            self._callbacks.clear()

    return Backend


def _check_answer(what: str, address: str) -> None:
    """Raise UsageError if nothing listens there: Ray would try for minutes, and Dask leave a client that cannot end."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_WAIT_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"no {what} answers at {address}: {error}") from error


@contextlib.contextmanager
def _dask_client(scheduler: str | None) -> Iterator[Any]:
    import dask
    import distributed

    address = scheduler or dask.config.get("scheduler-address", None)
    if not address:
        raise UsageError("no Dask scheduler: give its address with --scheduler, as tcp://HOST:8786")
    _check_answer("Dask scheduler", address)
    with distributed.Client(address, timeout=_WAIT_S) as client:
        try:
            client.wait_for_workers(1, timeout=_WAIT_S)
        except TimeoutError as error:
            raise UsageError(
                f"the Dask scheduler at {address} has no workers: start some with `dask worker`"
            ) from error
        yield client


@contextlib.contextmanager
def _ray_session(head: str | None) -> Iterator[int]:
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
            "no Ray cluster: start one with `ray start --head`, or give its address with --scheduler"
        ) from error
    signal.signal(signal.SIGTERM, terminate)
    register_ray()
    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if n_cpus < 2:  # with one, joblib would work in the calling process
            raise UsageError(f"the Ray cluster has {n_cpus} processors: at least 2 are needed")
        yield n_cpus
    finally:
        ray.shutdown()
