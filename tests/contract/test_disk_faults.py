"""A disk that fails at any operation of a small run, and small disks that are really full.

A run ends with status 7 or succeeds. The same calls on a good disk then give the same files as without an error.
"""

import builtins
import contextlib
import errno
import io
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from processes import files_below, run_calls, start, wait_for

from mirex_submission.cli.main import main
from mirex_submission.system.workers import Workers

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOENT)
SIZES = ("--frames", "40", "--no-check")  # the check would end most of these runs before the disk is full
TRAINING = (*SIZES, "--epochs", "2", "--segments-per-track", "4", "--checkpoint-every", "0")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A folder with a training list of two classes of two tracks, a test list of two tracks, and a list of all."""
    folder, lines = tmp_path_factory.mktemp("audio"), []
    for k in range(6):
        noise = np.random.default_rng(k).uniform(-0.5, 0.5, 60 * 768)
        soundfile.write(folder / f"{k}.wav", np.cumsum(noise) / 50 if k % 2 else noise, 22050)
        lines.append(f"{folder}/{k}.wav\t{'dark' if k % 2 else 'bright'}\n")
    (folder / "train.txt").write_text("".join(lines[:4]))
    (folder / "test.txt").write_text("".join(line.split("\t")[0] + "\n" for line in lines[4:]))
    (folder / "all.txt").write_text("".join(line.split("\t")[0] + "\n" for line in lines))
    return folder


@pytest.fixture(autouse=True)
def all_in_this_process():
    with in_this_process():
        yield


@contextlib.contextmanager
def in_this_process():
    """Extract in this process: the operations of worker processes could not be counted."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Workers, "joined", lambda self: contextlib.nullcontext())
        monkeypatch.setattr(
            Workers, "run", lambda self, tasks: (task(*args, **options) for task, args, options in tasks)
        )
        yield


def calls(folder, lists):
    scratch = folder / "scratch"
    yield "extract", "-numThreads", "1", *SIZES, scratch, lists / "all.txt"
    yield "train", "-numThreads", "1", *TRAINING, scratch, lists / "train.txt"
    yield "classify", "-numThreads", "1", scratch, lists / "test.txt", folder / "out/out.txt"


def run_all(folder, lists):
    """Make the three calls in this process; return their statuses."""
    return [main([str(argument) for argument in call]) for call in calls(folder, lists)]


class Disk:
    """Count the operations of Python that write into a folder, and let operation `fails` (from 0) fail.

    A write that fails has written half of its bytes, as on a full disk.
    """

    def __init__(self, monkeypatch, folder, *, fails=-1, error=0):
        self.folder, self.fails, self.error, self.done = os.fspath(folder), fails, error, []
        for module, name, is_write in (
            (os, "open", lambda path, flags, *_: flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)),
            (os, "mkdir", lambda *_: True),
            (os, "replace", lambda *_: True),
            (os, "unlink", lambda *_: True),
        ):
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name), is_write))
        for name in ("fsync", "posix_fallocate"):
            monkeypatch.setattr(os, name, self.wrap_descriptor(getattr(os, name)))
        opened = builtins.open

        def open_file(path, mode="r", *args, **more):
            if not set(mode) & set("wxa+") or not self.holds(path):
                return opened(path, mode, *args, **more)
            self.count("open", path)
            return _File(opened(path, mode, *args, **more), self)

        monkeypatch.setattr(builtins, "open", open_file)
        monkeypatch.setattr(io, "open", open_file)  # used by pathlib

    def holds(self, path):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        name = os.fsdecode(path)  # Matplotlib writes a list of fonts once per process
        return name.startswith(self.folder) and "matplotlib" not in name

    def count(self, operation, of, before=lambda: None):
        self.done.append((operation, str(of)))
        if len(self.done) == self.fails + 1:
            before()
            raise OSError(self.error, os.strerror(self.error), str(of))

    def wrap(self, function, is_write):
        def wrapped(path, *args, **more):
            if self.holds(path) and is_write(path, *args):
                self.count(function.__name__, args[0] if function.__name__ == "replace" else path)
            return function(path, *args, **more)

        return wrapped

    def wrap_descriptor(self, function):
        def wrapped(descriptor, *args):
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if self.holds(name):
                self.count(function.__name__, name)
            return function(descriptor, *args)

        return wrapped


class _File:
    """A file of builtins.open whose writes are counted."""

    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._disk.count("write", self._file.name, before=lambda: self._file.write(data[: len(data) // 2]))
        return self._file.write(data)


@pytest.fixture(scope="module")
def straight(lists, tmp_path_factory):
    """The files of a run without errors, and the operations that can fail."""
    folder = tmp_path_factory.mktemp("straight")
    with in_this_process(), pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch, folder)
        assert run_all(folder, lists) == [0, 0, 0]
    return left_in(folder), disk.done


def left_in(folder):
    """Return all files except Matplotlib's list of fonts, whose order differs between processes."""
    return {name: data for name, data in files_below(folder).items() if "matplotlib" not in name}


def fail_at(n, error, folder, lists, straight):
    """Run while the n-th operation fails, then run again without errors, and check statuses and files."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(monkeypatch, folder, fails=n, error=error)
        statuses = run_all(folder, lists)
    case = f"operation {n} of {len(straight[1])}, {disk.done[n]}, {errno.errorcode[error]}: {statuses}"
    # After a failed call, the next one has no model, or does the missing work itself.
    assert set(statuses) <= {0, 5, 7}, case
    assert statuses[1] == 7 or 5 not in statuses, case
    if statuses[-1] == 0:
        assert (folder / "out/out.txt").read_bytes() == straight[0]["out/out.txt"], case
    assert run_all(folder, lists) == [0, 0, 0], case
    assert left_in(folder) == straight[0], case


def test_the_operations_of_all_three_calls_are_counted(straight):
    kinds = {operation for operation, _ in straight[1]}
    assert kinds == {"open", "write", "mkdir", "replace", "fsync", "posix_fallocate", "unlink"}
    for place in ("features/task", ".logmel", "bundle.json", ".weights.npz", "tmp/", "out/out.txt", ".checkpoint"):
        assert any(place in of for _, of in straight[1]), place


def fail_each(operations, error_of, folder, lists, straight):
    for n in operations:
        fail_at(n, error_of(n), folder / str(n), lists, straight)
        shutil.rmtree(folder / str(n))


def test_a_failed_operation_loses_nothing(straight, lists, tmp_path):
    """Some operations; the next test checks all of them."""
    operations = range(5, len(straight[1]), 42)
    fail_each(operations, lambda n: ERRORS[n // 42 % len(ERRORS)], tmp_path, lists, straight)


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_any_failed_operation_loses_nothing(straight, lists, tmp_path, error):
    fail_each(range(len(straight[1])), lambda n: error, tmp_path, lists, straight)


# Real disks.


class Mounted:
    """A small file system in memory."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def leave(self):
        subprocess.run(["umount", "--lazy", self.folder], capture_output=True)


@pytest.fixture
def mounted(tmp_path):
    """Mount a small disk with a given name and size in the folder of the test."""
    made = []

    def mount(name, size):
        made.append(Mounted(tmp_path / name, size))
        return made[-1]

    yield mount
    for disk in reversed(made):
        disk.leave()


SCRIPTS = {"extract": "extractFeatures.sh", "train": "train.sh", "classify": "classify.sh"}


def run_scripts(folder, lists):
    """Make the three calls by the scripts; return their statuses and the log."""
    return run_calls((SCRIPTS[command], *args) for command, *args in calls(folder, lists))


@pytest.fixture(scope="module")
def whole(lists, tmp_path_factory):
    """The files of a run of the scripts without errors; here BLAS would have other threads and round differently."""
    folder = tmp_path_factory.mktemp("whole")
    assert run_scripts(folder, lists)[0] == [0, 0, 0]
    return left_in(folder)


# Sizes in kB: too small for the features, for the mapped files of the training, and for the model; then large enough.
@pytest.mark.parametrize(
    ("size_kb", "statuses"),
    [
        pytest.param(32, [7, 7, 5], marks=pytest.mark.slow),
        pytest.param(120, [0, 7, 5], marks=pytest.mark.slow),
        pytest.param(1200, [0, 7, 5], marks=pytest.mark.slow),
        pytest.param(20_000, [0, 0, 0], marks=pytest.mark.slow),
    ],
)
def test_a_small_disk_is_status_7_and_on_a_larger_one_the_calls_succeed(
    mounted, whole, lists, tmp_path, size_kb, statuses
):
    disk = mounted("disk", f"{size_kb}k")
    ended, log = run_scripts(disk.folder, lists)
    assert ended == statuses, log
    assert ("[disk.full]" in log) == (7 in statuses)
    disk.remount("size=60m")
    assert run_scripts(disk.folder, lists)[0] == [0, 0, 0]
    assert left_in(disk.folder) == whole


@pytest.mark.slow
def test_disks_of_all_sizes_are_full_without_loss(mounted, whole, lists, tmp_path):
    for size_kb in (int(16 * 1.3**k) for k in range(28)):
        disk = mounted(f"disk{size_kb}", f"{size_kb}k")
        statuses, log = run_scripts(disk.folder, lists)
        assert set(statuses) <= {0, 5, 7} and (5 not in statuses or statuses[1] == 7), log
        disk.remount("size=60m")
        assert run_scripts(disk.folder, lists)[0] == [0, 0, 0]
        assert left_in(disk.folder) == whole, size_kb
        disk.leave()


def test_a_disk_too_small_for_the_mapped_segments_is_an_error_and_not_a_crash(mounted, lists):
    """The files are mapped for writing: if their blocks were not allocated before, SIGBUS would kill the process."""
    disk = mounted("disk", "400k")
    with start("train.sh", *SIZES, "--segments-per-track", 50_000, disk.folder, lists / "train.txt") as process:
        log = process.communicate(timeout=120)[1]
    assert process.returncode == 7 and "[disk.full]" in log, log


@pytest.mark.slow
def test_a_full_disk_of_the_output_is_status_7_and_the_old_output_remains(mounted, whole, lists, tmp_path):
    put(whole, tmp_path)
    disk = mounted("disk", "8k")
    (disk.folder / "out.txt").write_text("old")
    (disk.folder / "more").write_bytes(bytes(4096))
    with start("classify.sh", tmp_path / "scratch", lists / "test.txt", disk.folder / "out.txt") as process:
        log = process.communicate(timeout=120)[1]
    assert process.returncode == 7 and re.search(r"out\.txt: .*\[disk\.full\]", log), log
    assert sorted(files_below(disk.folder)) == ["more", "out.txt"] and (disk.folder / "out.txt").read_text() == "old"


def put(files, folder):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.mark.slow
def test_a_read_only_scratch_folder_can_be_used_but_writing_there_is_status_7(mounted, whole, lists, tmp_path):
    disk = mounted("disk", "60m")
    put({name: data for name, data in whole.items() if name.startswith("scratch/")}, disk.folder)
    disk.remount("ro")
    before = files_below(disk.folder)
    scratch = disk.folder / "scratch"
    for script, *args, status in (
        ("classify.sh", scratch, lists / "test.txt", tmp_path / "out.txt", 0),
        ("extractFeatures.sh", *SIZES, scratch, lists / "all.txt", 0),
        ("extractFeatures.sh", "--frames", 41, scratch, lists / "all.txt", 7),
        ("train.sh", *TRAINING, "--restart", scratch, lists / "train.txt", 7),
    ):
        with start(script, *args) as process:
            log = process.communicate(timeout=120)[1]
        assert process.returncode == status and "Traceback" not in log, log
    assert (tmp_path / "out.txt").read_bytes() == whole["out/out.txt"]
    assert files_below(disk.folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "unmounted"])
def test_a_scratch_folder_that_disappears_during_a_training_causes_no_traceback(mounted, lists, how):
    outer, disk = mounted("outer", "60m"), None
    if how == "unmounted":
        disk = mounted("outer/disk", "60m")
        outer.remount("ro")
    scratch = outer.folder / "disk"
    args = (*SIZES, "--epochs", 100_000, "--time-limit", "4s", "--checkpoint-every", 0, scratch, lists / "train.txt")
    with start("train.sh", *args) as process:
        wait_for(lambda: list(scratch.glob("model/*.checkpoint")))
        disk.leave() if disk else shutil.rmtree(scratch, ignore_errors=True)
        log = process.communicate(timeout=120)[1]
    assert "Traceback" not in log
    # A deleted folder is made again for the model. After unmounting, the parent folder is read-only.
    assert process.returncode == (7 if disk else 0), log
    assert (scratch / "model/bundle.json").exists() == (not disk)
