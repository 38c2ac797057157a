"""The headers of audio files: read once a run, many at a time, for a disk or a network may be slow to answer."""

from __future__ import annotations

from collections.abc import Iterable

import joblib

from mirex_submission.errors import AudioError
from mirex_submission.features import audio
from mirex_submission.features.audio import AudioHeader
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import Progress


class Headers:
    """The headers that were read so far.

    Parameters
    ----------
    threads : int
        Number of files to read side by side.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._known: dict[str, AudioHeader | str] = {}

    def of(self, paths: Iterable[str]) -> dict[str, AudioHeader | str]:
        """Read the headers of the distinct paths; of a file without a header, the reason."""
        files = {path: full_path(path) for path in paths}
        new = [file for file in dict.fromkeys(files.values()) if file not in self._known]
        progress = Progress("headers", len(new), unit="files")
        parallel = joblib.Parallel(n_jobs=self._threads, backend="threading", return_as="generator")
        for file, header in zip(new, parallel(joblib.delayed(_read)(file) for file in new), strict=True):
            self._known[file] = header
            progress.advance()
        progress.close()
        return {path: self._known[file] for path, file in files.items()}


def _read(path: str) -> AudioHeader | str:
    try:
        return audio.read_header(path)
    except AudioError as error:
        return str(error)
