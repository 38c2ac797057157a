"""Progress on stderr: one line that renews itself on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time

log = logging.getLogger(__name__)

TERMINAL_INTERVAL_S = 0.2
LOG_INTERVAL_S = 15.0


def duration(seconds: float) -> str:
    """`seconds` as people say it: 8 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def printable(text: str) -> str:
    """`text` on one line that every UTF-8 terminal takes: what is no printable character (a line break, a byte that
    is no UTF-8) as its escape sequence."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Progress:
    """Counts done units of a task and says from time to time how far it is, how fast, and how long it will take.

    Parameters
    ----------
    task : what is being done, as the line begins: `extraction`.
    total, unit : how many there are, of what: 360, `tracks`.
    """

    def __init__(self, task: str, total: int, *, unit: str) -> None:
        self.task, self.total, self.unit = task, total, unit
        self.done = 0
        self._first: tuple[int, float] | None = None
        self.started_s = self._said_s = time.monotonic()
        self._on_terminal = sys.stderr.isatty() and log.isEnabledFor(logging.INFO)

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count `n` more units as done; `note` ends the line (failures so far, the loss)."""
        self.done += n
        now_s = time.monotonic()
        if self._first is None:  # start-up and compiling stand before the first unit and tell nothing of the rate
            self._first = (self.done, now_s)
        if now_s - self._said_s < (TERMINAL_INTERVAL_S if self._on_terminal else LOG_INTERVAL_S):
            return
        self._said_s = now_s
        n_before, since_s = self._first if self.done > self._first[0] else (0, self.started_s)
        rate = (self.done - n_before) / (now_s - since_s)
        left = duration((self.total - self.done) / rate)
        line = f"{self.task}: {self.done:,} of {self.total:,} {self.unit}, {rate:.3g} a second, {left} left"
        if note:
            line += f", {note}"
        if self._on_terminal:
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
        else:
            log.info("%s", line)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def close(self) -> None:
        """End the line on a terminal, so that what comes next starts on its own."""
        if self._on_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
