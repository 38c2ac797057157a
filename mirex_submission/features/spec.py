"""Specifications of features: a FeatureSpec for log-Mel frames, or a ViewSpec for each view.

The paper gives its sizes at 44.1 kHz, and they are scaled in proportion to the sampling rate: a Hann window of 3072
samples, 50 % overlap, 40 Mel bands, segments of 124,416 samples = 80 frames. That is framing without padding
("uncentred"): 3072 + 79 x 1536 = 124,416.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mirex_submission.errors import UsageError

WORKING_RATES_HZ = (11025, 22050, 44100)
VIEW_RATES_HZ = (11025, 22050)  # rates of views, because frequencies above 11 kHz improved none of them
DEFAULT_BANDS = 40
DEFAULT_FRAMES = 80
MAX_BANDS = 2048  # more can only be a mistake, and would fill the memory
MAX_FRAMES = 100_000
REFERENCE_RATE_HZ = 44100
REFERENCE_WINDOW = 3072
# Raise it whenever the same audio and spec would give different values: stored features are then computed again.
ALGORITHM_VERSION = 2
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"  # of a view, and of its version
_MAX_NAME = 64
MAX_LENGTH = 1_000_000
WINDOW_S = 120  # window of a view: a longer track is cut into windows, so that memory does not grow with its length


@dataclass(frozen=True)
class MelSpec:
    """Sizes of a Mel power spectrogram.

    Parameters
    ----------
    rate_hz : int
        Rate of the samples.
    window, hop : int
        Samples of a frame, and from one frame to the next.
    n_bands : int
        Mel bands from `lowest_hz` to half the rate.
    lowest_hz : float
    """

    rate_hz: int
    window: int
    hop: int
    n_bands: int
    lowest_hz: float = 0.0


class Spec(ABC):
    """All settings of one kind of features of a track, a float32 matrix.

    Attributes
    ----------
    rate_hz : int
        Working rate of the samples.
    suffix : str
        Suffix of the files with such features.
    """

    rate_hz: int
    suffix: ClassVar[str]

    @property
    @abstractmethod
    def id(self) -> str:
        """Name of the folder of features with this spec."""

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Columns of the matrix."""

    @property
    @abstractmethod
    def least_rows(self) -> int:
        """Least number of rows of a track."""

    @abstractmethod
    def rows_in(self, duration_s: float) -> int:
        """Count the rows of a clip of this duration."""


@dataclass(frozen=True)
class ViewSpec(Spec):
    """All settings of the vectors of a track in one view.

    Parameters
    ----------
    view : str
        Name of the view.
    version : str
        Version of the view, which its author raises whenever the same audio would give different values.
    rate_hz : int
        Working rate.
    length : int
        Length of a vector.

    Raises
    ------
    UsageError
        A value is of another type or out of range.
    """

    view: str
    version: str
    rate_hz: int
    length: int

    suffix: ClassVar[str] = ".view"

    def __post_init__(self) -> None:
        for name in (self.view, self.version):  # parts of a folder's name
            if not isinstance(name, str) or not re.fullmatch(_NAME, name) or len(name) > _MAX_NAME:
                text = f"{name!r}: give a name or version of letters, digits, '_', '-' and '.', {_MAX_NAME} at most"
                raise UsageError(text, code="usage.view")
        if type(self.rate_hz) is not int or self.rate_hz not in VIEW_RATES_HZ:
            raise UsageError(f"views at {self.rate_hz} Hz: choose one of {VIEW_RATES_HZ}", code="usage.view")
        if type(self.length) is not int or not 1 <= self.length <= MAX_LENGTH:
            text = f"length {self.length!r}: give a whole number from 1 to {MAX_LENGTH:,}"
            raise UsageError(text, code="usage.view")

    @property
    def id(self) -> str:
        """Name of the folder of vectors with this spec."""
        return f"{self.view}-{self.rate_hz}hz-{self.length}-v{self.version}"

    @property
    def n_columns(self) -> int:
        """Columns of the matrix: the length of a vector."""
        return self.length

    @property
    def least_rows(self) -> int:
        """Rows that every track has: one window."""
        return 1

    def rows_in(self, duration_s: float) -> int:
        """Count the windows of a clip of this duration."""
        return max(1, math.ceil(duration_s / WINDOW_S))


@dataclass(frozen=True)
class FeatureSpec(Spec):
    """All settings of a track's log-Mel frames.

    Parameters
    ----------
    rate_hz : int
        Working rate, one of WORKING_RATES_HZ.
    n_bands : int
        Number of Mel bands from 0 Hz to half the rate.
    n_frames : int
        Frames of a segment.

    Raises
    ------
    UsageError
        A value is of another type or out of range.
    """

    rate_hz: int = 22050
    n_bands: int = DEFAULT_BANDS
    n_frames: int = DEFAULT_FRAMES

    suffix: ClassVar[str] = ".logmel"

    def __post_init__(self) -> None:
        if type(self.rate_hz) is not int or self.rate_hz not in WORKING_RATES_HZ:
            rates = ", ".join(map(str, WORKING_RATES_HZ))
            raise UsageError(f"rate {self.rate_hz} Hz: choose one of {rates}", code="usage.feature-rate")
        for name, n, most in (("bands", self.n_bands, MAX_BANDS), ("frames", self.n_frames, MAX_FRAMES)):
            if type(n) is not int or not 1 <= n <= most:
                raise UsageError(f"{n!r} {name}: give a whole number from 1 to {most}", code="usage.feature-size")

    @property
    def window(self) -> int:
        """Samples of a frame: 3072, 1536 or 768."""
        return REFERENCE_WINDOW * self.rate_hz // REFERENCE_RATE_HZ

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: half a window."""
        return self.window // 2

    @property
    def mel(self) -> MelSpec:
        """Sizes of the Mel power spectrogram, of which the frames are the logarithm."""
        return MelSpec(self.rate_hz, self.window, self.hop, self.n_bands)

    @property
    def segment_samples(self) -> int:
        """Samples of a segment: 124,416, 62,208 or 31,104 for 80 frames."""
        return self.window + (self.n_frames - 1) * self.hop

    @property
    def frames_between_segments(self) -> int:
        """Frames from one consecutive segment to the next, so that they share no sample."""
        return self.segment_samples // self.hop

    @property
    def n_columns(self) -> int:
        """Number of Mel bands."""
        return self.n_bands

    @property
    def least_rows(self) -> int:
        """Frames of a segment, because a shorter clip is repeated until it fills one."""
        return self.n_frames

    def rows_in(self, duration_s: float) -> int:
        """Count the frames of a clip of this duration."""
        return max(self.n_frames, 1 + (int(duration_s * self.rate_hz) - self.window) // self.hop)

    @property
    def id(self) -> str:
        """Name of the folder of features with this spec."""
        return f"{self.rate_hz}hz-{self.n_bands}x{self.n_frames}-v{ALGORITHM_VERSION}"


def own_working_rate(native_hz: int) -> int:
    """Choose the working rate in Hz for one file: the lowest of WORKING_RATES_HZ not below its rate, or 44100."""
    return next((rate for rate in WORKING_RATES_HZ if native_hz <= rate), WORKING_RATES_HZ[-1])


def working_rate(native_rates_hz: Sequence[int], *, share: float = 0.95) -> int:
    """Choose the working rate in Hz of a task: the highest that at least `share` of its files reach.

    A band has other frequencies at another rate, so a task has one rate. Without readable files it is 22.05 kHz.
    """
    if not native_rates_hz:
        return FeatureSpec.rate_hz
    own = [own_working_rate(rate) for rate in native_rates_hz]
    needed = math.ceil(share * len(own))
    return max(rate for rate in WORKING_RATES_HZ if sum(r >= rate for r in own) >= needed)
