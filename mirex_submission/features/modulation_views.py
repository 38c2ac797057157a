"""The built-in views: modulation energies (modulation.py) of two time-frequency maps, of a clip as it is or normalised.

The maps are a Mel spectrogram and a variable-Q transform with 24 bins per octave. The idea is that of the rhythm
patterns that the paper's authors used in 2005. The normalised views do not depend on the level of a clip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from mirex_submission.features.logmel import band_powers
from mirex_submission.features.logmel import multiply_accumulates as logmel_multiply_accumulates
from mirex_submission.features.modulation import Grid, modulation_energies
from mirex_submission.features.modulation import multiply_accumulates as modulation_multiply_accumulates
from mirex_submission.features.spec import VIEW_RATES_HZ, MelSpec
from mirex_submission.features.views import View
from mirex_submission.features.vqt import VqtSpec, vqt_magnitudes
from mirex_submission.features.vqt import multiply_accumulates as vqt_multiply_accumulates

MEL_GRID = Grid((0, 0.5, 1, 2, 4, 8, 16, 32), (0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 0.4), n_regions=8)
VQT_GRID = Grid((0, 0.5, 1, 2, 4, 8, 16), (0, 1 / 96, 1 / 48, 1 / 24, 1 / 12, 1 / 6, 1 / 3), n_regions=7)
_NOISE = 1e-6  # standard deviation of the added noise, which makes digital silence like recorded silence
_NOISE_SAMPLES = 1 << 20
_LEVEL = 0.12  # root mean square of a normalised clip, about that of published recordings
_LEAST_LEVEL = 1e-6  # of a clip that is amplified to it


def mel_modulation(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute the modulation energies of the Mel spectrogram of a clip.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), float32]
        Mono at `rate_hz`, n > 0; full scale is 1.0.
    rate_hz : int
        One of VIEW_RATES_HZ. At the lower rate all lengths have half as many samples, so their durations are the same.

    Returns
    -------
    np.ndarray [shape=(1568,), float32]
    """
    spec = mel_spec(rate_hz)
    margin = spec.window // 2
    powers = band_powers(np.pad(_with_noise(samples), margin), spec)
    levels = np.log1p(powers.T * np.float32(1e4 / (spec.window / 2)))
    return modulation_energies(np.ascontiguousarray(levels), rate_hz / spec.hop, MEL_GRID).ravel()


def vqt_modulation(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute the modulation energies of the variable-Q transform of a clip.

    The arguments are those of `mel_modulation`; the result is float32 [shape=(1190,)].
    """
    spec = vqt_spec(rate_hz)
    levels = np.log1p(vqt_magnitudes(_with_noise(samples), spec) * np.float32(300))
    return modulation_energies(levels, rate_hz / spec.hop, VQT_GRID).ravel()


def _normalised(compute: Callable[[np.ndarray, int], np.ndarray], samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Compute a view of a clip that is scaled to _LEVEL."""
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return compute(samples * np.float32(_LEVEL / max(level, _LEAST_LEVEL)), rate_hz)


def multiply_accumulates(name: str, rate_hz: int, n_samples: int) -> int:
    """Count the multiply-accumulates of a built-in view for a clip of `n_samples`."""
    if GRIDS[name] is MEL_GRID:
        mel, grid = mel_spec(rate_hz), MEL_GRID
        n_bands, n_frames, frame_rate_hz = mel.n_bands, 1 + n_samples // mel.hop, rate_hz / mel.hop
        of_map = n_frames * logmel_multiply_accumulates(mel)
    else:
        vqt, grid = vqt_spec(rate_hz), VQT_GRID
        n_bands, n_frames, frame_rate_hz = vqt.n_bins, 1 + n_samples // vqt.hop, rate_hz / vqt.hop
        of_map = vqt_multiply_accumulates(n_samples, vqt)
    return of_map + modulation_multiply_accumulates(n_bands, n_frames, frame_rate_hz, grid)


def mel_spec(rate_hz: int) -> MelSpec:
    """Return the sizes of the Mel spectrogram of `mel-modulation`."""
    n = rate_hz // VIEW_RATES_HZ[0]
    return MelSpec(rate_hz, window=512 * n, hop=128 * n, n_bands=96, lowest_hz=20.0)


def vqt_spec(rate_hz: int) -> VqtSpec:
    """Return the sizes of the variable-Q transform of `vqt-modulation`."""
    n = rate_hz // VIEW_RATES_HZ[0]
    return VqtSpec(rate_hz, hop=256 * n, lowest_hz=32.703, n_octaves=7, bins_per_octave=24, gamma_hz=12.0)


def _with_noise(samples: np.ndarray) -> np.ndarray:
    return samples + np.resize(_noise(), len(samples))


@functools.cache
def _noise() -> np.ndarray:
    return _NOISE * np.random.default_rng(0).standard_normal(_NOISE_SAMPLES, np.float32)


VIEWS = {
    "mel-modulation": View(mel_modulation, length=MEL_GRID.length),
    "vqt-modulation": View(vqt_modulation, length=VQT_GRID.length),
    "normalised-mel-modulation": View(functools.partial(_normalised, mel_modulation), length=MEL_GRID.length),
    "normalised-vqt-modulation": View(functools.partial(_normalised, vqt_modulation), length=VQT_GRID.length),
}
GRIDS = {
    "mel-modulation": MEL_GRID,
    "vqt-modulation": VQT_GRID,
    "normalised-mel-modulation": MEL_GRID,
    "normalised-vqt-modulation": VQT_GRID,
}
