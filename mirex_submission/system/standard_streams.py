"""Standard streams for a process that has none: a daemon, a program without a console, or after `2>&-`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_closed: set[int] = set()  # descriptors that this module had to open


def is_closed(fd: int) -> bool:
    """Return whether a standard stream was closed when this process started, so that its output is lost."""
    return fd in _closed


def open_descriptors() -> None:
    """Open the descriptors 0 to 2 that are closed; otherwise the first file that is opened would become stderr."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # worker processes need them too
            _closed.add(fd)


@contextlib.contextmanager
def never_none() -> Iterator[None]:
    """Give Python the missing streams for the time of the block, because libraries write to them without a check."""
    open_descriptors()
    missing = [name for name in ("stdout", "stderr") if getattr(sys, name) is None]
    with open(os.devnull, "w") as nothing:
        for name in missing:
            setattr(sys, name, nothing)
        try:
            yield
        finally:
            for name in missing:
                setattr(sys, name, None)
