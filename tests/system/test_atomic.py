"""Files are written completely or not at all, whatever fails; problems of the disk have codes."""

import contextlib
import errno
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading

import pytest
from intruders import put

from mirex_submission.errors import StorageError
from mirex_submission.system.atomic import (
    TEMPORARY_PREFIX,
    check_writable,
    clear_leftovers,
    make_folder,
    remove,
    replace_folder,
    seal,
    storage_error,
    temporary_file,
    temporary_folder,
    unseal,
    write_file,
    write_output,
)


@pytest.fixture(params=[True, False], ids=["durable", "not durable"])
def durable(request):
    return request.param


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_a_file_is_written_exactly_and_missing_folders_are_made(tmp_path, data, durable):
    path = tmp_path / "ä b" / "c" / "file.txt"
    write_file(path, data, durable=durable)
    assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_file_is_replaced(tmp_path, durable):
    write_file(tmp_path / "file", b"old and long", durable=durable)
    write_file(tmp_path / "file", b"new", durable=durable)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_file_gets_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_file(tmp_path / "file", b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_name_as_long_as_the_disk_allows_can_be_written(tmp_path):
    write_file(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_an_output_is_written_through_a_link_which_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    write_output(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


def test_an_output_that_is_a_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    write_output(tmp_path / "pipe", b"through")
    reader.join()
    assert got == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_stdout_that_is_a_pipe_is_written_to():
    code = (
        "from mirex_submission.system.atomic import *; check_writable('/dev/stdout'); write_output('/dev/stdout', b'x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "x"), done.stderr


LINKS = {"link": "victim", "dangling link": "nothing", "link to a folder": ""}
INTRUDERS = [*LINKS, "device", "pipe", "socket"]


def intruder(kind, path, home):
    put("link" if kind in LINKS else kind, path, home / LINKS.get(kind, ""))


@pytest.mark.parametrize("kind", INTRUDERS)
def test_an_internal_file_replaces_a_link_or_pipe_and_does_not_follow_it(tmp_path, kind, durable):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "victim").write_bytes(b"victim")
    intruder(kind, tmp_path / "file", tmp_path / "home")
    write_file(tmp_path / "file", b"new", durable=durable)
    assert stat.S_ISREG((tmp_path / "file").lstat().st_mode) and (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path / "home") == ["victim"] and (tmp_path / "home/victim").read_bytes() == b"victim"


def test_remove_deletes_a_link_and_not_its_target(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    for target in ("folder", "folder/file", "nothing"):
        (tmp_path / "link").symlink_to(tmp_path / target)
        remove(tmp_path / "link")
        assert not os.path.lexists(tmp_path / "link")
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("attempt", [write_file, write_output, lambda path, _: check_writable(path)])
def test_a_failed_write_is_a_storage_error_and_leaves_nothing(tmp_path, attempt):
    (tmp_path / "file").write_bytes(b"old")
    before = sorted(os.listdir(tmp_path))
    for name, codes in (
        (".", {"disk.folder", "disk.in-the-way"}),
        ("file/below", {"disk.in-the-way"}),
        ("n" * 256, {"disk.long-name"}),
    ):
        with pytest.raises(StorageError) as caught:
            attempt(tmp_path / name, b"new")
        assert caught.value.exit_status == 7 and caught.value.code in codes
        assert str(caught.value).startswith(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_full_disk_has_its_code():
    with pytest.raises(StorageError, match=r"^/dev/full: .*\[disk\.full\]$"):
        write_output("/dev/full", b"x")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk.full"),
        (errno.EDQUOT, "disk.quota"),
        (errno.EROFS, "disk.read-only"),
        (errno.EACCES, "disk.permission"),
        (errno.EPERM, "disk.permission"),
        (errno.EFBIG, "disk.file-size"),
        (errno.ENOTDIR, "disk.in-the-way"),
        (errno.ENOENT, "disk.gone"),
        (errno.EIO, "disk.other"),
    ],
)
def test_every_error_of_the_system_has_a_code_and_an_advice(number, code):
    error = storage_error(OSError(number, os.strerror(number)), "/some/file")
    assert error.code == code
    assert re.fullmatch(rf"/some/file: .*{os.strerror(number)}: \w.* \[{code}\]", str(error))


@contextlib.contextmanager
def files_of_at_most(n_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_halfway_leaves_only_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with files_of_at_most(10_000), pytest.raises(StorageError, match=r"\[disk\.file-size\]"):
        write_file(tmp_path / "file", b"new" * 10_000)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


WRITE_FOR_EVER = """
import sys
from mirex_submission.system.atomic import write_file
while True:
    for content in (b"a" * 3_000_000, b"b" * 1_000_000):
        write_file(sys.argv[1], content, durable=False)
        print(flush=True)
"""


@pytest.mark.parametrize("n_writes", [1, 2, 3, 8])
def test_a_killed_writer_leaves_a_whole_file(tmp_path, n_writes):
    path = tmp_path / "file"
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        for _ in range(n_writes):
            writer.stdout.readline()
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    data = path.read_bytes()
    assert (len(data), set(data)) in ((3_000_000, {ord("a")}), (1_000_000, {ord("b")}))
    assert all(name == "file" or name.startswith(TEMPORARY_PREFIX) for name in os.listdir(tmp_path))


def test_check_writable_makes_the_folder_and_changes_no_file(tmp_path):
    check_writable(tmp_path / "new" / "file")
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "old").write_bytes(b"old")
    check_writable(tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_file_in_place_of_a_folder_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(StorageError, match=r"\[disk\.in-the-way\]"):
            make_folder(path)
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b")


def interrupted_while_writing(folder):
    with temporary_file(folder):
        raise KeyboardInterrupt


def test_a_temporary_file_is_deleted_however_the_block_ends(tmp_path):
    with temporary_file(tmp_path / "new") as f:
        assert os.listdir(tmp_path / "new") == [os.path.basename(f.name)]
        assert os.path.basename(f.name).startswith(TEMPORARY_PREFIX)
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_writing(tmp_path / "new")
    with temporary_file(tmp_path / "new") as f:
        os.unlink(f.name)  # taken away meanwhile
    assert os.listdir(tmp_path / "new") == []


LEFT = f"{TEMPORARY_PREFIX}12-00ffab12"
# What a user or another program made, though it looks like ours.
OTHERS = (
    ".tmp-2024-11", ".tmp-20241128", ".tmp-12-00ffab12", f"{LEFT[:-1]}", f"{LEFT[:-1]}n",
    f"{TEMPORARY_PREFIX}12-00ffab123", f"{TEMPORARY_PREFIX}00ffab12", f"{LEFT}.txt", f"x{LEFT}", "x.matplotlib-lock",
)  # fmt: skip


def test_leftovers_of_killed_writers_are_deleted_and_files_in_use_or_of_others_stay(tmp_path):
    for folder in (tmp_path, tmp_path / "features", tmp_path / "features" / "a" / "00"):
        folder.mkdir(parents=True, exist_ok=True)
        for k, name in enumerate(OTHERS):
            (folder / name).mkdir() if k % 2 else (folder / name).touch()
        (folder / LEFT).touch()
    with temporary_file(tmp_path / "features") as f:
        clear_leftovers(tmp_path, below=False)
        assert sorted(os.listdir(tmp_path)) == sorted([*OTHERS, "features"])
        assert (tmp_path / "features" / LEFT).exists()
        clear_leftovers(tmp_path)
        assert sorted(os.listdir(tmp_path / "features")) == sorted([*OTHERS, "a", os.path.basename(f.name)])
        assert sorted(os.listdir(tmp_path / "features" / "a" / "00")) == sorted(OTHERS)
    clear_leftovers(tmp_path / "not there")


def test_leftovers_are_searched_only_in_folders_of_a_scratch_folder(tmp_path):
    """As where the home folder is given as scratch folder."""
    left = [tmp_path / "thesis" / LEFT, tmp_path / ".tmp-2024-11" / LEFT, tmp_path / "else" / LEFT]
    for file in left:
        file.parent.mkdir()
        file.touch()
    (tmp_path / "models").symlink_to(tmp_path / "else")
    clear_leftovers(tmp_path)
    assert all(file.exists() for file in left)


@pytest.mark.parametrize("kind", INTRUDERS)
def test_only_files_and_folders_are_leftovers(tmp_path, kind):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "victim").touch()
    intruder(kind, tmp_path / LEFT, tmp_path / "home")
    clear_leftovers(tmp_path)
    assert os.path.lexists(tmp_path / LEFT) and (tmp_path / "home" / "victim").exists()


@pytest.mark.parametrize("folder", [False, True])
def test_leftovers_of_another_user_stay(tmp_path, monkeypatch, folder):
    (tmp_path / LEFT).mkdir() if folder else (tmp_path / LEFT).touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    clear_leftovers(tmp_path)
    assert (tmp_path / LEFT).exists()


def interrupted_while_filling(folder):
    with temporary_folder(folder) as path:
        (path / "below").mkdir()
        raise KeyboardInterrupt


def test_a_temporary_folder_is_deleted_however_the_block_ends_and_not_before(tmp_path):
    with temporary_folder(tmp_path / "models") as path:
        (path / "below").mkdir()
        (path / "below" / "file").touch()
        clear_leftovers(tmp_path)
        assert os.listdir(tmp_path / "models") == [path.name] and (path / "below" / "file").exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_filling(tmp_path / "models")
    assert os.listdir(tmp_path / "models") == []
    (tmp_path / "models" / path.name / "below").mkdir(parents=True)  # as a killed one leaves it
    clear_leftovers(tmp_path)
    assert os.listdir(tmp_path / "models") == []


def test_a_folder_is_replaced_whole_and_a_link_to_it_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "place")
    for name in ("first", "second"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / name).touch()
        replace_folder(tmp_path / name, tmp_path / "link")
        assert os.listdir(tmp_path / "place" / "below") == [name]
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["link", "place"]


def test_a_folder_that_cannot_be_replaced_is_a_storage_error_and_the_new_one_stays(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "file").touch()
    for path, code in ((tmp_path / "file", "disk.in-the-way"), (tmp_path / "none" / "place", "disk.gone")):
        with pytest.raises(StorageError, match=code):
            replace_folder(tmp_path / "new", path)
    assert (tmp_path / "new").is_dir()


CLEAR_FOR_EVER = """
import sys
from mirex_submission.system.atomic import clear_leftovers
print(flush=True)
while True:
    clear_leftovers(sys.argv[1])
"""


def test_a_writer_is_not_disturbed_by_processes_that_clear(tmp_path):
    command = [sys.executable, "-c", CLEAR_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as clearing:
        clearing.stdout.readline()
        for k in range(300):
            write_file(tmp_path / "file", b"%d" % k, durable=False)
        clearing.kill()
    assert (tmp_path / "file").read_bytes() == b"299" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("body", [b"", b"\n", b"one\ntwo\n", bytes(range(256))])
def test_sealed_data_is_read_back_and_any_flipped_bit_is_detected(body):
    data = seal(body)
    assert unseal(data) == body
    for k in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[k // 8] ^= 1 << k % 8
        assert unseal(bytes(damaged)) is None
    assert unseal(b"") is None and unseal(data[: data.index(b"\n")]) is None
