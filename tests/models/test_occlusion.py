"""Regions of a clip: they add up to it, those that decide are marked, and marks that decide nothing are no success."""

import threading

import numpy as np
import pytest

from mirex_submission.models.occlusion import N_BANDS, N_RANDOM, Regions, n_predictions, occlude

RATE = 11025
SECONDS = 8
TONE_HZ = 2600.0


def noise(seconds=SECONDS, level=0.05):
    return level * np.random.default_rng(1).standard_normal(seconds * RATE).astype(np.float32)


def with_tone(from_s=2.1, to_s=3.9):
    """Noise with a tone from one second to another."""
    t = np.arange(SECONDS * RATE) / RATE
    return noise() + (0.2 * np.sin(2 * np.pi * TONE_HZ * t) * ((t >= from_s) & (t < to_s))).astype(np.float32)


def tone_level(samples):
    """Probability that a model gives which listens to the tone alone: its energy anywhere in the clip."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(1 / (1 + 1e6 / spectrum[np.abs(hz - TONE_HZ) < 20].sum()))


@pytest.mark.parametrize("n", [RATE // 4, RATE + 1, SECONDS * RATE])
def test_regions_add_up_to_the_clip(n):
    samples = with_tone()[:n]
    regions = Regions(samples, RATE)
    whole = regions.without(np.zeros(regions.shape, bool))
    assert whole.dtype == np.float32 and np.abs(whole - samples).max() < 1e-5
    assert regions.edges_s[-1] == pytest.approx(n / RATE) and regions.edges_hz[-1] == pytest.approx(RATE / 2)
    assert regions.shape[1] == N_BANDS and 1 <= regions.shape[0] <= 8


def test_removing_a_region_does_not_change_the_others():
    samples = noise()
    regions = Regions(samples, RATE)
    chosen = np.zeros(regions.shape, bool)
    chosen[2, 1] = True
    taken = samples - regions.without(chosen)
    inside = slice(int((regions.edges_s[2] - 0.1) * RATE), int((regions.edges_s[3] + 0.1) * RATE))
    assert (taken[inside] ** 2).sum() > 0.999 * (taken**2).sum()
    powers, hz = np.abs(np.fft.rfft(taken)) ** 2, np.fft.rfftfreq(len(taken), 1 / RATE)
    low, high = regions.edges_hz[1:3]
    assert powers[(hz > 0.85 * low) & (hz < 1.15 * high)].sum() > 0.99 * powers.sum()


def test_the_regions_of_the_tone_that_decides_are_marked_and_no_others():
    regions = Regions(with_tone(), RATE)
    asked = []
    result = occlude(regions, tone_level, threads=2, advance=lambda: asked.append(threading.get_ident()))
    band = int(np.searchsorted(regions.edges_hz, TONE_HZ)) - 1
    assert np.argwhere(result.marked).tolist() == [[2, band], [3, band]]  # windows of a second
    assert result.passed and result.n_beaten == N_RANDOM and result.fall > 0.5 > result.random_fall + 0.3
    assert (
        result.probability > 0.9 and result.without_band[band] < 0.1 < 0.9 < np.delete(result.without_band, band).min()
    )
    assert n_predictions(regions) - 9 < len(asked) <= n_predictions(regions)  # 9 regions may be marked


def test_the_number_of_threads_changes_nothing():
    one, two = (occlude(Regions(with_tone()[: 2 * RATE], RATE), tone_level, threads=n) for n in (1, 2))
    assert all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in ("scores", "marked", "without_random")
    )


@pytest.mark.parametrize("ask", [lambda samples: 0.7, lambda samples: float(np.clip(0.9 - (samples**2).mean(), 0, 1))])
def test_marks_that_lower_nothing_fail_the_deletion_test(ask):
    # The second model is surest of silence: any region that is taken out makes it surer.
    result = occlude(Regions(noise(1, level=0.3), RATE), ask)
    assert not result.passed and result.marked.any() and result.fall <= max(0, result.random_fall)
