"""Folders and files inside a scratch or results folder, which other users may share and may have prepared.

These functions follow no link and enter no folder of another user, wait for nothing such as a named pipe, and read no
file that is larger than it can be.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from mirex_submission.errors import StorageError
from mirex_submission.system.atomic import unseal

# The system's own messages for these errors are less clear.
_IN_THE_WAY = {
    errno.EISDIR: "a folder is in its place",
    errno.ELOOP: "a symbolic link is in its place, which is not followed",
    errno.ENXIO: "a pipe, a socket or a device is in its place",
}


def inner_folder(root: str | os.PathLike[str], *names: str) -> Path:
    """Return a folder below `root`, after a check that no folder on the way is a link or belongs to another user.

    A folder may belong to this user, to the owner of `root` or to the superuser, and where a group shares `root`
    (writable for the group, not for all), to any user through the same group. It need not exist.

    Raises
    ------
    StorageError
        A link or a folder of another user is in its place.
    """
    root = folder = Path(root)
    for name in names:
        folder = folder / name
        try:
            status = os.lstat(folder)
        except OSError:  # the caller that makes the folder reports the error
            continue
        if stat.S_ISLNK(status.st_mode):
            raise StorageError(
                f"{folder}: a symbolic link instead of a folder, which could lead to files of other users: remove it",
                code="disk.link",
            )
        if not _is_trusted(status, os.stat(root)):
            raise StorageError(
                f"{folder}: belongs to another user (uid {status.st_uid}): remove it, choose a folder other than "
                f"{root}, or share {root} through a group: chmod g+ws,o-w",
                code="disk.other-user",
            )
    return folder


def _is_trusted(status: os.stat_result, root: os.stat_result) -> bool:
    is_shared = root.st_mode & stat.S_IWGRP and not root.st_mode & stat.S_IWOTH and status.st_gid == root.st_gid
    return status.st_uid in (os.geteuid(), root.st_uid, 0) or bool(is_shared)


def open_inner(path: str | os.PathLike[str], flags: int = os.O_RDONLY) -> int:
    """Open a regular file, and refuse anything else without waiting; return the descriptor.

    Raises
    ------
    OSError
        It cannot be opened; ELOOP for a link, and ENXIO for a pipe, a socket or a device.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in _IN_THE_WAY:  # a link, a socket, or a pipe without a reader
            raise OSError(error.errno, _IN_THE_WAY[error.errno], os.fspath(path)) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
    raise OSError(number, _IN_THE_WAY[number], os.fspath(path))


def read_inner(path: str | os.PathLike[str], *, most_bytes: int, starts: bytes = b"") -> bytes:
    """Read a whole regular file, or only its beginning if that does not match the regular expression `starts`.

    Raises
    ------
    OSError
        It cannot be read, is not a regular file, or is larger than `most_bytes` (EFBIG).
    """
    with open(open_inner(path), "rb") as f:
        size = os.fstat(f.fileno()).st_size
        if size > most_bytes:
            raise OSError(errno.EFBIG, f"its {size:,} bytes are more than it can have", os.fspath(path))
        first = f.peek(1)
        return f.read(size) if re.match(starts, first) else first


def read_sealed(path: str | os.PathLike[str], *, most_bytes: int) -> bytes | None:
    """Return the body of a file that atomic.seal() made, or None if it is damaged; see read_inner()."""
    return unseal(read_inner(path, most_bytes=most_bytes, starts=rb"[0-9a-f]{32}\n"))
