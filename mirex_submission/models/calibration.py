"""Calibration of a model's probabilities by tracks that were held out of its training.

References
----------
C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017: temperature
scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 has no logarithm


@dataclass(frozen=True, slots=True)
class HeldOutTrack:
    """A track that was held out.

    Parameters
    ----------
    path, label, content : str
        Full path, label, hash of the audio file.
    group : int
        Number of its group.
    score : float
        1 - the probability of its label, before the temperature is applied.
    distance : float
        Distance to the nearest training track, as `likeness` measures it.
    """

    path: str
    label: str
    content: str
    group: int
    score: float
    distance: float


@dataclass(frozen=True)
class Calibration:
    """The held-out tracks of a model, and the temperature that follows from them.

    Parameters
    ----------
    key : str
        Hash of the training list, the groups and the seed.
    temperature : float
        Divisor of the logarithms of the probabilities; 1 for views, whose classifier has a temperature of its own.
    tracks : tuple of HeldOutTrack
    """

    key: str
    temperature: float
    tracks: tuple[HeldOutTrack, ...]

    def check(self) -> None:
        """Raise ValueError for values that no training can give."""
        numbers = [number for track in self.tracks for number in (track.score, track.distance)]
        if not (0 < self.temperature < math.inf and self.tracks and all(0 <= x < math.inf for x in numbers)):
            raise ValueError("its calibration has impossible values")

    def tempered(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of a track, [n_classes]."""
        return _power(probabilities, 1 / self.temperature)

    def untempered(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities of a track before `tempered`, [n_classes].

        The held-out tracks decided the temperature, so only these treat held-out and new tracks alike.
        """
        return _power(probabilities, self.temperature)


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Return finite logarithms of probabilities."""
    return np.asarray(np.log(np.maximum(probabilities, _TINY)))


def _power(probabilities: np.ndarray, exponent: float) -> np.ndarray:
    if exponent == 1:
        return probabilities
    logs = exponent * logarithms(probabilities)
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
