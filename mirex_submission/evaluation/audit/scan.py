"""A pass over audio files in worker processes: whatever a file does to its decoder, the others are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import joblib
from msgspec import Struct

from mirex_submission.errors import AudioError, ResourceError, coded
from mirex_submission.features.extraction import time_limit, without_output
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import WorkerLost, Workers

Result = TypeVar("Result")


class Scanned(Struct, Generic[Result], frozen=True):
    """What was measured of a file, or the reason why nothing was."""

    file: str
    result: Result | None = None
    reason: str = ""


def scan(
    measure: Callable[[str], Result], files: Sequence[str], *, threads: int, title: str
) -> Iterator[Scanned[Result]]:
    """Measure files side by side, in no particular order.

    Parameters
    ----------
    measure : callable
        Function of a module that takes the full path of a file; it may raise AudioError. Its result should be small.
    files : sequence of str
        Full paths.
    threads : int
        Number of processes.
    title : str
        Beginning of the progress line.

    Yields
    ------
    Scanned
        One for each file.
    """
    progress = Progress(title, len(files), unit="tracks")
    workers = Workers(threads)
    with workers.joined():
        left = dict.fromkeys(files)
        while left:
            begun: dict[str, None] = {}

            def tasks(files: Sequence[str] = tuple(left), begun: dict[str, None] = begun) -> Iterator[object]:
                for file in files:
                    begun[file] = None
                    yield joblib.delayed(_measured)(measure, file)

            try:
                for scanned in workers.run(tasks()):
                    del begun[scanned.file], left[scanned.file]
                    progress.advance()
                    yield scanned
            except WorkerLost:
                for file in begun:  # one at a time: the file at fault kills again
                    del left[file]
                    progress.advance()
                    yield _alone(workers, measure, file)
    progress.close()


def _alone(workers: Workers, measure: Callable[[str], Result], file: str) -> Scanned[Result]:
    try:
        return next(iter(workers.run([joblib.delayed(_measured)(measure, file)])))
    except WorkerLost:
        text = "kills the process that decodes it: a decoder crash, or no memory"
        return Scanned(file, reason=coded(text, code="audio.crash"))


def _measured(measure: Callable[[str], Result], file: str) -> Scanned[Result]:
    try:
        with without_output(), time_limit(Workers.limit_s):
            return Scanned(file, measure(file))
    except (ResourceError, ImportError):  # the same would become of every other file
        raise
    except AudioError as error:
        return Scanned(file, reason=str(error))
    # Whatever a decoder makes of a strange file must not end the audit.
    except Exception as error:  # noqa: BLE001
        return Scanned(file, reason=coded(f"unexpected {type(error).__name__}: {error}", code="audio.unexpected"))
