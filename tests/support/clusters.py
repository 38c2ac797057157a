"""Schedulers and workers of Dask and Ray, in their own processes."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from project import PROJECT

BIN = Path(sys.executable).parent
START_S = 90  # time for a cluster to start on a busy machine


def free_port():
    """Return a free port, below the ports that the system gives to clients and above those of Ray's workers."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def wait_for(condition, processes=()):
    until = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < until, "the cluster did not start"
        assert all(process.poll() is None for process in processes), "a process of the cluster ended"
        time.sleep(0.1)


def end(processes):
    """Kill processes that lead their process groups, with all their child processes."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start(log, *command, **variables):
    """Start a program of this environment as the leader of a process group; its workers can import this file."""
    ours = [str(PROJECT), str(PROJECT / "tests/support")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [*ours, os.environ.get("PYTHONPATH")])),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",  # our code, not Dask, repeats lost steps
        **variables,
    }
    with open(log, "w") as f:
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=log.parent,
            env=environment,
            stdout=f,
            stderr=f,
            start_new_session=True,
        )


@contextlib.contextmanager
def dask_cluster(folder, *, n_workers, **variables):
    """Run a Dask scheduler with single-threaded workers; yield its address and the processes, scheduler first.

    variables : of the environment of the workers.
    """
    import distributed

    address = f"tcp://127.0.0.1:{free_port()}"
    at = ("--host", "127.0.0.1")
    processes = [start(folder / "scheduler.log", "dask", "scheduler", *at, "--port", address[-5:], "--no-dashboard")]
    worker = ("dask", "worker", address, *at, "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
    try:
        processes += [start(folder / f"worker{k}.log", *worker, **variables) for k in range(n_workers)]
        with distributed.Client(address, timeout=START_S) as client:
            client.wait_for_workers(n_workers, timeout=START_S)
        yield address, processes
    finally:
        end(processes[::-1])


@contextlib.contextmanager
def ray_cluster():
    """Run a Ray head node with two processors; yield its address."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of its sockets must be short
    port, client_port = free_port(), free_port()
    command = (
        "ray", "start", "--head", "--block", "--num-cpus", "2", "--node-ip-address", "127.0.0.1", "--port", str(port),
        "--ray-client-server-port", str(client_port), "--include-dashboard=false", "--disable-usage-stats",
        "--object-store-memory", "100000000", "--temp-dir", str(folder),
    )  # fmt: skip
    process = start(folder / "head.log", *command)
    try:
        wait_for(lambda: "Ray runtime started" in (folder / "head.log").read_text(), [process])
        yield f"127.0.0.1:{port}"
    finally:
        end([process])
        shutil.rmtree(folder, ignore_errors=True)
