"""Tracks that a process may have died of, noted beside the features, so that a later run keeps its distance.

A note is a file that holds a track's path. A process that extracts by itself keeps one of the track in hand, and takes
it away when it ends; so a note is left only if the process died at once: of that track (a decoder crash, no memory), or
because somebody killed it. The next run does such tracks in another process, and takes away the notes of those that
did no harm.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from mirex_submission.system.atomic import digest, make_folder, write_file

_PREFIX = "suspect-"


@contextlib.contextmanager
def noting(folder: Path) -> Iterator[Callable[[str], None]]:
    """A function that notes the track in hand. Raises StorageError if the folder cannot be made."""
    file = make_folder(folder) / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"

    def in_hand(path: str) -> None:
        with contextlib.suppress(OSError):  # without a note the work goes on as well
            file.write_bytes(os.fsencode(path))

    try:
        yield in_hand
    finally:
        with contextlib.suppress(OSError):
            file.unlink()


def note(folder: Path, path: str) -> None:
    """Keep a track that has killed its process apart in later runs too. Raises StorageError."""
    write_file(folder / f"{_PREFIX}{digest(os.fsencode(path))}", os.fsencode(path), durable=False)


def noted(folder: Path, paths: Collection[str]) -> list[str]:
    """Those of `paths` that are noted."""
    names = {os.fsdecode(_read(file)) for file in folder.glob(f"{_PREFIX}*")}
    return [path for path in paths if path in names] if names else []


def clear(folder: Path, path: str) -> None:
    """Take away the notes of a track that did no harm."""
    for file in folder.glob(f"{_PREFIX}*"):
        if _read(file) == os.fsencode(path):
            with contextlib.suppress(OSError):
                file.unlink()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # taken away meanwhile
        return b""
