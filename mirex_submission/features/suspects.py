"""Tracks that a process may have died of, noted beside the features, so that a later run keeps its distance.

A note is a file that holds a track's path. A process that extracts by itself keeps one of the track in hand, and takes
it away when it ends; so a note is left only if the process died at once: of that track (a decoder crash, no memory), or
because somebody killed it. The next run does such tracks in another process, and takes away the notes of those that
did no harm.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from mirex_submission.system.atomic import digest, make_folder, storage_error, write_file

_PREFIX = "suspect-"
_FILLER = b"\0"  # which no path has


@contextlib.contextmanager
def noting(folder: Path) -> Iterator[Callable[[str], None]]:
    """A function that notes the track in hand. Raises StorageError if no file can be made in the folder."""
    file = make_folder(folder) / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        note_file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise storage_error(error, file) from error
    longest = 0

    def in_hand(path: str) -> None:
        nonlocal longest
        name = os.fsencode(path)
        longest = max(longest, len(name))
        with contextlib.suppress(OSError):  # without a note the work goes on as well
            # Over the one before: to cut a file to nothing first costs ext4 as much as a track's features.
            os.pwrite(note_file, name.ljust(longest, _FILLER), 0)

    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(note_file, fcntl.LOCK_EX)  # says that this process lives
        yield in_hand
    finally:
        os.close(note_file)
        with contextlib.suppress(OSError):
            file.unlink()


def note(folder: Path, path: str) -> None:
    """Keep a track that has killed its process apart in later runs too. Raises StorageError."""
    write_file(folder / f"{_PREFIX}{digest(os.fsencode(path))}", os.fsencode(path), durable=False)


def noted(folder: Path, paths: Collection[str]) -> list[str]:
    """Those of `paths` that are noted, but for those that a living process has in hand."""
    names = {os.fsdecode(name) for name in _left_notes(folder).values()}
    return [path for path in paths if path in names] if names else []


def clear(folder: Path, paths: Collection[str]) -> None:
    """Take away the notes of tracks that did no harm."""
    notes = _left_notes(folder)
    harmless = set(map(os.fsencode, paths)) if notes else set()
    for file, name in notes.items():
        if name in harmless:
            with contextlib.suppress(OSError):
                file.unlink()


def _left_notes(folder: Path) -> dict[Path, bytes]:
    """What the notes say that no living process holds."""
    found = {}
    for file in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), open(file, "rb") as f:  # taken away meanwhile, or locked
            fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            found[file] = f.read().rstrip(_FILLER)
    return found
