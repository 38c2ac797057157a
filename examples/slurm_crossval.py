#!/usr/bin/env python3
"""Run a cross-validation on workers that Slurm starts: one job per worker, and one step at a time in each.

    python examples/slurm_crossval.py --workers 6 --cores 4 --memory 8GB --time 24:00:00 -- \\
        LISTS --scratch /shared/scratch -numThreads 4 --submission theirs=/shared/theirs

All arguments after `--` are arguments of `mirex-submission crossval`. The script needs `pip install dask-jobqueue`, and
a file system that all nodes share, with the lists, the audio, the submissions, the scratch folder and this
installation. Run it on a node where it can run until the end. If it is interrupted, repeat the command: it resumes.

`--local` starts the workers as processes of this machine, without Slurm and dask-jobqueue.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

from distributed import Client, LocalCluster


def main() -> int:
    parser = argparse.ArgumentParser(description="cross-validation on workers that Slurm starts")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="jobs, each with one worker")
    parser.add_argument("--cores", type=int, default=4, metavar="N", help="cores of a job: -numThreads of the steps")
    parser.add_argument("--memory", default="8GB", help="memory of a job")
    parser.add_argument("--time", default="24:00:00", help="time limit of a job")
    parser.add_argument(
        "--option", action="append", default=[], help="line for #SBATCH, such as --gres=gpu:1; repeatable"
    )
    parser.add_argument("--wait", type=float, default=86400.0, metavar="S", help="seconds to wait for the first job")
    parser.add_argument("--local", action="store_true", help="start the workers on this machine")
    parser.add_argument("crossval", nargs="+", metavar="ARGUMENT", help="arguments of crossval, after --")
    args = parser.parse_args()
    with cluster_of(args) as cluster, Client(cluster) as client:
        print(f"waiting for the first of {args.workers} workers", file=sys.stderr)
        client.wait_for_workers(1, timeout=args.wait)
        address = cluster.scheduler_address
        command = [sys.executable, "-m", "mirex_submission", "crossval", *args.crossval]
        return subprocess.run([*command, "--backend", "dask", "--scheduler", address]).returncode


def cluster_of(args: argparse.Namespace) -> Any:
    """Start a scheduler on this machine, and request the workers."""
    if args.local:
        return LocalCluster(n_workers=args.workers, threads_per_worker=1, dashboard_address=None)
    from dask_jobqueue import SLURMCluster

    # A worker is one process that runs one step at a time; the step uses the cores and the memory of the job.
    cluster = SLURMCluster(
        cores=1,
        job_cpu=args.cores,
        processes=1,
        memory=args.memory,
        walltime=args.time,
        job_extra_directives=args.option,
        scheduler_options={"dashboard_address": None},
    )
    cluster.scale(jobs=args.workers)
    return cluster


if __name__ == "__main__":
    sys.exit(main())
