"""An existing cluster of Dask or Ray for calls that take hours: a lost worker costs its own call only.

Extraction, which has many short tasks, uses joblib's backends instead (`workers`). There a lost task ends all others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from mirex_submission.errors import UsageError
from mirex_submission.system import option as opt
from mirex_submission.system.option import Options, option
from mirex_submission.system.workers import (
    BACKENDS,
    check_library,
    dask_client,
    lost_worker_errors,
    raise_import_failure,
    ray_session,
)


@dataclass(frozen=True)
class ClusterOptions(Options):
    """Where tasks run.

    Parameters
    ----------
    backend : {"loky", "dask", "ray"}
        This machine, or a cluster.
    scheduler : str, optional
        Address of the Dask scheduler or the Ray head.
    """

    backend: str = option("loky", "this machine (loky) or a cluster", choices=BACKENDS)
    scheduler: str | None = option(
        None, "address of the Dask scheduler or the Ray head", convert=opt.path, metavar="ADDRESS"
    )

    def check_scheduler(self) -> None:
        """Check that an address comes with the backend of a cluster. Raises UsageError."""
        if self.scheduler and self.local:
            raise UsageError("--scheduler: give --backend dask or ray too", code="usage.scheduler")

    @property
    def local(self) -> bool:
        """Whether tasks run on this machine."""
        return self.backend == "loky"


@dataclass(frozen=True)
class Cluster:
    """Workers of a cluster.

    Parameters
    ----------
    submit : callable
        Calls a function with its arguments on any worker. Returns a Future, which is cancelled if the cluster is lost.
    everywhere : callable
        Calls a function with its arguments once on every worker of Dask, or every host of Ray; returns
        {worker: result or exception}.
    lost : tuple of exception types
        Exceptions of a call whose worker died, after the retries that the cluster is configured for.
    """

    submit: Callable[..., Future[Any]]
    everywhere: Callable[..., dict[str, Any]]
    lost: tuple[type[BaseException], ...]


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Iterator[Cluster]:
    """Connect to a cluster for the time of the block.

    Raises
    ------
    UsageError
        The library of the backend is not installed, or the cluster does not answer.
    """
    check_library(options.backend)
    with _dask(options.scheduler) if options.backend == "dask" else _ray(options.scheduler) as cluster:
        yield cluster


@contextlib.contextmanager
def _dask(scheduler: str | None) -> Iterator[Cluster]:
    with dask_client(scheduler) as client:

        def everywhere(function: Callable[..., Any], *args: Any) -> dict[str, Any]:
            return dict(client.run(function, *args, on_error="return"))

        yield Cluster(client.get_executor(pure=False).submit, everywhere, lost_worker_errors("dask"))


@contextlib.contextmanager
def _ray(head: str | None) -> Iterator[Cluster]:
    with ray_session(head):
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        def submit(function: Callable[..., Any], *args: Any) -> Future[Any]:
            future: Future[Any] = ray.remote(max_retries=0)(function).remote(*args).future()
            return future

        def everywhere(function: Callable[..., Any], *args: Any) -> dict[str, Any]:
            calls = {
                node["NodeManagerAddress"]: ray.remote(function)
                .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False), num_cpus=0)
                .remote(*args)
                for node in ray.nodes()
                if node["Alive"]
            }
            return {node: call.future().exception() or ray.get(call) for node, call in calls.items()}

        yield Cluster(submit, everywhere, lost_worker_errors("ray"))


def check_import(error: object) -> None:
    """Raise InstallationError if a worker could not import what a call needs."""
    if isinstance(error, ImportError):
        raise_import_failure(f"{type(error).__name__}: {error}")
