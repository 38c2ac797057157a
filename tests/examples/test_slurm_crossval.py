"""The example of a cross-validation on Slurm: with workers of this machine, and with a substitute for sbatch."""

import json
import os
import re
import subprocess
import sys

import pytest
from project import PROJECT
from shell_systems import TRACKS, write_lists

EXAMPLE = PROJECT / "examples/slurm_crossval.py"


@pytest.fixture
def example(tmp_path):
    """A function that runs the example with a system that predicts jazz for every track; `script` is its script."""
    pytest.importorskip("distributed")
    write_lists(tmp_path / "lists", [(track, track[6:10]) for track in TRACKS])
    script = tmp_path / "theirs/trainAndClassify.sh"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nwhile read -r path; do printf "%s\\tjazz\\n" "$path"; done < "$5" > "$6"\n')
    script.chmod(0o755)

    def run(*options, **variables):
        crossval = ["lists", "--scratch", "scratch", "--out", "out", "--submission", "theirs"]
        command = [sys.executable, EXAMPLE, *options, "--", *crossval]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, timeout=200
        )
        results = json.loads((tmp_path / "out/results.json").read_text())
        return done, results["systems"][0]["overall"]["accuracy"]

    run.script = script
    return run


@pytest.mark.slow
def test_the_example_runs_a_cross_validation_on_workers_of_this_machine(example):
    done, accuracy = example("--local", "--workers", "2")
    assert (done.returncode, accuracy) == (0, 0.5), done.stderr
    assert done.stderr.count("sent to a worker") == 3
    example.script.write_text("#!/bin/sh\nexit 1\n")
    assert example("--local", "--workers", "1")[0].returncode == 8


def test_the_example_requests_workers_with_the_cores_memory_and_time_of_a_step(example, tmp_path):
    """A substitute for sbatch stores the script of each job and runs it on this machine."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    sbatch = f'job={tmp_path}/job.$$; cp "$1" $job; sh $job > $job.log 2>&1 & echo "Submitted batch job $!"\n'
    for name, text in {"sbatch": sbatch, "scancel": 'kill "$@"\n'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    options = ("--workers", "2", "--cores", "4", "--memory", "8GB", "--time", "24:00:00", "--option=--gres=gpu:1")
    done, accuracy = example(*options, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert (done.returncode, accuracy) == (0, 0.5), done.stderr
    first, _ = (path.read_text() for path in tmp_path.glob("job.*[0-9]"))
    for pattern in ("--cpus-per-task=4", "--mem=8G", "-t 24:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {pattern}\n" in first
    assert re.search(r"--nthreads 1\b", first)
