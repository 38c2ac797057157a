"""Decoding by PyAV (FFmpeg), an optional package, of audio that libsndfile does not decode, such as AAC in MP4."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np


def is_installed() -> bool:
    """Return whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


@contextlib.contextmanager
def _as_value_error() -> Iterator[None]:
    """Raise ValueError for each error of FFmpeg: some of PyAV's classes are no kind of any other."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise ValueError(str(error)) from error


class AvFile:
    """The first audio stream of a file, with the part of soundfile.SoundFile's interface that decoding needs.

    Raises
    ------
    ValueError
        The file has no audio, or none that FFmpeg decodes; also during reading.
    """

    subtype = "FLOAT"
    format = "FFMPEG"

    def __init__(self, file: io.RawIOBase) -> None:
        import av

        av.logging.set_level(None)  # FFmpeg's messages do not name the track
        # A playlist or a container must not make FFmpeg open other files or addresses.
        with _as_value_error():
            self._container: Any = av.open(file, options={"protocol_whitelist": "none"})
        if not self._container.streams.audio:
            raise ValueError("no audio in it")
        stream = self._container.streams.audio[0]
        self.samplerate, self.channels = int(stream.rate or 0), int(stream.channels or 0)
        if not self.samplerate or not self.channels:
            raise ValueError("a damaged header")
        duration_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        self.frames = int(duration_s * self.samplerate)
        self._resampler = av.AudioResampler(format="flt", layout=stream.layout, rate=self.samplerate)
        self._blocks = self._decoded(stream)
        self._rest = np.empty((0, self.channels), np.float32)

    def _decoded(self, stream: Any) -> Any:
        for frame in self._container.decode(stream):
            for packed in self._resampler.resample(frame):
                yield packed.to_ndarray().reshape(-1, self.channels)
        for packed in self._resampler.resample(None):
            yield packed.to_ndarray().reshape(-1, self.channels)

    def read(self, out: np.ndarray) -> np.ndarray:
        """Fill `out` [shape=(n, n_channels), float32] with the next samples, and return the part that is filled."""
        while not len(self._rest):
            with _as_value_error():
                block = next(self._blocks, None)
            if block is None:
                return out[:0]
            self._rest = block
        n = min(len(out), len(self._rest))
        out[:n], self._rest = self._rest[:n], self._rest[n:]
        return out[:n]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> AvFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
