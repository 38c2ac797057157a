"""The example scripts on a small task: a comparison of systems, a Slurm array and the tour."""

import json
import subprocess
import sys

import pytest
from project import PROJECT
from synthetic_corpus import STYLES


@pytest.fixture
def lists(corpus, run_script, tmp_path):
    folder = tmp_path / "lists"
    audio = corpus["features"].parent / "audio"
    done = run_script("mirex-submission.sh", "folds", "--from-folders", audio, "--folds", "2", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def theirs(tmp_path):
    """A system that gives every track the label waltz."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    script = folder / "trainAndClassify.sh"
    script.write_text('#!/bin/sh\nwhile read -r path; do printf "%s\\twaltz\\n" "$path"; done < "$5" > "$6"\n')
    script.chmod(0o755)
    return folder


QUICK = ["--train-options", "ours=--epochs 2 --segments-per-track 4 --model 1 --no-picture"]


@pytest.fixture
def compare(run_script, lists, tmp_path):
    """Run the comparison; return the completed process and the accuracy of each system."""

    def run(*options):
        done = run_script(str(PROJECT / "examples/compare_systems.sh"), lists, tmp_path / "out", *options)
        results = json.loads((tmp_path / "out/results/results.json").read_text())
        assert (tmp_path / "out/report.html").read_text().startswith("<!DOCTYPE html>")
        return done, {system["name"]: system["overall"]["accuracy"] for system in results["systems"]}

    return run


@pytest.mark.parametrize("script", ["compare_systems.sh", "slurm_folds.sh"])
def test_a_call_without_lists_is_a_usage_error(run_script, script):
    assert run_script(PROJECT / "examples" / script).returncode == 2


@pytest.mark.slow
def test_two_systems_are_compared(compare, theirs):
    done, accuracies = compare("--submission", f"ours={PROJECT / 'bin'}", "--submission", f"theirs={theirs}", *QUICK)
    assert done.returncode == 0, done.stderr
    assert accuracies["theirs"] == 1 / len(STYLES) < accuracies["ours"]
    rows = [line for line in done.stdout.splitlines() if line.startswith(("ours,theirs,", "theirs,ours,"))]
    assert len(rows) == 2, done.stdout


@pytest.mark.slow
def test_a_failed_system_alone_is_in_the_report_and_gives_status_8(compare, theirs):
    (theirs / "trainAndClassify.sh").write_text("#!/bin/sh\necho no licence\n")
    done, accuracies = compare("--submission", theirs)
    assert (done.returncode, accuracies) == (8, {"theirs": 0.0}), done.stderr
    assert "no licence" in done.stderr


@pytest.mark.slow
def test_a_slurm_array_trains_and_classifies_one_fold_per_task(lists, run_script, tmp_path):
    out = tmp_path / "out"
    words = [
        lists,
        tmp_path / "scratch",
        out,
        "--epochs",
        "2",
        "--segments-per-track",
        "4",
        "--model",
        "1",
        "--no-picture",
    ]
    slurm = {"SLURM_CPUS_PER_TASK": "2", "MIREX": str(PROJECT / "bin/mirex-submission.sh")}
    script = PROJECT / "examples/slurm_folds.sh"
    done = run_script(script, *words, env=slurm, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for task in ("1", "2"):
        done = run_script(script, *words, env={**slurm, "SLURM_ARRAY_TASK_ID": task}, cwd=tmp_path)
        assert done.returncode == 0 and "2 threads" in done.stderr, done.stderr
    assert {path.name for path in out.iterdir()} == {"fold1.txt", "fold2.txt"}
    judged = ["--truth", lists, "--system", f"ours={out}", "--out", tmp_path / "judged"]
    done = run_script("mirex-submission.sh", "evaluate", *judged)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_tour_runs_from_audio_to_figures(tmp_path):
    command = [sys.executable, PROJECT / "examples/tour.py", tmp_path, "--clips", "3", "--epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line[:2] for line in done.stdout.splitlines() if line[0].isdigit()] == ["1.", "2.", "3.", "4.", "5."]
    assert "12 of 12 tracks" in done.stdout
    assert (tmp_path / "scratch/model/MODEL_CARD.md").is_file() and (tmp_path / "figures/results.json").is_file()
