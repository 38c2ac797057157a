"""Errors that users can act on: one base class, and one subclass for each exit status.

A message says what happened and where, why, and what to do. It ends with the stable code of its problem in brackets,
such as ``[list.no-tab]``: docs/problems.md lists them all.
"""

from __future__ import annotations

from collections.abc import Collection

N_EXAMPLES = 3  # shown in a message


def coded(text: str, *, code: str) -> str:
    """Append the code of a problem to its text."""
    return f"{text} [{code}]" if code else text


def examples(names: Collection[str]) -> str:
    """Join the first few names for a message."""
    return ", ".join(list(names)[:N_EXAMPLES]) + (", ..." if len(names) > N_EXAMPLES else "")


def reason_of(error: Exception) -> str:
    """Return the message of an error; that of a system error comes without its number and file."""
    return str(getattr(error, "strerror", None) or error)


class MirexError(Exception):
    """Base class of every error that this package raises on purpose.

    Parameters
    ----------
    text : str
        What happened, where, and what to do; with several problems, one per line.
    code : str
        Stable code of the problem; empty if the text already has codes.
    """

    exit_status = 1

    def __init__(self, text: str, *, code: str = "") -> None:
        super().__init__(coded(text, code=code))
        self.text = text
        self.code = code


class InstallationError(MirexError):
    """This installation is damaged: a worker process cannot import what it needs."""


class UsageError(MirexError):
    """An argument, or a combination of arguments, is wrong."""

    exit_status = 2


class ListError(MirexError):
    """A list is not in MIREX's format; each line of the message names one problem by its `file:line`."""

    exit_status = 3


class AudioError(MirexError):
    """A track is unreadable, or too many tracks are unreadable."""

    exit_status = 4


class ModelError(MirexError):
    """The trained model is missing, damaged or of another type."""

    exit_status = 5


class TrainingError(ModelError):
    """The training diverged: its loss became NaN or infinite."""


class DeviceError(MirexError):
    """The requested device is missing."""

    exit_status = 6


class StorageError(MirexError):
    """The disk is full, read-only or gone, or a folder is not writable."""

    exit_status = 7


class SubmissionError(MirexError):
    """A submission under cross-validation failed or wrote an incomplete output."""

    exit_status = 8


class ResourceError(MirexError):
    """A limit of the system is reached: memory, threads, processes or open files."""

    exit_status = 9
