"""Processes of this machine, Dask and Ray give the same bytes, and a worker that dies loses no track.

The clusters are real ones, of two workers each, which the tests start and stop. Their workers import this file.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
from clusters import START_S, dask_cluster, end, free_port, ray_cluster, start

from mirex_submission.errors import StorageError, UsageError
from mirex_submission.features.extraction import extract
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system import workers as workers_module
from mirex_submission.system.workers import Workers

SPEC = FeatureSpec(rate_hz=11025, n_frames=8)
N_TRACKS = 24
VICTIM = "10.wav"


class DeadlyStore(FeatureStore):
    """A store in which one track kills the process that extracts it - not the tests' own - the first `times` times."""

    def __init__(self, scratch, *, times):
        super().__init__(scratch, SPEC)
        self.times, self.home, self.deaths = times, os.getpid(), Path(scratch) / "deaths"
        self.deaths.parent.mkdir()
        self.deaths.touch()

    def write(self, header, frames):
        if os.path.basename(header.path) == VICTIM:
            assert os.getpid() != self.home, "extracted in the calling process"
            if self.deaths.stat().st_size < self.times:
                with open(self.deaths, "ab") as f:
                    f.write(b"x")
                os.kill(os.getpid(), signal.SIGKILL)
        super().write(header, frames)


def stored(store):
    """What is stored; a process that is killed may leave a temporary file behind."""
    return {p.name: p.read_bytes() for p in store.folder.rglob("*.logmel")}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks")
    paths = [str(folder / f"{k:02}.wav") for k in range(N_TRACKS)]
    for k, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, 6000 + 50 * k), 11025)
    return paths


@pytest.fixture(scope="module")
def sequential(tracks, tmp_path_factory):
    """The records and the stored files of a run that extracts one track at a time."""
    store = FeatureStore(tmp_path_factory.mktemp("sequential"), SPEC)
    return extract(tracks, [store], Workers(1)), stored(store)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """The Dask backend, joined to a scheduler with two workers of one thread each, in processes of their own."""
    pytest.importorskip("distributed")
    with dask_cluster(tmp_path_factory.mktemp("dask"), n_workers=2) as (address, _):
        yield Workers(-1, "dask", address)


@pytest.fixture(scope="module")
def ray():
    """The Ray backend, joined to a head with two processors, in processes of its own."""
    pytest.importorskip("ray")
    with ray_cluster() as address:
        yield Workers(-1, "ray", address)


@pytest.fixture
def loky():
    """Two processes of this machine."""
    return Workers(2)


# What the processes of this machine do is tested in test_extraction.py and test_contract.py too.
CLUSTERS = ["dask", pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(autouse=True)
def patience():
    """A test that waits for ever fails."""

    def lose(signum, frame):
        raise AssertionError("waited too long")

    before = signal.signal(signal.SIGALRM, lose)
    signal.alarm(3 * START_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def workers(request):
    return request.getfixturevalue(request.param)


# The same result everywhere.


@pytest.mark.parametrize("workers", CLUSTERS, indirect=True)
def test_a_cluster_stores_the_same_bytes_as_a_sequential_run(workers, tracks, sequential, tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    records = extract(tracks, [store], workers)
    assert records == sequential[0]
    assert len(stored(store)) == N_TRACKS and stored(store) == sequential[1]


@pytest.mark.parametrize("workers", CLUSTERS, indirect=True)
def test_a_cluster_does_the_work_in_its_two_workers(workers):
    with workers.joined():
        pids = set(workers.run(joblib.delayed(_pid_after)(0.1) for _ in range(20)))
    assert len(pids) == 2 and os.getpid() not in pids


def _pid_after(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.parametrize("workers", CLUSTERS, indirect=True)
def test_bad_tracks_become_records_on_a_cluster_too(workers, tracks, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    bad = [str(tmp_path / "text.wav"), str(tmp_path / "missing.wav"), "no\0path.wav"]
    records = extract([*bad, *tracks[:9]], [FeatureStore(tmp_path / "scratch", SPEC)], workers)
    assert [records[path].content for path in bad] == ["", "", ""]
    for path, code in zip(bad, ("audio.undecodable", "audio.unreadable", "audio.unreadable"), strict=True):
        assert records[path].reason.endswith(f" [{code}]")
    assert all(records[path].content for path in tracks[:9])


@pytest.mark.parametrize("workers", CLUSTERS, indirect=True)
def test_a_disk_that_cannot_be_written_ends_the_run_with_its_own_error(workers, tracks, tmp_path):
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(StorageError, match=r"/scratch.*\[disk\.in-the-way\]"):
        extract(tracks, [FeatureStore(tmp_path / "scratch", SPEC)], workers)


# Workers that die.


@pytest.mark.parametrize("workers", ["loky", *CLUSTERS], indirect=True)
def test_a_killed_worker_loses_no_track(workers, tracks, sequential, tmp_path):
    store = DeadlyStore(tmp_path / "scratch", times=1)
    records = extract(tracks, [store], workers)
    assert store.deaths.stat().st_size == 1
    assert [records[path].content for path in tracks] == [sequential[0][path].content for path in tracks]
    assert stored(store) == sequential[1]


@pytest.mark.parametrize("workers", CLUSTERS, indirect=True)
def test_a_track_that_kills_every_worker_is_reported_and_loses_no_other_track(workers, tracks, sequential, tmp_path):
    store = DeadlyStore(tmp_path / "scratch", times=1000)
    records = extract(tracks, [store], workers)
    (victim,) = [path for path, record in records.items() if not record.content]
    assert os.path.basename(victim) == VICTIM
    assert records[victim].reason.endswith(" [audio.crash]")
    assert store.deaths.stat().st_size >= 2  # it got a second chance
    assert stored(store) == {k: v for k, v in sequential[1].items() if k != store.file_of(victim).name}


# Clusters that cannot be joined.


@pytest.fixture
def hasty(monkeypatch):
    for variable in ("DASK_SCHEDULER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(workers_module, "_WAIT_S", 2.0)


def refusal(workers):
    """The code and the text of the error of workers that cannot be joined."""
    with pytest.raises(UsageError) as caught, workers.joined():
        pass
    return caught.value.code, caught.value.text


def test_dask_without_an_address_asks_for_one(hasty):
    pytest.importorskip("distributed")
    code, text = refusal(Workers(-1, "dask"))
    assert code == "usage.no-cluster" and "--scheduler tcp://HOST:8786" in text


def test_a_missing_dask_scheduler_is_an_error_with_its_address(hasty):
    pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    code, text = refusal(Workers(-1, "dask", address))
    assert code == "usage.no-cluster" and f" {address}: " in text


@pytest.mark.parametrize("address", ["127.0.0.1", "tcp://127.0.0.1:port", "no such://127.0.0.1:8786", "tcp://"])
def test_an_invalid_address_is_an_error_that_quotes_it(hasty, address):
    pytest.importorskip("distributed")
    code, text = refusal(Workers(-1, "dask", address))
    assert code == "usage.no-cluster" and f" {address}: " in text


def test_a_dask_scheduler_without_workers_is_an_error_with_its_address(hasty, tmp_path):
    distributed = pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    command = ("dask", "scheduler", "--host", "127.0.0.1", "--port", address[-5:], "--no-dashboard")
    process = start(tmp_path / "log", *command)
    try:
        distributed.Client(address, timeout=START_S).close()
        code, text = refusal(Workers(-1, "dask", address))
        assert code == "usage.cluster-size" and address in text
    finally:
        end([process])


def test_dask_takes_its_address_from_the_environment_too(dask, tmp_path):
    """In a process of its own, for Dask reads its environment when it is imported."""
    code = "import os, joblib; from mirex_submission.system.workers import Workers; w = Workers(-1, 'dask')\n"
    code += "with w.joined(): print(*w.run([joblib.delayed(os.getpid)()]), os.getpid())"
    environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": dask.scheduler}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    there, here = done.stdout.split()
    assert there != here


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_missing_library_of_a_cluster_is_an_error_that_names_the_extra(monkeypatch, backend):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, text = refusal(Workers(-1, backend))
    assert code == "usage.package" and f"[{backend}]" in text


@pytest.mark.ray
def test_a_missing_ray_head_is_an_error_with_its_address(hasty):
    pytest.importorskip("ray")
    address = f"127.0.0.1:{free_port()}"
    code, text = refusal(Workers(-1, "ray", address))
    assert code == "usage.no-cluster" and address in text


@pytest.mark.ray
def test_ray_does_not_change_signal_handlers(ray):
    def handler(signum, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with ray.joined():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.ray
def test_ray_runs_at_most_as_many_jobs_as_it_has_processors(ray, tracks, tmp_path):
    store = FeatureStore(tmp_path, SPEC)
    assert all(record.content for record in extract(tracks[:3], [store], Workers(8, "ray", ray.scheduler)).values())


def test_relative_paths_are_those_of_the_folder_of_each_run(tracks, tmp_path, monkeypatch):
    """Workers are used again after the current folder has changed."""
    for name, track in zip("ab", tracks, strict=False):
        (tmp_path / name).mkdir()
        shutil.copy(track, tmp_path / name / "track.wav")
        monkeypatch.chdir(tmp_path / name)
        (record,) = extract(["track.wav"], [FeatureStore(tmp_path / "s", SPEC)], Workers(2)).values()
        assert record.content and record.path == "track.wav", record.reason


# One process of this machine is a copy of the calling one, if that has one thread.

FORK = """
import os, signal, threading
import joblib
from mirex_submission.errors import StorageError
from mirex_submission.system import workers
from mirex_submission.system.workers import WorkerLost, Workers

loaded = "only this process knows it"

def work(what):
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "fail":
        raise StorageError("full", code="disk.full")
    if what == "term":
        return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return os.getpid(), loaded

def run(*tasks):
    one = Workers(1)
    with one.joined():
        return list(one.run(joblib.delayed(work)(task) for task in tasks))

assert workers._can_fork()
signal.signal(signal.SIGTERM, lambda *_: None)
(first, text), (second, _), unhandled = run("a", "b", "term")
assert first == second != os.getpid() and text == loaded and unhandled
for task, kind in (("die", WorkerLost), ("fail", StorageError)):
    try:
        run("a", task, "b")
    except kind as error:
        assert "[disk.full]" in str(error) or task == "die"
    else:
        raise AssertionError(task)
try:
    os.kill(first, 0)
except ProcessLookupError:
    pass
else:
    raise AssertionError("the copy lives on")
threading.Thread(target=threading.Event().wait, daemon=True).start()
assert not workers._can_fork()
"""


def test_one_process_is_a_copy_of_this_one_and_returns_errors():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as each command sets it: BLAS has no threads
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_copy_ends_with_the_process_that_started_it():
    code = """
import os, time, joblib
from mirex_submission.system.workers import Workers
workers = Workers(1)
with workers.joined():
    for pid in workers.run(joblib.delayed(os.getpid)() for _ in range(2)):
        print(pid, flush=True)
        time.sleep(60)
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        process.kill()
    deadline_s = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")
