"""Cross-validations on workers of real clusters, which the tests start: workers, runs and schedulers are killed."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clusters import dask_cluster, free_port, ray_cluster
from processes import files_below, gone, wait_for
from shell_systems import ALL_CALLS, CLASSIFY, EXTRACT, GOOD, TRAIN, accuracies, called, runs, write_lists

from mirex_submission.evaluation.crossval import remote
from mirex_submission.evaluation.crossval.remote import Heartbeat, beating
from mirex_submission.evaluation.crossval.system import OWN_FOLDER

SCRIPTS = {name.removesuffix(".sh"): text for name, text in GOOD.items()}


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """The options of a Dask cluster of three workers, each with its own GPU."""
    pytest.importorskip("distributed")
    variables = {"CUDA_VISIBLE_DEVICES": "GPU-of-worker", "SLURM_JOB_ID": "77", "WHOSE": "worker"}
    with dask_cluster(tmp_path_factory.mktemp("dask"), n_workers=3, **variables) as (address, _):
        yield ["--backend", "dask", "--scheduler", address]


@pytest.fixture(scope="module")
def ray():
    """The options of a Ray cluster of two processors."""
    pytest.importorskip("ray")
    with ray_cluster() as address:
        yield ["--backend", "ray", "--scheduler", address]


@pytest.fixture
def cluster(request):
    return request.getfixturevalue(request.param)


CLUSTERS = pytest.mark.parametrize("cluster", ["dask", pytest.param("ray", marks=pytest.mark.ray)], indirect=True)


def command(*options):
    ours = [sys.executable, "-m", "mirex_submission", "crossval", "lists", "--scratch", "scratch", "--out", "out"]
    return [*ours, *options]


# Killed workers.


@pytest.mark.slow
@pytest.mark.usefixtures("lists")
@CLUSTERS
def test_a_killed_worker_repeats_only_its_step_with_the_same_bytes(call, submission, tmp_path, cluster):
    kill = f"[ -e {tmp_path}/killed ] || {{ touch {tmp_path}/killed; kill -9 $PPID; sleep 1000; }}"
    good = submission("good", **{**SCRIPTS, "train": f'case "$4" in *fold2*) {kill} ;; esac\n{TRAIN}'})
    other = submission("other", extractFeatures=EXTRACT, train="sleep 1\n" + TRAIN, classify=CLASSIFY)
    systems = ("--submission", f"Good={good}", "--submission", f"Other={other}", "--time-limit", "2m")
    (tmp_path / "killed").touch()
    assert call(*systems)[0] == 0
    alone = {name: files_below(tmp_path / "out" / name / "outputs") for name in ("Good", "Other")}
    for folder in ("out", "scratch"):
        (tmp_path / folder).rename(tmp_path / f"{folder}.alone")
    for name in ("killed", "good/called", "other/called"):
        (tmp_path / name).unlink()

    status, _, stderr = call(*systems, *cluster)
    assert status == 0, stderr
    assert {name: files_below(tmp_path / "out" / name / "outputs") for name in ("Good", "Other")} == alone
    figures = "PerFoldResults.csv"
    assert (tmp_path / "out" / figures).read_bytes() == (tmp_path / "out.alone" / figures).read_bytes()
    assert sorted(called(tmp_path)) == sorted([*ALL_CALLS, "train.sh fold2"])
    assert sorted(called(tmp_path, "other")) == sorted(ALL_CALLS)
    attempts = {fold: made["calls"][0]["attempts"] for fold, made in runs(tmp_path)["systems"]["Good"]["folds"].items()}
    assert attempts == {"fold1": 1, "fold2": 2, "fold3": 1}
    assert not list((tmp_path / "scratch").rglob("*.worker"))
    (tmp_path / "good/called").write_text("")
    assert call(*systems)[0] == 0  # here again: nothing is repeated
    assert called(tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("lists")
@CLUSTERS
def test_a_step_that_kills_each_worker_fails_with_a_reason_and_the_others_continue(call, submission, tmp_path, cluster):
    kill = 'case "$4" in *fold2*) kill -9 $PPID; sleep 1000 ;; esac\n'
    folder = submission(train=f'{kill}cp "$4" "$3/model"\n', classify=CLASSIFY)
    status, _, stderr = call("--submission", f"Good={folder}", *cluster)
    assert status == 8
    assert accuracies(tmp_path) == {"Good": [4, 0, 4]}
    assert re.search(r"Good fold2: train: the worker .* was lost.*\[crossval\.worker-lost\]", stderr)
    assert "Traceback" not in stderr


# Interrupted runs.


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_stops_its_steps_on_the_workers_and_resumes(submission, tmp_path, dask, number, status):
    wait = f"[ -e {tmp_path}/go ] || {{ sleep 1000 & echo $! > {tmp_path}/pid; wait; }}"
    folder = submission(**{**SCRIPTS, "train": f'case "$4" in *fold2*) {wait} ;; esac\n{TRAIN}'})
    run = command("--submission", f"Good={folder}", *dask)
    with subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        outputs = [tmp_path / f"out/Good/outputs/fold{k}.txt" for k in (1, 3)]
        wait_for(lambda: process.poll() or all(p.exists() and p.read_text() for p in [tmp_path / "pid", *outputs]))
        wait_for(lambda: process.poll() or len(list((tmp_path / "scratch").rglob("*.worker"))) == 1)
        process.send_signal(number)
        _, stderr = process.communicate()
    assert process.returncode == status, stderr
    (tmp_path / "go").touch()
    if number == signal.SIGKILL:  # the same command at once: it takes over from the step that still runs
        assert not gone(int((tmp_path / "pid").read_text()))
    before = called(tmp_path)
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert gone(int((tmp_path / "pid").read_text()))
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}
    assert called(tmp_path)[len(before) :] == ["train.sh fold2", "classify.sh fold2"]


@pytest.mark.slow
@pytest.mark.usefixtures("lists")
def test_a_killed_scheduler_ends_the_run_and_its_steps(submission, tmp_path):
    pytest.importorskip("distributed")
    folder = submission(train=f"sleep 1000 & echo $! > {tmp_path}/pid; wait\n", classify=CLASSIFY)
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", n_workers=1) as (address, (scheduler, *_)):
        run = command("--submission", str(folder), "--backend", "dask", "--scheduler", address)
        with subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            wait_for(lambda: process.poll() or ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
            scheduler.kill()
            _, stderr = process.communicate()
        assert process.returncode == 2
        assert "[usage.no-cluster]" in stderr and "Traceback" not in stderr, stderr
        wait_for(lambda: gone(int((tmp_path / "pid").read_text())))


# Folder and environment of a step on a worker.


@pytest.mark.usefixtures("lists")
def test_steps_have_the_callers_folder_and_environment_and_the_workers_gpu(
    call, submission, tmp_path, dask, monkeypatch
):
    for name, value in {"CUDA_VISIBLE_DEVICES": "4,5", "SLURM_JOB_ID": "1", "WHOSE": "caller"}.items():
        monkeypatch.setenv(name, value)
    folder = submission(train='pwd; env; cp "$4" "$3/model"\n', classify=CLASSIFY)
    for options, gpu in ([], "GPU-of-worker"), (["--device", "cpu", "-numThreads", "2"], "-1"):
        assert call("--submission", f"Good={folder}", *options, *dask)[0] == 0
        seen = (tmp_path / "out/Good/logs/fold1.train.log").read_text().splitlines()
        assert {str(tmp_path), f"CUDA_VISIBLE_DEVICES={gpu}", "SLURM_JOB_ID=77", "WHOSE=caller"} <= set(seen)
        assert not [line for line in seen if line.startswith("OMP_") and line.partition("=")[0] not in os.environ]


# Unusable clusters.


@pytest.mark.usefixtures("lists")
def test_an_unreachable_scheduler_is_named_before_any_step_runs(call, submission, tmp_path):
    pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    began_s = time.monotonic()
    status, _, stderr = call("--submission", str(submission()), "--backend", "dask", "--scheduler", address)
    assert status == 2 and f" {address}: " in stderr and "[usage.no-cluster]" in stderr
    assert not (tmp_path / "good/called").exists() and time.monotonic() < began_s + 30


@pytest.mark.usefixtures("lists")
def test_a_scheduler_needs_a_cluster(call, submission, tmp_path):
    status, _, stderr = call("--submission", str(submission()), "--scheduler", "tcp://127.0.0.1:8786")
    assert status == 2 and "[usage.scheduler]" in stderr and not (tmp_path / "scratch").exists()


@pytest.mark.usefixtures("lists")
@CLUSTERS
def test_workers_that_do_not_share_the_scratch_folder_are_named(call, submission, tmp_path, cluster):
    """Use /proc/self/cwd, which is a different folder for each process."""
    folder = submission()
    status, _, stderr = call("--submission", str(folder), *cluster, "--scratch", "/proc/self/cwd/scratch")
    assert status == 2
    assert re.search(r"the worker \S+ does not see /proc/self/cwd/scratch/\.lock: .*\[crossval\.unshared\]", stderr)
    assert not (tmp_path / "good/called").exists()
    status, _, stderr = call("--submission", "/proc/self/cwd/good/commands", *cluster)
    assert status == 2 and "does not see /proc/self/cwd/good/commands: " in stderr


@pytest.mark.usefixtures("lists")
def test_a_scratch_folder_in_use_is_refused_and_its_heartbeat_is_unchanged(call, submission, tmp_path, dask):
    (tmp_path / "scratch").mkdir()
    with open(tmp_path / "scratch/.lock", "w+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with beating(lock.fileno(), tmp_path / "scratch/.lock", threading.Event()) as heartbeat:
            status, _, stderr = call("--submission", str(submission()), *dask)
            assert status == 2 and "[crossval.locked]" in stderr
            assert heartbeat.read().startswith(heartbeat.run)


# How a worker monitors its run.


@pytest.fixture
def beat(tmp_path, monkeypatch):
    """A heartbeat of 0.1 s, the event that ends it, and a watch on it."""
    monkeypatch.setattr(remote, "_BEAT_S", 0.1)
    monkeypatch.setattr(remote, "SILENCE_S", 1.0)
    stop, lease = threading.Event(), tmp_path / "step.worker"
    lease.write_text("mine")
    with open(tmp_path / "lock", "w+b") as lock, beating(lock.fileno(), tmp_path / "lock", stop) as heartbeat:
        yield heartbeat, stop, remote._Watch(heartbeat, lease, "mine")


def until_set(watch):
    began_s = time.monotonic()
    wait_for(watch.is_set)
    return time.monotonic() - began_s


def test_a_step_continues_as_long_as_its_run_is_alive(beat):
    _, stop, watch = beat
    for _ in range(15):
        assert not watch.is_set()
        time.sleep(0.1)
    stop.set()
    assert until_set(watch) < 5


def test_a_step_stops_when_its_run_has_no_new_heartbeat(beat):
    heartbeat, stop, watch = beat
    stop.set()
    wait_for(lambda: heartbeat.read() == remote._ENDED)
    heartbeat.path.write_text(f"{heartbeat.run} 5")  # as a run that is killed leaves it
    assert until_set(watch) > 0.8


@pytest.mark.parametrize("change", ["another run", "no file", "another worker", "no lease"])
def test_a_step_stops_when_another_run_or_worker_has_taken_over(beat, tmp_path, change):
    heartbeat, _, watch = beat
    assert not watch.is_set()
    if change == "another run":
        watch._heartbeat = Heartbeat(heartbeat.path, "other", 1000)
    elif change == "another worker":
        (tmp_path / "step.worker").write_text("theirs")
    else:
        (tmp_path / ("lock" if change == "no file" else "step.worker")).unlink()
    assert until_set(watch) < 5


# Our own systems.


@pytest.mark.slow
def test_our_own_systems_give_the_same_bytes_on_a_cluster(run_script, corpus, tmp_path, dask):
    labelled = [line.split("\t") for name in ("train", "truth") for line in corpus[name].read_text().splitlines()]
    write_lists(tmp_path / "lists", sorted(labelled, key=lambda pair: Path(pair[0]).name[::-1]), n_folds=2)
    train = "--epochs 2 --segments-per-track 4 --model all --no-picture"
    args = ["crossval", "lists", "--device", "cpu"]
    for name, more in {"all": [], "two": ["--classify-options", "two=--model 2"]}.items():
        args += ["--submission", f"{name}={OWN_FOLDER}", "--train-options", f"{name}={train}", *more]
    for place, options in {"alone": [], "cluster": dask}.items():
        where = ["--scratch", f"{place}/scratch", "--out", f"{place}/out"]
        done = run_script("mirex-submission.sh", *args, *where, *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for name in ("all", "two"):
        for kind in ("outputs", "probabilities"):
            alone, spread = (files_below(tmp_path / place / "out" / name / kind) for place in ("alone", "cluster"))
            assert alone == spread and len(alone) == 2
    assert len(re.findall(r"train: done in", done.stderr)) == 2  # two systems share the training of each fold
