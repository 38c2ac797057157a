"""What can go wrong, as the caller sees it: one root, one child for each exit status.

A message says what was found, where, and what to do about it; the command line prints it and nothing else.
"""

from __future__ import annotations


class MirexError(Exception):
    """Root of every error that this package raises on purpose."""

    exit_status = 1


class UsageError(MirexError):
    """The call itself is wrong: an argument, or a combination of them."""

    exit_status = 2


class ListError(MirexError):
    """A list is not what MIREX fixes; the message holds every fault of it, one `file:line: ...` a line."""

    exit_status = 3


class AudioError(MirexError):
    """A track cannot be used, or too many of them cannot."""

    exit_status = 4


class ModelError(MirexError):
    """The trained model is missing, damaged or of another kind."""

    exit_status = 5


class TrainingError(ModelError):
    """The training came to nothing: its loss is no number any more."""


class DeviceError(MirexError):
    """The device that was asked for is not there."""

    exit_status = 6


class ResourceError(MirexError):
    """The system grants this process too little memory, or too few threads, processes or open files."""

    exit_status = 9


class SubmissionError(MirexError):
    """A submission that was judged has failed in a call, or written what is no whole output."""

    exit_status = 8


class StorageError(MirexError):
    """The disk is full, read-only or gone, or a folder cannot be written."""

    exit_status = 7
