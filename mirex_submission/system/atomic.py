"""Files and folders that are written completely or not at all.

A file is written under a temporary name in its own folder, flushed to the disk, and renamed to its final name: a reader
sees the old file or the new one, even if the writer is killed. Temporary names begin with `.mirex-tmp-`, and their
writer holds a lock on them, so that a later run can delete what a killed run left, and nothing else.

There are two kinds of targets. Internal files replace whatever stands under their name, such as a link or a pipe: other
users may have put it there. Outputs, whose names a user gave, are written through links, and to pipes and devices.
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
from typing import BinaryIO, NamedTuple

from mirex_submission.errors import StorageError, reason_of

TEMPORARY_PREFIX = ".mirex-tmp-"
_LEFTOVER = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}\d+-[0-9a-f]{{8}}")
# Folders of a scratch folder in which leftovers may lie; its other folders are not ours.
_INNER_FOLDERS = ("features", "model", "models", "tmp")


class _Cause(NamedTuple):
    advice: str
    code: str


_CAUSES = {
    errno.ENOSPC: _Cause("free some space and repeat the command: finished work is kept", code="disk.full"),
    errno.EDQUOT: _Cause("the quota is used up: free some space and repeat the command", code="disk.quota"),
    errno.EROFS: _Cause("choose a folder on a writable disk", code="disk.read-only"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        _Cause("choose a folder that this user may write", code="disk.permission"),
    ),
    errno.EFBIG: _Cause(
        "the file exceeds a size limit: see `ulimit -f` and the limit of the file system", code="disk.file-size"
    ),
    **dict.fromkeys(
        (errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
        _Cause("a file is in place of a folder, or a folder in place of a file: move it away", code="disk.in-the-way"),
    ),
    errno.ENODEV: _Cause(
        "the file system maps no files into memory: choose a folder on another disk", code="disk.no-mmap"
    ),
    errno.ELOOP: _Cause("a symbolic link is in its place: remove it", code="disk.link"),
    errno.ENXIO: _Cause("a pipe, a socket or a device is in its place: remove it", code="disk.in-the-way"),
    errno.ENAMETOOLONG: _Cause("choose a shorter name", code="disk.long-name"),
    errno.ENOENT: _Cause("the folder is gone: was a disk unmounted, or the folder deleted?", code="disk.gone"),
}
_OTHER_CAUSE = _Cause("check that the disk is mounted and healthy, then repeat the command", code="disk.other")


def storage_error(error: OSError, path: str | os.PathLike[str]) -> StorageError:
    """Make the StorageError for a path that cannot be written, with the system's reason, an advice and a code."""
    advice, code = _CAUSES.get(error.errno or 0, _OTHER_CAUSE)
    return StorageError(f"{os.fspath(path)}: cannot be written: {reason_of(error)}: {advice}", code=code)


def _mode(path: str | os.PathLike[str]) -> int:
    """Return the mode of a path, 0 if nothing is there."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def digest(*parts: bytes | memoryview) -> str:
    """Compute the XXH3-128 of the parts in hexadecimal; it detects damage, not malice."""
    import xxhash  # here, because `--help` and `doctor` must run where it is not installed

    state = xxhash.xxh3_128()
    for part in parts:
        state.update(part)
    return state.hexdigest()


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file in hexadecimal, which other programs can check."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal(body: bytes) -> bytes:
    """Return `body` after a line with its digest."""
    return digest(body).encode("ascii") + b"\n" + body


def unseal(data: bytes) -> bytes | None:
    """Return the body of sealed data, or None if any bit of it is damaged."""
    first, newline, body = data.partition(b"\n")
    return body if newline and first == digest(body).encode("ascii") else None


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder and its parents if they are missing.

    Raises
    ------
    StorageError
        The folder cannot be made.
    """
    path = Path(path)
    try:
        if not path.is_dir():  # cheaper than mkdir, and almost always true
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written later: make its folder, and delete what killed writers left there.

    Raises
    ------
    StorageError
        The file could not be written, or the path is a folder.
    """
    try:
        mode = _mode(path)
    except OSError as error:
        raise storage_error(error, path) from error
    if stat.S_ISDIR(mode) or os.fspath(path).endswith("/"):
        raise StorageError(f"{os.fspath(path)}: is a folder: give the name of a file", code="disk.folder")
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
    """Write an internal file completely or not at all; make its folder if it is missing.

    It replaces anything that has its name, except a folder.

    Parameters
    ----------
    path : path
        The file.
    *parts : bytes
        Its content, in pieces.
    durable : bool
        Whether the file must survive a power failure (fsync of file and folder). False is for files that are verified
        when they are read and can be made again: an fsync takes longer than computing the features of a track.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    path = Path(path)
    try:
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


def write_output(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that a user named, as write_file() does; follow a link, and write to a pipe or device directly.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    try:
        mode = _mode(path)
        if mode and not stat.S_ISREG(mode):
            Path(path).write_bytes(data)  # fails for a folder, with the message of the system
            return
        path = os.path.realpath(path)
    except OSError as error:
        raise storage_error(error, path) from error
    write_file(path, data)


def replace_folder(new: Path, path: str | os.PathLike[str]) -> None:
    """Move a complete folder to `path`, durably; replace the folder that is there.

    Python cannot exchange two folders in one system call: a kill between the two renames leaves nothing at `path`.

    Parameters
    ----------
    new : Path
        The folder to move, on the same disk.
    path : path
        Its new path.

    Raises
    ------
    StorageError
        A rename failed.
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
    """Delete a file, a link, or a folder with its content, if it exists.

    Raises
    ------
    StorageError
        It cannot be deleted.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def _flush(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_file(folder: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a new file in `folder` for writing and reading; delete its name at the end of the block.

    clear_leftovers() does not delete it while it is open.

    Raises
    ------
    StorageError
        The folder cannot be made.
    OSError
        The file cannot be made.
    """
    folder = make_folder(folder)
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with open(path, "x+b") as f:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(f, fcntl.LOCK_EX)
                if os.fstat(f.fileno()).st_nlink:  # 0: another process deleted it before it was locked
                    yield f
                    return
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def temporary_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a new folder in `folder`; delete it at the end of the block; see temporary_file()."""
    folder = make_folder(folder)
    while True:
        path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        path.mkdir(0o700)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                with contextlib.suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:  # 0: another process deleted it before it was locked
                    yield path
                    return
            finally:
                os.close(descriptor)
        finally:
            shutil.rmtree(path, ignore_errors=True)


def clear_leftovers(folder: str | os.PathLike[str], *, below: bool = True) -> None:
    """Delete the temporary files and folders of killed processes of this user; keep those that are in use.

    Parameters
    ----------
    folder : path
        Where to look.
    below : bool
        Whether to look into the folders of a scratch folder too.
    """
    inner = [Path(folder, name) for name in _INNER_FOLDERS if below]
    for top in (folder, *(path for path in inner if not path.is_symlink())):
        for parent, folders, names in os.walk(top):
            leftovers = list(filter(_LEFTOVER.fullmatch, [*folders, *names]))
            for name in leftovers:
                _clear(Path(parent, name))
            folders[:] = [] if top == folder else [name for name in folders if name not in leftovers]


def _clear(path: Path) -> None:
    """Delete a leftover, unless it is in use, is neither a file nor a folder, or belongs to another user."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if status.st_uid == os.geteuid() and (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
        finally:
            os.close(descriptor)
