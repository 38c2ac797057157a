"""The report of doctor on this installation, on an empty one, and on some that lack a part."""

import importlib.metadata
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from command_line import call, call_all
from project import PROJECT

import mirex_submission
from mirex_submission.networks import engine as engines
from mirex_submission.system import installation


def doctor(*options, python=sys.executable, **environment):
    """Run doctor in another process; return the completed process and, with --json, its facts."""
    command = [python, "-m", "mirex_submission", "doctor", *options]
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd="/", capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return done, json.loads(done.stdout)["facts"] if "--json" in options else {}


def test_all_commands_can_run_here_and_text_and_json_have_the_same_facts(run_script):
    done = run_script("mirex-submission.sh", "doctor")
    assert done.returncode == 0, done.stderr
    report = json.loads(call("doctor", "--json").stdout)
    assert report["version"] == mirex_submission.__version__ and report["status"] == 0
    facts = report["facts"]
    assert {package.name for package in installation.packages()} <= facts.keys()
    for part in ("Python", "kernel of features", "libsndfile", "MP3 audio", "GPU", "processors", "memory", "/dev/shm"):
        assert part in facts
    for part, fact in facts.items():
        assert re.search(rf"^{fact['state']:8} {re.escape(part)} ", done.stdout, re.MULTILINE)
        assert set(fact) == {"state", "value", "fix"} and (fact["fix"] is None) == (fact["state"] == "ok")
    columns = {len(line) - len(line[9:].partition("  ")[2].lstrip()) for line in done.stdout.splitlines()[2:-2]}
    assert len(columns) == 1  # all values begin in one column


def test_a_python_without_packages_is_status_2_with_the_command_to_install_them(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    python = str(tmp_path / "bin/python")
    done, facts = doctor("--json", python=python, PYTHONPATH=str(PROJECT))
    assert done.returncode == 2 and "[check.installation]" in done.stderr
    constraints = ["-c", f"{PROJECT}/constraints.txt"] if sys.version_info >= (3, 11) else []
    fix = ["pip", "--python", python, "install", *constraints, str(PROJECT)]
    assert facts["numpy"]["state"] == "error" and facts["numpy"]["fix"].split() == fix
    command = [python, "-m", "mirex_submission", "extract", "s", "list"]
    other = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True)
    assert other.returncode == 2 and facts["numpy"]["fix"] in other.stderr and "[usage.package]" in other.stderr


def test_the_install_command_for_python_3_10_has_no_versions_that_need_3_11(monkeypatch):
    assert "constraints.txt" in installation.install_command()
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    assert "constraints.txt" not in installation.install_command()


def test_a_package_that_is_too_old_is_an_error_and_one_of_an_extra_is_optional(tmp_path):
    for name in ("xxhash", "dask"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    done, facts = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "xxhash" in done.stderr
    assert [part for part, fact in facts.items() if fact["state"] == "error"] == ["xxhash"]
    assert facts["xxhash"]["value"].startswith("1.0, ")
    assert facts["extra [dask]"]["state"] == "optional" and "dask 1.0" in facts["extra [dask]"]["value"]
    assert "[dask]" in facts["extra [dask]"]["fix"]


def test_tensorflow_cpu_counts_as_tensorflow(monkeypatch):
    def distribution(name):
        if name == "tensorflow-cpu":
            return SimpleNamespace(version="2.21.0")
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    assert (installation.installed("tensorflow"), installation.installed("keras")) == ("2.21.0", "")


@pytest.fixture
def copied(tmp_path):
    """A copy of the project without compiled kernels."""
    for name in ("bin", "mirex_submission"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return tmp_path


def test_missing_kernels_are_warnings_and_scripts_that_are_not_executable_are_an_error(copied):
    (copied / "bin/train.sh").chmod(0o644)
    done, facts = doctor("--json", PYTHONPATH=str(copied))
    assert done.returncode == 2
    for part in ("kernel of features", "kernel of networks"):
        assert facts[part]["state"] == "warning" and "gcc" in facts[part]["fix"]
    scripts = facts["shell scripts"]
    assert scripts["state"] == "error" and "train.sh" in scripts["value"]
    assert scripts["fix"] == f"chmod +x {copied}/bin/*.sh"
    done, _ = doctor(PYTHONPATH=str(copied))
    error, fix = done.stdout.splitlines()[2:4]
    assert done.returncode == 2 and error.startswith("ERROR    shell scripts  ")
    assert fix.split(maxsplit=1) == ["->", scripts["fix"]]


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_requested_but_missing_gpu_is_status_6_without_loading_keras(tmp_path):
    plain, gpu = call_all([["doctor"], ["doctor", "--json", "--device", "gpu"]], tmp_path)
    assert (plain.status, gpu.status) == (0, 6)
    assert not {"tensorflow", "keras", "matplotlib"} & gpu.modules
    report = json.loads(gpu.stdout)
    assert report["status"] == 6 and report["facts"]["GPU"]["state"] == "error"
    assert "[gpu]" in report["facts"]["GPU"]["fix"]


def test_the_limits_of_the_process_are_reported():
    def limit():
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    command = [sys.executable, "-m", "mirex_submission", "doctor", "--json", "-numThreads", "3"]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    facts = json.loads(done.stdout)["facts"]
    assert done.returncode == 0 and facts["processors"]["state"] == "warning"
    assert facts["processors"]["fix"] == "give -numThreads 1"
    assert "ulimit -v" in facts["memory"]["value"]
