"""Where parallel work runs: the processes of this machine, a Dask cluster or a Ray cluster, all through joblib.

Each library is loaded only where it is used: the command line knows the names of the backends without them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mirex_submission.errors import UsageError

BACKENDS = ("loky", "dask", "ray")
_ROUND = 256  # tasks a Ray worker gets before their results are collected: joblib cannot stream them from Ray
_WAIT_S = 60.0  # for a cluster to answer


class WorkerLost(Exception):
    """A worker died with its work, and the backend did not start it again."""


@dataclass(frozen=True)
class Workers:
    """n_jobs : processes, as joblib means it (-1: all processors; on a cluster: all of its workers).

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

        if self.backend == "dask":
            with _dask_client(self.scheduler), joblib.parallel_config("dask"):
                yield
        elif self.backend == "ray":
            with _ray_session(self.scheduler), joblib.parallel_config("ray", n_jobs=self.n_jobs):
                yield
        else:
            with joblib.parallel_config("loky", n_jobs=self.n_jobs, inner_max_num_threads=1):
                yield

    def run(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """The results of joblib's delayed `tasks` as they come. To be called while joined. Raises WorkerLost."""
        import joblib

        try:
            if self.backend == "ray":
                tasks = iter(tasks)
                with joblib.Parallel() as parallel:  # which keeps its workers from round to round
                    while some := list(islice(tasks, _ROUND * joblib.effective_n_jobs(self.n_jobs))):
                        yield from parallel(some)
            else:
                yield from joblib.Parallel(return_as="generator_unordered")(tasks)
        except _lost_worker_errors(self.backend) as error:
            raise WorkerLost(str(error)) from error


def _lost_worker_errors(backend: str) -> tuple[type[BaseException], ...]:
    if backend == "dask":
        import distributed

        return (distributed.KilledWorker,)
    if backend == "ray":
        import ray

        return (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    return (TerminatedWorkerError,)


@contextlib.contextmanager
def _dask_client(scheduler: str | None) -> Iterator[None]:
    import dask
    import distributed

    address = scheduler or dask.config.get("scheduler-address", None)
    if not address:
        raise UsageError("no Dask scheduler: give its address with --scheduler, as tcp://HOST:8786")
    try:
        client = distributed.Client(address, timeout=_WAIT_S)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT_S)
        except TimeoutError as error:
            raise UsageError(
                f"the Dask scheduler at {address} has no workers: start some with `dask worker`"
            ) from error
        yield


@contextlib.contextmanager
def _ray_session(head: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.util.joblib import register_ray

    try:
        ray.init(address=head or "auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise UsageError(
            "no Ray cluster: start one with `ray start --head`, or give its address with --scheduler"
        ) from error
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()
