"""The variable-Q transform equals that of librosa."""

import librosa
import numpy as np
import pytest

from mirex_submission.features.modulation_views import vqt_spec
from mirex_submission.features.spec import VIEW_RATES_HZ
from mirex_submission.features.vqt import VqtSpec, vqt_magnitudes


def signal(n, rate_hz):
    """Return a rising tone with noise."""
    tone = np.sin(2 * np.pi * np.cumsum(np.geomspace(40, rate_hz / 4, n)) / rate_hz)
    return (0.3 * tone + 0.02 * np.random.default_rng(1).standard_normal(n)).astype(np.float32)


def by_librosa(samples, spec):
    return np.abs(
        librosa.vqt(
            samples, sr=spec.rate_hz, hop_length=spec.hop, fmin=spec.lowest_hz, n_bins=spec.n_bins,
            bins_per_octave=spec.bins_per_octave, gamma=spec.gamma_hz,
        )
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
@pytest.mark.parametrize("n", [1, 300, 6_000, 66_151])
@pytest.mark.parametrize("rate_hz", VIEW_RATES_HZ)
def test_the_magnitudes_equal_librosas(rate_hz, n):
    spec, samples = vqt_spec(rate_hz), signal(n, rate_hz)
    ours, expected = vqt_magnitudes(samples, spec), by_librosa(samples, spec)
    assert ours.dtype == np.float32 and ours.shape == (168, 1 + n // spec.hop)
    np.testing.assert_allclose(ours[:, : expected.shape[1]], expected, rtol=0, atol=1e-5)


def test_other_sizes_equal_librosas():
    spec = VqtSpec(22050, hop=256, lowest_hz=110.0, n_octaves=5, bins_per_octave=12, gamma_hz=0.0)
    samples = signal(40_000, 22050)
    np.testing.assert_allclose(vqt_magnitudes(samples, spec), by_librosa(samples, spec), rtol=0, atol=1e-5)
