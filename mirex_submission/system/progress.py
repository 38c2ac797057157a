"""Progress on stderr: one line that is overwritten on a terminal, a line every 15 s in a log."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

TERMINAL_INTERVAL_S = 0.2
LOG_INTERVAL_S = 15.0
_SHOWN_CHARACTERS = 200  # of a line, a name or a setting in a message

_Unit = TypeVar("_Unit")


def duration(seconds: float) -> str:
    """Format seconds, such as 8 s, 3 min 20 s or 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def shortened(text: str) -> str:
    """Return a text for a message; a long text is shortened to its beginning and its end."""
    n = _SHOWN_CHARACTERS // 2
    return text if len(text) <= 2 * n else f"{text[:n]}...{text[-n:]}"


def printable(text: str) -> str:
    """Escape the characters that are not printable, such as line breaks and bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Progress:
    """Count the finished units of a task, and print the count, the rate and the time left at intervals.

    Parameters
    ----------
    task : str
        Beginning of the line, such as "extraction".
    total : int
        Number of units.
    unit : str
        Name of the units, such as "tracks".
    alike : bool
        Whether all units take about as long, so that the time left can be told.
    """

    def __init__(self, task: str, total: int, *, unit: str, alike: bool = True) -> None:
        self.task, self.total, self.unit, self._alike = task, total, unit, alike
        self.done = 0
        self._first: tuple[int, float] | None = None
        self.started_s = self._printed_s = time.monotonic()
        self._on_terminal = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count `n` more finished units, perhaps none; `note`, such as the loss, is the end of the line."""
        self.done += n
        now_s = time.monotonic()
        if self._first is None and n:  # the rate leaves out the first unit, which includes start-up and compilation
            self._first = (self.done, now_s)
        if now_s - self._printed_s < (TERMINAL_INTERVAL_S if self._on_terminal else LOG_INTERVAL_S):
            return
        self._printed_s = now_s
        line = f"{self.task}: {self.done:,} of {self.total:,} {self.unit}, {self._times(now_s)}"
        if note:
            line += f", {note}"
        if self._on_terminal:
            line = line[: shutil.get_terminal_size().columns - 1]  # a longer one would not be overwritten
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
        else:
            log.info("%s", line)

    def _times(self, now_s: float) -> str:
        """Return the rate and the time left, or the time that has passed if units are not alike."""
        if not self._alike or self._first is None:
            return f"{duration(now_s - self.started_s)} so far"
        n_before, since_s = self._first if self.done > self._first[0] else (0, self.started_s)
        rate = (self.done - n_before) / (now_s - since_s)
        return f"{rate:.3g} a second, {duration((self.total - self.done) / rate)} left"

    def over(self, units: Iterable[_Unit]) -> Iterator[_Unit]:
        """Yield units, and count each one when the next one is requested."""
        for unit in units:
            yield unit
            self.advance()
        self.close()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_s

    def close(self) -> None:
        """Clear the line on a terminal."""
        if self._on_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
