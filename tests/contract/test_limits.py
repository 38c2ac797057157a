"""The three calls where a system grants little: the same output, or a status and a word of what was too little."""

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
    """The statuses of the three calls and what they said."""
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
    """For a process before it becomes another: the most that it may have."""

    def set_limits():
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))

    return set_limits


def on_one_processor():
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])


@pytest.fixture
def nowhere(tmp_path):
    """A path below a file: a folder that can be neither made nor written, by root either."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file/folder")


# Two threads need 410 MiB of addresses beyond those of Python (system/environment.py); with Keras 2,580 MiB beyond
# those of Python, NumPy and the threads that read headers.
ENOUGH_MIB = 512 if kernel.compiled else 3584
GRANTED = {
    "few addresses": limit(AS=ENOUGH_MIB * MIB),
    "64 open files": limit(NOFILE=64),
    "one processor": on_one_processor,
    "8 MB of stack, no core, no locked memory": limit(STACK=8 * MIB, CORE=0, MEMLOCK=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("granted", GRANTED)
def test_a_limit_changes_no_byte(straight, corpus, tmp_path, granted):
    statuses, said = run_all(tmp_path, corpus, before=GRANTED[granted])
    assert statuses == [0, 0, 0], said
    assert results(tmp_path) == straight


def test_all_limits_at_once_without_a_home_and_temporary_folders_change_no_byte(straight, corpus, tmp_path, nowhere):
    def all_limits():
        for granted in GRANTED.values():
            granted()

    env = {"HOME": nowhere, "TMPDIR": nowhere, "XDG_CACHE_HOME": nowhere, "LC_ALL": "C", "LANG": "C"}
    statuses, said = run_all(tmp_path, corpus, env=env, before=all_limits)
    assert statuses == [0, 0, 0], said
    assert results(tmp_path) == straight
    assert "temporary" not in said  # Matplotlib's word where it finds no place for its list of fonts


@pytest.mark.slow
def test_an_environment_without_a_home_will_do(corpus, tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    with start("extractFeatures.sh", tmp_path, corpus["features"]) as process:
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said


@pytest.mark.parametrize("locale", ["C", pytest.param("xx_XX.none", marks=pytest.mark.slow)])
def test_names_beyond_ascii_do_in_any_locale(corpus, tmp_path, locale):
    folder = tmp_path / "Zwölf Töne é ♫"
    folder.mkdir()
    audio = shutil.copy(corpus["features"].read_text().split()[0], folder / "ünlü.wav")
    (folder / "lïst.txt").write_text(f"{audio}\n", encoding="utf-8")
    env = {"LC_ALL": locale, "LANG": locale}
    with start("extractFeatures.sh", folder / "scrätch", folder / "lïst.txt", env=env) as process:
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and len(list(folder.rglob("*.logmel"))) == 1, said


# Too little.


def of_memory(mib, corpus, folder):
    """Statuses of the three runs with so many MiB of addresses."""
    shutil.rmtree(folder, ignore_errors=True)
    statuses, log = run_all(folder, corpus, before=limit(AS=mib * MIB))
    assert statuses == [0, 0, 0] or "[limits.memory]" in log or mib < 100, (mib, statuses, log)
    return statuses


@pytest.mark.parametrize("mib", [140, 400])
def test_too_little_memory_is_status_9_at_once(corpus, tmp_path, mib):
    """Without the check of its limit a run could end in a crash of OpenBLAS, or wait forever for a thread to start."""
    assert of_memory(mib, corpus, tmp_path / "run") == [9, 9, 9]
    assert not (tmp_path / "run").exists()


def test_too_little_memory_for_keras_is_status_9_before_the_extraction(corpus, tmp_path):
    """TensorFlow would abort, after the extraction."""
    call = ("train.sh", "-numThreads", 2, "--engine", "keras", *TRAINING, tmp_path / "s", corpus["train"])
    statuses, log = run_calls([call], before=limit(AS=2500 * MIB))
    assert statuses == [9] and "[limits.memory]" in log and "Keras" in log, log
    assert not list((tmp_path / "s").rglob("*.logmel"))


@pytest.mark.slow
def test_from_too_little_memory_to_enough_there_is_no_crash_and_no_hang(straight, corpus, tmp_path):
    limits_mib = range(40, ENOUGH_MIB, 10 if kernel.compiled else 300)
    done = {mib: of_memory(mib, corpus, tmp_path / "run") for mib in limits_mib}
    allowed = [[9, 9, 9], [0, 0, 0]]
    if not kernel.compiled:
        allowed.append([0, 9, 5])  # enough for librosa, but not for Keras
    # With less than 100 MiB not even Python starts every time.
    assert all(statuses in allowed for mib, statuses in done.items() if mib >= 100), done
    assert done[limits_mib[-1]] == [0, 0, 0] and results(tmp_path / "run") == straight, done


def test_workers_that_cannot_start_are_status_9_and_no_track_is_blamed(corpus, tmp_path):
    """As where memory suffices for this process, but not for a worker: each track would cost the start of a worker."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nif 'LokyProcess' in open('/proc/self/cmdline').read(): os._exit(1)\n"
    )
    call = ("extractFeatures.sh", "-numThreads", 2, tmp_path / "s", corpus["features"])
    statuses, log = run_calls([call], env={"PYTHONPATH": str(tmp_path)})
    assert statuses == [9] and "[limits.workers]" in log and "[audio.crash]" not in log, log


# Another user. Root may let one read what only root can reach, as the Python of a developer; Bash would not find it.


@pytest.fixture
def as_nobody(corpus, tmp_path):
    """Run a command of the program as a user that no file names: what it did. And a folder of that user's own."""
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
    pytest.skip("no other user can be become here")


@pytest.mark.slow
def test_any_user_will_do_without_a_name_and_with_a_home_that_only_root_may_write(straight, corpus, as_nobody):
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
def test_few_processes_and_threads_are_enough_or_said_so(corpus, as_nobody, n_threads):
    """A limit that binds no root."""
    run, own = as_nobody
    done = run(
        "-m", "mirex_submission", "extract", "-numThreads", 4, own, corpus["features"], before=limit(NPROC=n_threads)
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == (0 if n_threads == 8 else 9), done.stderr
    assert n_threads == 8 or "[limits.threads]" in done.stderr


# A container's /dev/shm.


@pytest.mark.parametrize("size", ["64m", pytest.param("none", marks=pytest.mark.slow)])
def test_a_small_shared_memory_is_no_matter_for_many_processes(tmp_path, size):
    """Not even none at all."""
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
        said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "Traceback" not in said, said
    assert len(list(Path(tmp_path, "s").rglob("*.logmel"))) == 24


@pytest.mark.parametrize(("code", "status"), [(errno.ENOMEM, 9), (errno.EMFILE, 9), (errno.EIO, 7)], ids=os.strerror)
def test_a_file_that_cannot_be_made_for_want_of_memory_or_open_files_is_no_fault_of_the_disk(
    tmp_path, monkeypatch, caplog, code, status
):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "replace", fail)
    monkeypatch.setattr(process.log, "propagate", True)
    monkeypatch.setattr(process, "_STOPS", ())  # pytest keeps its handlers
    assert process.status_of(lambda: atomic.write_file(tmp_path / "file", b"x")) == status
    assert ("[limits." in caplog.text) == (status == 9)
