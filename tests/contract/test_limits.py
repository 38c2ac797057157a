"""The three calls under low limits of the system: the same output, or a status and the name of the limit."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import files_below, run_calls, start

from mirex_submission.cli import exit as process
from mirex_submission.networks import kernel
from mirex_submission.system import atomic

CALLS = ("extractFeatures.sh", "train.sh", "classify.sh")
TRAINING = ("--model", 1, "--epochs", 1, "--segments-per-track", 4, "--no-picture")
MIB = 1 << 20
NOBODY = 12345  # without an entry in /etc/passwd


def run_all(folder, corpus, **more):
    """Make the three calls; return their statuses and the log."""
    scratch = folder / "scratch"
    arguments = (
        ("-numThreads", 2, scratch, corpus["features"]),
        ("-numThreads", 2, *TRAINING, scratch, corpus["train"]),
        ("-numThreads", 2, scratch, corpus["test"], folder / "out/out.txt"),
    )
    return run_calls(((script, *args) for script, args in zip(CALLS, arguments, strict=True)), **more)


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
    """Model and output of a run without limits."""
    folder = tmp_path_factory.mktemp("straight")
    assert run_all(folder, corpus)[0] == [0, 0, 0]
    return results(folder)


def results(folder):
    return {name: data for name, data in files_below(folder).items() if name.startswith(("scratch/model", "out"))}


def limit(**limits):
    """Return a function that sets resource limits in a child process before it runs its program."""

    def set_limits():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    return set_limits


def on_one_processor():
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


@pytest.fixture
def nowhere(tmp_path):
    """A path below a file: a folder that nobody can make or write, not even root."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file/folder")


# Two threads need 410 MiB of address space in addition to Python (system/environment.py); Keras needs 2,580 MiB in
# addition to Python, NumPy and the threads that read headers.
ENOUGH_MIB = 512 if kernel.compiled else 3584
GRANTED = {
    "few addresses": limit(AS=ENOUGH_MIB * MIB),
    "64 open files": limit(NOFILE=64),
    "one processor": on_one_processor,
    "8 MB of stack, no core, no locked memory": limit(STACK=8 * MIB, CORE=0, MEMLOCK=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("granted", GRANTED)
def test_a_limit_does_not_change_the_results(straight, corpus, tmp_path, granted):
    statuses, log = run_all(tmp_path, corpus, before=GRANTED[granted])
    assert statuses == [0, 0, 0], log
    assert results(tmp_path) == straight


def test_all_limits_together_without_home_and_temporary_folder_change_nothing(straight, corpus, tmp_path, nowhere):
    def all_limits():
        for granted in GRANTED.values():
            granted()

    env = {"HOME": nowhere, "TMPDIR": nowhere, "XDG_CACHE_HOME": nowhere, "LC_ALL": "C", "LANG": "C"}
    statuses, log = run_all(tmp_path, corpus, env=env, before=all_limits)
    assert statuses == [0, 0, 0], log
    assert results(tmp_path) == straight
    assert "temporary" not in log  # Matplotlib's warning if it cannot store its list of fonts


@pytest.mark.slow
def test_the_environment_needs_no_home(corpus, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    with start("extractFeatures.sh", tmp_path, corpus["features"]) as process:
        log = process.communicate(timeout=120)[1]
    assert process.returncode == 0, log


@pytest.mark.parametrize("locale", ["C", pytest.param("xx_XX.none", marks=pytest.mark.slow)])
def test_names_with_non_ascii_letters_work_in_any_locale(corpus, tmp_path, locale):
    folder = tmp_path / "Zwölf Töne é ♫"
    folder.mkdir()
    audio = shutil.copy(corpus["features"].read_text().split()[0], folder / "ünlü.wav")
    (folder / "lïst.txt").write_text(f"{audio}\n", encoding="utf-8")
    env = {"LC_ALL": locale, "LANG": locale}
    with start("extractFeatures.sh", folder / "scrätch", folder / "lïst.txt", env=env) as process:
        log = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and len(list(folder.rglob("*.logmel"))) == 1, log


# Limits that are too low.


def run_with_memory(mib, corpus, folder):
    """Make the three calls with so many MiB of address space; return their statuses."""
    shutil.rmtree(folder, ignore_errors=True)
    statuses, log = run_all(folder, corpus, before=limit(AS=mib * MIB))
    assert statuses == [0, 0, 0] or "[limits.memory]" in log or mib < 100, (mib, statuses, log)
    return statuses


@pytest.mark.parametrize("mib", [140, 400])
def test_too_little_memory_is_status_9_at_once(corpus, tmp_path, mib):
    """Without a check of this limit, OpenBLAS could crash, or the run could wait forever for a thread."""
    assert run_with_memory(mib, corpus, tmp_path / "run") == [9, 9, 9]
    assert not (tmp_path / "run").exists()


def test_too_little_memory_for_keras_is_status_9_before_the_extraction(corpus, tmp_path):
    """Without the check, TensorFlow would abort after the extraction."""
    call = ("train.sh", "-numThreads", 2, "--engine", "keras", *TRAINING, tmp_path / "s", corpus["train"])
    statuses, log = run_calls([call], before=limit(AS=2500 * MIB))
    assert statuses == [9] and "[limits.memory]" in log and "Keras" in log, log
    assert not list((tmp_path / "s").rglob("*.logmel"))


@pytest.mark.slow
def test_no_amount_of_memory_causes_a_crash_or_a_hang(straight, corpus, tmp_path):
    limits_mib = range(40, ENOUGH_MIB, 10 if kernel.compiled else 300)
    done = {mib: run_with_memory(mib, corpus, tmp_path / "run") for mib in limits_mib}
    # A training needs a few MiB more than an extraction; without the compiled kernels, Keras much more than librosa.
    allowed = [[9, 9, 9], [0, 9, 5], [0, 0, 0]]
    # With less than 100 MiB even Python does not always start.
    assert all(statuses in allowed for mib, statuses in done.items() if mib >= 100), done
    assert done[limits_mib[-1]] == [0, 0, 0] and results(tmp_path / "run") == straight, done


def test_workers_that_cannot_start_are_status_9_and_not_an_error_of_a_track(corpus, tmp_path):
    """As if the memory were enough for the main process but not for a worker."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'LokyProcess' in open('/proc/self/cmdline').read(): os._exit(1)\n"
    )
    call = ("extractFeatures.sh", "-numThreads", 2, tmp_path / "s", corpus["features"])
    statuses, log = run_calls([call], env={"PYTHONPATH": str(tmp_path)})
    assert statuses == [9] and "[limits.workers]" in log and "[audio.crash]" not in log, log


# Another user. Root may give this user the capability to read files that only root can reach, such as Python.


@pytest.fixture
def as_nobody(corpus, tmp_path):
    """Return a function that runs Python as a user without a name, and a folder of this user."""
    own = tmp_path / "own"
    own.mkdir()
    become = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]

    def run(*args, before=None):
        command = [*become, sys.executable, *map(str, args)]
        return subprocess.run(command, env={"HOME": "/"}, preexec_fn=before, capture_output=True, text=True)

    for reading in ([], ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]):
        become += reading
        reaches_all = f"import os; os.listdir({sys.base_prefix!r}); open({str(corpus['features'])!r})"
        if shutil.which("setpriv") and run("-c", reaches_all).returncode == 0:
            os.chown(own, NOBODY, NOBODY)
            return run, own
    pytest.skip("this system does not allow another user")


@pytest.mark.slow
def test_the_user_needs_neither_a_name_nor_a_writable_home(straight, corpus, as_nobody):
    run, own = as_nobody
    for args in (
        ("extract", own / "scratch", corpus["features"]),
        ("train", "-numThreads", 2, *TRAINING, own / "scratch", corpus["train"]),
        ("classify", own / "scratch", corpus["test"], own / "out/out.txt"),
    ):
        done = run("-m", "mirex_submission", *args)
        assert done.returncode == 0, done.stderr
    assert results(own) == straight
    assert {path.stat().st_uid for path in own.rglob("*")} == {NOBODY}


@pytest.mark.parametrize("n_threads", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_low_limit_of_processes_and_threads_is_enough_or_reported(corpus, as_nobody, n_threads):
    """This limit does not apply to root."""
    run, own = as_nobody
    done = run(
        "-m", "mirex_submission", "extract", "-numThreads", 4, own, corpus["features"], before=limit(NPROC=n_threads)
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if n_threads == 8 else 9), done.stderr
    assert n_threads == 8 or "[limits.threads]" in done.stderr


# /dev/shm in a container.


@pytest.mark.parametrize("size", ["64m", pytest.param("none", marks=pytest.mark.slow)])
def test_many_processes_work_with_little_or_no_shared_memory(tmp_path, size):
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm" if size != "none" else "mount -t tmpfs -o ro tmpfs /dev/shm"
    prefix = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 20 * 22050), 22050)
    paths = [tmp_path / f"{k}.wav" for k in range(24)]
    for path in paths:
        path.symlink_to("long.wav")
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    with start("extractFeatures.sh", "-numThreads", 3, tmp_path / "s", tmp_path / "list.txt", prefix=prefix) as process:
        log = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "Traceback" not in log, log
    assert len(list(Path(tmp_path, "s").rglob("*.logmel"))) == 24


@pytest.mark.parametrize(("code", "status"), [(errno.ENOMEM, 9), (errno.EMFILE, 9), (errno.EIO, 7)], ids=os.strerror)
def test_too_little_memory_or_too_few_open_files_are_not_reported_as_an_error_of_the_disk(
    tmp_path, monkeypatch, caplog, code, status
):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "replace", fail)
    monkeypatch.setattr(process.log, "propagate", True)
    monkeypatch.setattr(process, "_STOPS", ())  # pytest keeps its handlers
    assert process.status_of(lambda: atomic.write_file(tmp_path / "file", b"x")) == status
    assert ("[limits." in caplog.text) == (status == 9)
