"""A pass over audio files in worker processes: whatever a file does to its decoder, the others are measured."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import joblib
from msgspec import Struct

from mirex_submission.errors import AudioError, ResourceError, coded
from mirex_submission.features.extraction import time_limit, without_output
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import WorkerLost, Workers

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


class Scanned(Struct, Generic[Item, Result], frozen=True):
    """What was measured of an item, or the reason why nothing was."""

    item: Item
    result: Result | None = None
    reason: str = ""


def scan(
    measure: Callable[[Item], Result], items: Sequence[Item], *, threads: int, title: str, unit: str = "tracks"
) -> Iterator[Scanned[Item, Result]]:
    """Measure items side by side, and yield what was measured in no particular order.

    Parameters
    ----------
    measure : callable
        Function of a module that takes an item; it may raise AudioError. Its result should be small.
    items : sequence
        The full paths of files, or tuples that have them, each once.
    threads : int
        Number of processes.
    title, unit : str
        Beginning of the progress line, and name of the items.
    """
    progress = Progress(title, len(items), unit=unit)
    workers = Workers(threads)
    left = dict.fromkeys(items)
    with workers.joined():
        while left:
            begun: dict[Item, None] = {}

            def tasks(items: Sequence[Item] = tuple(left), begun: dict[Item, None] = begun) -> Iterator[object]:
                for item in items:
                    begun[item] = None
                    yield joblib.delayed(_measured)(measure, item)

            try:
                for scanned in workers.run(tasks()):
                    del begun[scanned.item], left[scanned.item]
                    progress.advance()
                    yield scanned
            except WorkerLost:
                for item in begun:  # one at a time: the item at fault kills again
                    del left[item]
                    progress.advance()
                    yield _alone(workers, measure, item)
    progress.close()


def _alone(workers: Workers, measure: Callable[[Item], Result], item: Item) -> Scanned[Item, Result]:
    result: Scanned[Item, Result]
    try:
        (result,) = list(workers.run([joblib.delayed(_measured)(measure, item)]))
    except WorkerLost:
        text = "kills the process that decodes it: a decoder crash, or no memory"
        result = Scanned(item, reason=coded(text, code="audio.crash"))
    return result


def _measured(measure: Callable[[Item], Result], item: Item) -> Scanned[Item, Result]:
    try:
        with without_output(), time_limit(Workers.limit_s):
            return Scanned(item, measure(item))
    except (ResourceError, ImportError):  # the same would become of every other item
        raise
    except AudioError as error:
        return Scanned(item, reason=str(error))
    # Whatever a decoder makes of a strange file must not end the audit.
    except Exception as error:  # noqa: BLE001
        return Scanned(item, reason=coded(f"unexpected {type(error).__name__}: {error}", code="audio.unexpected"))
