"""Files and folders that appear whole or not at all: the one place that fsyncs and renames.

A file is written under a temporary name in its own folder, flushed, and renamed over the final name; a reader, or a
run killed at any moment, sees the old file or the new one. Temporary names begin with `.tmp-`, and their writer holds a
lock, so that a later run can tell what a killed one has left from results and from what is being written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mirex_submission.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"
# Matplotlib's lock, which a kill leaves too, keeps every later process waiting for 5 s, and its list of fonts unsaved.
_LEFTOVER = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}\d+-[0-9a-f]+|.+\.matplotlib-lock")

_WHAT_TO_DO = {
    errno.ENOSPC: "free some space and run the same command again: finished work is kept",
    errno.EDQUOT: "the quota is used up: free some space and run the same command again",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.EACCES: "choose a folder that this user may write",
    errno.EPERM: "choose a folder that this user may write",
    errno.EFBIG: "a limit for the size of files: see `ulimit -f` and what the file system takes",
    **dict.fromkeys(
        (errno.EEXIST, errno.EISDIR, errno.ENOTDIR), "a file stands where a folder should, or else: move it away"
    ),
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOENT: "the folder is gone: was a disk unmounted, or the folder deleted while in use?",
}


def storage_error(error: OSError, path: str | os.PathLike[str]) -> StorageError:
    """The StorageError that says of `path` what the system said, and what to do."""
    advice = _WHAT_TO_DO.get(error.errno or 0, "see whether the disk is there and healthy, then run again")
    return StorageError(f"{os.fspath(path)}: cannot be written: {error.strerror or error}: {advice}")


def _mode(path: str | os.PathLike[str]) -> int:
    """The mode of what stands at `path`, 0 for nothing; of the name itself, for no path leads to /dev/stdout's pipe."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def digest(*parts: bytes | memoryview) -> str:
    """XXH3-128 in hexadecimal, by which stored files are named and verified: against damage, not against malice."""
    import xxhash  # only now: the command line, and `doctor` on what is half installed, do without

    whole = xxhash.xxh3_128()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def sha256(path: Path) -> str:
    """Of a whole file, in hexadecimal: what other programs can check."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal(body: bytes) -> bytes:
    """`body` below a line with its digest."""
    return digest(body).encode("ascii") + b"\n" + body


def unseal(data: bytes) -> bytes | None:
    """The body of sealed data, or None if any bit of it is damaged."""
    first, newline, body = data.partition(b"\n")
    return body if newline and first == digest(body).encode("ascii") else None


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents where they are missing."""
    path = Path(path)
    try:
        if not path.is_dir():  # asking first is cheaper, for almost always it is there
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise StorageError now if `path` could not be written later; makes its folder.

    What killed writers have left in the folder is taken away.
    """
    try:
        mode = _mode(path)
    except OSError as error:
        raise storage_error(error, path) from error
    if stat.S_ISDIR(mode) or os.fspath(path).endswith("/"):
        raise StorageError(f"{os.fspath(path)}: a folder: give the name of a file")
    if mode and not stat.S_ISREG(mode):
        return
    path = Path(os.path.realpath(path))
    try:
        with temporary_file(path.parent):
            pass
    except OSError as error:
        raise storage_error(error, path) from error
    clear_leftovers(path.parent, below=False)


def write_file(path: str | os.PathLike[str], *parts: bytes | memoryview, durable: bool = True) -> None:
    """Write the parts one after the other to `path`, whole or not at all, making folders as needed.

    A symbolic link is followed, and what is neither a file nor a folder (a pipe, /dev/stdout) is simply written to.

    Parameters
    ----------
    durable : survive a power failure too (fsync of file and folder). False is for what is verified when read and made
        again at need: an fsync costs more than computing one track's features.
    """
    try:
        mode = _mode(path)
        if mode and not stat.S_ISREG(mode):
            Path(path).write_bytes(b"".join(parts))  # a folder fails here, with the system's own words
            return
        path = Path(os.path.realpath(path))
        with temporary_file(path.parent) as f:
            for part in parts:
                f.write(part)
            f.flush()
            if durable:
                os.fsync(f.fileno())
            os.replace(f.name, path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def replace_folder(new: Path, path: str | os.PathLike[str]) -> None:
    """Move a folder whole to `path`, durably; what stands there is a folder that it replaces, or nothing.

    A kill between the two renames leaves nothing at `path`: no system call of Python's exchanges folders.
    """
    path = Path(os.path.realpath(path))
    try:
        for part in (new, *new.rglob("*")):
            _flush(part)
        if path.is_dir():
            with temporary_folder(path.parent) as old:
                path.rename(old / path.name)
                new.rename(path)
        else:
            new.rename(path)
        _flush(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, if it is there. Raises StorageError."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def _flush(path: Path) -> None:
    """Write a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_file(folder: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file in `folder`, for writing and reading, whose name is gone when the block ends, however it ends.

    clear_leftovers() spares it as long as it is open. Raises OSError; StorageError where the folder cannot be made.
    """
    folder = make_folder(folder)
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with open(path, "x+b") as f:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(f, fcntl.LOCK_EX)
                if os.fstat(f.fileno()).st_nlink:  # else it was taken away before it was locked
                    yield f
                    return
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def temporary_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder in `folder`, which is gone with all that is in it when the block ends; else as temporary_file()."""
    folder = make_folder(folder)
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        path.mkdir()
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:  # else it was taken away before it was locked
                    yield path
                    return
            finally:
                os.close(descriptor)
        finally:
            shutil.rmtree(path, ignore_errors=True)


def clear_leftovers(folder: str | os.PathLike[str], *, below: bool = True) -> None:
    """Delete what killed processes left in a folder under temporary names, and `below` it; not that of living ones."""
    for where, folders, names in os.walk(folder):
        for name in filter(_LEFTOVER.fullmatch, names):
            path = Path(where, name)
            with contextlib.suppress(OSError), open(path, "r+b") as f:  # locked, gone, or not ours
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        for name in filter(_LEFTOVER.fullmatch, folders):
            _clear_folder(Path(where, name))
        if not below:
            folders.clear()


def _clear_folder(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(descriptor)
