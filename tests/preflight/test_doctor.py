"""What the doctor finds: in this installation, in a bare one, and in some that lack a part."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from project import PROJECT

from mirex_submission.networks import engine as engines
from mirex_submission.system import installation


def doctor(*options, python=sys.executable, **environment):
    """Call it in another process; the completed process, and its facts if it was asked for JSON."""
    command = [python, "-m", "mirex_submission", "doctor", *options]
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd="/", capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return done, json.loads(done.stdout)["facts"] if "--json" in options else {}


def test_here_the_calls_can_run_and_text_and_json_have_the_same_facts(run_script):
    done = run_script("mirex-submission.sh", "doctor")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the four MIREX calls can run here\n")
    told = json.loads(run_script("mirex-submission.sh", "doctor", "--json").stdout)
    assert told["status"] == 0
    facts = told["facts"]
    assert {package.name for package in installation.packages()} <= facts.keys()
    for part in ("Python", "kernel of features", "libsndfile", "MP3 audio", "GPU", "processors", "memory", "/dev/shm"):
        assert part in facts
    for part, fact in facts.items():
        assert re.search(rf"^{fact['state']:8} {re.escape(part)} ", done.stdout, re.MULTILINE)
        assert (fact["mend"] is None) == (fact["state"] == "ok")
    columns = {len(line) - len(line[9:].partition("  ")[2].lstrip()) for line in done.stdout.splitlines()[2:-2]}
    assert len(columns) == 1  # what was found stands in one column


def test_a_python_without_any_package_is_status_2_with_the_commands_that_mend_it(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path], check=True)
    python = str(tmp_path / "bin/python")
    done, facts = doctor("--json", python=python, PYTHONPATH=str(PROJECT))
    assert done.returncode == 2
    assert facts["numpy"] == {
        "state": "FAULT",
        "found": "not installed",
        "mend": f"pip --python {python} install -c {PROJECT}/constraints.txt {PROJECT}",
    }
    # So do the other commands say.
    command = [python, "-m", "mirex_submission", "extract", "s", "list"]
    other = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True)
    assert other.returncode == 2 and f"install this project with `{facts['numpy']['mend']}`" in other.stderr


def test_python_3_10_is_not_told_to_install_versions_that_need_3_11(monkeypatch):
    assert "constraints.txt" in installation.install_command()
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    assert "constraints.txt" not in installation.install_command()


def test_a_package_that_is_too_old_is_a_fault_and_one_that_an_extra_needs_is_not(tmp_path):
    for name in ("xxhash", "dask"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    done, facts = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and "1 fault(s): xxhash" in done.stderr
    assert facts["xxhash"]["found"] == "1.0, needs >=3.0" and facts["xxhash"]["state"] == "FAULT"
    assert facts["extra [dask]"]["state"] == "option" and "dask 1.0" in facts["extra [dask]"]["found"]
    assert "[dask]" in facts["extra [dask]"]["mend"]


def test_tensorflow_for_cpus_alone_is_tensorflow(tmp_path):
    (tmp_path / "tensorflow_cpu-2.21.0.dist-info").mkdir()
    (tmp_path / "tensorflow_cpu-2.21.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: 2.21.0\n"
    )
    code = "from mirex_submission.system.runtime import versions; print(versions()['tensorflow'])"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    command = [sys.executable, "-S", "-c", code]  # without the packages that are installed
    assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == "2.21.0\n"


@pytest.fixture
def copied(tmp_path):
    """A copy of the project without what was compiled."""
    for name in ("bin", "mirex_submission"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return tmp_path


def test_without_compiled_kernels_the_calls_run_and_it_says_how_much_slower(copied):
    done, facts = doctor("--json", PYTHONPATH=str(copied))
    assert done.returncode == 0
    for part, instead in (("kernel of features", "SciPy"), ("kernel of networks", "Keras")):
        assert facts[part]["state"] == "warning" and instead in facts[part]["found"]
        assert "gcc" in facts[part]["mend"]


def test_scripts_that_cannot_be_executed_are_a_fault(copied):
    (copied / "bin/train.sh").chmod(0o644)
    done, _ = doctor(PYTHONPATH=str(copied))
    assert done.returncode == 2
    first, mend = done.stdout.splitlines()[2:4]
    assert re.fullmatch(r"FAULT    shell scripts +cannot be executed: train.sh", first)
    assert mend.split() == ["->", "chmod", "+x", f"{copied}/bin/*.sh"]
    assert done.stdout.endswith("MIREX calls cannot all run here\n")


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_gpu_that_is_asked_for_and_not_there_is_status_6():
    done, facts = doctor("--json", "--device", "gpu")
    assert done.returncode == 6 and json.loads(done.stdout)["status"] == 6
    assert facts["GPU"]["state"] == "FAULT" and "[gpu]" in facts["GPU"]["mend"]


def test_keras_is_not_loaded_to_look_for_it():
    code = (
        "import sys; from mirex_submission.cli.main import main; main(['doctor']);"
        "sys.exit(bool({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_what_a_process_may_have_is_told():
    def limit():
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    command = [sys.executable, "-m", "mirex_submission", "doctor", "--json", "-numThreads", "3"]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    facts = json.loads(done.stdout)["facts"]
    assert done.returncode == 0 and facts["processors"]["state"] == "warning"
    assert facts["processors"]["mend"] == "give -numThreads 1"
    assert "ulimit -v leaves" in facts["memory"]["found"]
