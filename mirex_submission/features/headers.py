"""The headers of audio files: read once in a run, many at a time, because a disk or a network may be slow."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from mirex_submission.errors import AudioError, coded
from mirex_submission.features import audio
from mirex_submission.features.audio import AudioHeader
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import Progress, duration


class Headers:
    """A cache of the headers of audio files.

    Parameters
    ----------
    threads : int
        Number of files to read at a time.
    limit_s : float
        Time limit: if no file was read for so many seconds, the open ones are given up. A network may never answer.
    """

    def __init__(self, threads: int, limit_s: float = 1800.0) -> None:
        self._threads, self._limit_s = threads, limit_s
        self._known: dict[str, AudioHeader | str] = {}

    def of(self, paths: Iterable[str]) -> dict[str, AudioHeader | str]:
        """Return for each distinct path its header, or the reason why there is none."""
        files = {path: full_path(path) for path in paths}
        new = [file for file in dict.fromkeys(files.values()) if file not in self._known]
        progress = Progress("headers", len(new), unit="files")
        for file, header in self._read(new):
            self._known[file] = header
            progress.advance()
        progress.close()
        return {path: self._known[file] for path, file in files.items()}

    def _read(self, files: Sequence[str]) -> Iterator[tuple[str, AudioHeader | str]]:
        waiting, unread = deque(files), set(files)
        done: queue.SimpleQueue[tuple[str, AudioHeader | str | Exception]] = queue.SimpleQueue()
        while unread:
            for _ in range(min(self._threads, len(waiting))):
                # A thread pool would wait for a thread that hangs, at its end and at the end of the process.
                threading.Thread(target=_read_next, args=(waiting, done), daemon=True).start()
            try:
                while unread:
                    file, header = done.get(timeout=self._limit_s)
                    if isinstance(header, Exception):
                        raise header
                    if file in unread:
                        unread.remove(file)
                        yield file, header
            except queue.Empty:
                stuck = unread.difference(tuple(waiting))
                unread -= stuck
                text = f"not opened within {duration(self._limit_s)}: its disk or network does not answer"
                yield from ((file, coded(text, code="audio.track-limit")) for file in stuck)


def _read_next(waiting: deque[str], done: queue.SimpleQueue[tuple[str, AudioHeader | str | Exception]]) -> None:
    """Read one file after the other until none is left."""
    while True:
        try:
            file = waiting.popleft()
        except IndexError:
            return
        try:
            done.put((file, audio.read_header(file)))
        except AudioError as error:
            done.put((file, str(error)))
        except Exception as error:  # noqa: BLE001 - the calling thread raises it
            done.put((file, error))
