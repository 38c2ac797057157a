"""The regions of a clip that decide its class: each region is attenuated in turn, and the model predicts again.

A region is a time window in a frequency band. It is removed from the audio itself, so the method works for models with
any features. The clip is the sum of its regions: filters without phase shift divide it into bands, and overlapping
windows divide the bands in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft

from mirex_submission.features.filterbank import hz_to_mel, mel_to_hz

N_BANDS = 6
_MOST_WINDOWS, _LEAST_WINDOW_S = 8, 0.5
FALL_DB = 30  # attenuation of a removed region; not more, because recordings have no digital silence
_GAIN = 10 ** (-FALL_DB / 20)
_RAMP_S = 0.05  # half the time in which a window fades in
_RAMP_BANDS = 0.1  # half the width of the slope between two bands, relative to the width of a band
_LARGEST_SHARE = 0.2  # largest share of the regions that is marked
_LEAST_SCORE = 0.25  # least score of a marked region, relative to the highest score
_LEAST_REGAINED = 0.1  # least log-odds that a needed region regains alone, relative to the best region
_SUFFICIENT = 0.8  # least share of the fall by the best regions that the needed ones must cause, or all best are marked
_LEAST_FALL = 0.01  # least fall of the probability in a passed deletion test
N_RANDOM = 10  # sets of random regions in the deletion test
_LEAST_PROBABILITY = 1e-9

Predict = Callable[[np.ndarray], float]  # samples to the probability of the class that is explained


class Regions:
    """A clip divided into regions.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
    rate_hz : int

    Attributes
    ----------
    edges_s, edges_hz : np.ndarray [shape=(n_windows + 1,)], [shape=(n_bands + 1,)]
        Where the windows and the bands begin and end.
    """

    def __init__(self, samples: np.ndarray, rate_hz: int) -> None:
        n, duration_s = len(samples), len(samples) / rate_hz
        n_windows = int(np.clip(duration_s / _LEAST_WINDOW_S, 1, _MOST_WINDOWS))
        self.edges_s = np.linspace(0, duration_s, n_windows + 1)
        mels = np.linspace(0, hz_to_mel(rate_hz / 2), N_BANDS + 1)
        self.edges_hz = mel_to_hz(mels)
        self._windows = _shares(np.arange(n) / rate_hz, self.edges_s, _RAMP_S).astype(np.float32)
        padded = scipy.fft.next_fast_len(n + rate_hz // 2, real=True)  # the filters ring
        spectrum = scipy.fft.rfft(samples.astype(np.float32, copy=False), padded)
        fine = np.linspace(0, mels[-1], 1000)
        bins = np.interp(scipy.fft.rfftfreq(padded, 1 / rate_hz), mel_to_hz(fine), fine)
        of_bins = _shares(bins, mels, _RAMP_BANDS * mels[1])
        self._bands = np.stack([scipy.fft.irfft(spectrum * s.astype(np.float32), padded)[:n] for s in of_bins])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of windows and of bands."""
        return len(self._windows), len(self._bands)

    def without(self, chosen: np.ndarray) -> np.ndarray:
        """Return the samples of the clip with the chosen regions [n_windows, n_bands], bool, attenuated."""
        gains = np.where(chosen, np.float32(_GAIN), np.float32(1)).T @ self._windows
        return np.asarray(np.einsum("bt,bt->t", gains, self._bands))


def _shares(x: np.ndarray, edges: np.ndarray, ramp: float) -> np.ndarray:
    """Compute the share of each point in the parts between the edges, [n_parts, n], with cosine slopes at the edges."""
    slopes = [np.clip((x - edge) / (2 * ramp) + 0.5, 0, 1) for edge in edges[1:-1]]
    above = [np.ones_like(x), *(0.5 - 0.5 * np.cos(np.pi * slope) for slope in slopes), np.zeros_like(x)]
    return -np.diff(above, axis=0)


@dataclass(frozen=True, eq=False)
class Occlusion:
    """Probabilities of a class without parts of a clip, and the regions that decide.

    Parameters
    ----------
    probability : float
        Probability for the whole clip.
    edges_s, edges_hz : np.ndarray
        Edges of the windows and bands.
    without_window, without_band, without_region : np.ndarray
        Probability without a window [n_windows], a band [n_bands], a region [n_windows, n_bands].
    scores : np.ndarray [shape=(n_windows, n_bands)]
        Log-odds that the class loses without a region.
    marked : np.ndarray [shape=(n_windows, n_bands), bool]
        The regions that decide.
    without_marked : float
        Probability without all marked regions.
    without_random : np.ndarray
        Probabilities without as many random regions, one for each random set.
    """

    probability: float
    edges_s: np.ndarray
    edges_hz: np.ndarray
    without_window: np.ndarray
    without_band: np.ndarray
    without_region: np.ndarray
    scores: np.ndarray
    marked: np.ndarray
    without_marked: float
    without_random: np.ndarray

    @property
    def fall(self) -> float:
        """Fall of the probability without the marked regions."""
        return self.probability - self.without_marked

    @property
    def random_fall(self) -> float:
        """Mean fall of the probability without random regions."""
        return self.probability - float(self.without_random.mean())

    @property
    def n_beaten(self) -> int:
        """Number of random sets that lower the probability less than the marked regions do."""
        return int((self.without_random > self.without_marked).sum())

    @property
    def passed(self) -> bool:
        """Whether the marked regions lower the probability noticeably, and more than random ones do."""
        return self.fall > max(self.random_fall, _LEAST_FALL)


def occlude(
    regions: Regions, predict: Predict, *, threads: int = 1, advance: Callable[[], object] = lambda: None
) -> Occlusion:
    """Remove windows, bands and regions; mark the regions that decide; then test the marks by deletion.

    Parameters
    ----------
    regions : Regions
    predict : callable
        Function from samples to the probability of the class.
    threads : int
        Number of parallel calls of `predict`.
    advance : callable
        Called after each call of `predict`, `n_predictions(regions)` times at most.
    """
    n_windows, n_bands = regions.shape
    windows, bands = np.eye(n_windows, dtype=bool)[:, :, None], np.eye(n_bands, dtype=bool)[:, None, :]
    single = [
        np.broadcast_to(windows, (n_windows, *regions.shape)),
        np.broadcast_to(bands, (n_bands, *regions.shape)),
        (windows[:, None] & bands[None]).reshape(-1, *regions.shape),
    ]
    with ThreadPoolExecutor(threads) as pool:

        def without(chosen: Iterable[np.ndarray]) -> np.ndarray:
            def one(cells: np.ndarray) -> float:
                return predict(regions.without(cells))

            probabilities = []
            for probability in pool.map(one, chosen):
                probabilities.append(probability)
                advance()
            return np.array(probabilities)

        nothing = np.zeros((1, *regions.shape), bool)
        probability = without(nothing)[0]
        without_window, without_band, without_region = map(without, single)
        without_region = without_region.reshape(regions.shape)
        lost = [_log_odds(probability) - _log_odds(p) for p in (without_window, without_band, without_region)]
        # One region changes little, so its score also has a share of the change by its whole window and whole band.
        scores = lost[0][:, None] / n_bands + lost[1] / n_windows + lost[2]
        best = _best(scores)
        # A region is needed if the class regains much by this region alone, without all the other best ones.
        without_best, *with_one = without([best, *_each_left_out(best)])
        needed = best.copy()
        needed[best] = _needed(_log_odds(np.array(with_one)) - _log_odds(without_best))
        (without_needed,) = without([needed])
        suffice = probability - without_needed >= _SUFFICIENT * (probability - without_best)
        marked, without_marked = (needed, without_needed) if suffice else (best, without_best)
        without_random = without(_random_sets(marked))
    return Occlusion(
        float(probability), regions.edges_s, regions.edges_hz, without_window, without_band, without_region,
        scores, marked, float(without_marked), without_random,
    )  # fmt: skip


def n_predictions(regions: Regions) -> int:
    """Count the calls of `predict` that `occlude` makes at most."""
    n_windows, n_bands = regions.shape
    n_regions = n_windows * n_bands
    return 1 + n_windows + n_bands + n_regions + 1 + _most_marked(n_regions) + 1 + N_RANDOM


def _most_marked(n_regions: int) -> int:
    return max(1, int(_LARGEST_SHARE * n_regions))


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(np.log(p / (1 - p)))


def _best(scores: np.ndarray) -> np.ndarray:
    """Choose the regions with the highest scores: at least one, and at most a share of all."""
    flat = scores.ravel()
    best = np.argsort(-flat, kind="stable")[: _most_marked(flat.size)]
    marked = np.zeros(flat.size, bool)
    marked[best[flat[best] >= _LEAST_SCORE * flat[best[0]]]] = True
    marked[best[0]] = True
    return marked.reshape(scores.shape)


def _each_left_out(marked: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the marked regions without one of them, for each one in turn."""
    for cell in np.argwhere(marked):
        others = marked.copy()
        others[tuple(cell)] = False
        yield others


def _needed(regained: np.ndarray) -> np.ndarray:
    """Return which regions are needed, at least one, from the log-odds that the class regains by each region."""
    best = regained.argmax()
    needed = (regained > 0) & (regained >= _LEAST_REGAINED * regained[best])
    needed[best] = True
    return np.asarray(needed)


def _random_sets(marked: np.ndarray) -> Iterator[np.ndarray]:
    """Yield sets of as many random regions as are marked; equal numbers give equal sets."""
    rng = np.random.default_rng(0)
    for _ in range(N_RANDOM):
        yield rng.permutation(marked.ravel()).reshape(marked.shape)
