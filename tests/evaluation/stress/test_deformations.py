"""Each deformation changes the audio as its name says, and nothing else."""

import numpy as np
import pytest

from mirex_submission.evaluation.stress.deformations import DEFORMATIONS

RATE = 22050


def spectrum_share(samples, above_hz):
    power = np.abs(np.fft.rfft(samples[:, 0])) ** 2
    return power[np.fft.rfftfreq(len(samples), 1 / RATE) > above_hz].sum() / power.sum()


def rms_db(samples):
    return 10 * np.log10(np.mean(samples.astype(float) ** 2))


def pitch_hz(samples):
    n = len(samples)
    return np.abs(np.fft.rfft(samples[:, 0] * np.hanning(n))).argmax() * RATE / n


def alter(name, samples, strength, seed=0):
    return DEFORMATIONS[name].alter(samples, RATE, strength, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(1).standard_normal((4 * RATE, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def tone():
    t = np.arange(4 * RATE) / RATE
    return (0.3 * np.sin(2 * np.pi * 500 * t) * np.array([[1.0], [0.5]])).T.astype(np.float32)


@pytest.mark.parametrize("name", DEFORMATIONS)
def test_equal_seeds_give_equal_samples_of_float32(name, noise):
    for strength in DEFORMATIONS[name].strengths[:2]:
        first, second = (alter(name, noise[:RATE], strength) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.float32 and first.ndim == 2 and np.isfinite(first).all()


@pytest.mark.parametrize("kbps", [128, 64, 32])
@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_mp3_keeps_length_and_tone_and_the_lowest_rate_cuts_the_highest_band(noise, tone, kbps, n_channels):
    samples = np.tile(tone[:, :1] + noise[:, :1], n_channels)
    altered = alter("mp3", samples, kbps)
    assert len(altered) == len(samples) and pitch_hz(altered) == pytest.approx(500, abs=1)
    if kbps == 32:
        assert spectrum_share(altered, 9000) < 0.3 * spectrum_share(samples, 9000)


def test_a_band_limit_removes_what_is_above_and_keeps_what_is_below(noise):
    altered = alter("band-limit", noise, 4)
    assert spectrum_share(altered, 4400) < 0.002
    assert rms_db(altered) == pytest.approx(rms_db(noise) + 10 * np.log10(4000 / (RATE / 2)), abs=0.3)
    assert alter("band-limit", noise, 11.1) is noise


@pytest.mark.parametrize("name", ["white-noise", "pink-noise"])
@pytest.mark.parametrize("snr_db", [30, 10])
def test_noise_has_its_signal_to_noise_ratio_and_its_colour(tone, name, snr_db):
    added = alter(name, tone, snr_db) - tone
    assert rms_db(tone) - rms_db(added) == pytest.approx(snr_db, abs=0.05)
    # Half the bandwidth has half the power of white noise, and one of nine octaves of pink noise.
    assert spectrum_share(added, RATE / 4) == pytest.approx(0.5 if name == "white-noise" else 0.11, abs=0.02)
    silence = np.zeros_like(tone)
    assert alter(name, silence, snr_db) is silence


def test_gain_clipping_silence_and_channels(tone, noise):
    assert rms_db(alter("gain", tone, -20)) == pytest.approx(rms_db(tone) - 20, abs=1e-3)
    clipped = alter("clipping", noise, 20)
    assert (np.abs(clipped) >= np.abs(clipped).max() * (1 - 1e-6)).mean() == pytest.approx(0.2, abs=0.001)
    silent = alter("leading-silence", tone, 1)
    assert not silent[:RATE].any() and np.array_equal(silent[RATE:], tone)
    np.testing.assert_array_equal(alter("one-channel", tone, 1), tone[:, :1])


@pytest.mark.parametrize("percent", [-5, 2])
def test_speed_changes_length_and_pitch_together(tone, percent):
    altered = alter("speed", tone, percent)
    assert len(altered) == pytest.approx(len(tone) / (1 + percent / 100), abs=2)
    assert pitch_hz(altered) == pytest.approx(500 * (1 + percent / 100), abs=1)


@pytest.mark.parametrize("semitones", [-2, 1])
def test_pitch_changes_without_the_speed(tone, semitones):
    altered = alter("pitch", tone, semitones)
    assert len(altered) == len(tone) and pitch_hz(altered) == pytest.approx(500 * 2 ** (semitones / 12), rel=0.01)


def test_an_excerpt_is_part_of_the_clip_and_a_short_clip_stays_whole(noise):
    altered = alter("excerpt", noise, 1, seed=3)
    assert len(altered) == RATE
    starts = np.flatnonzero(noise[:, 0] == altered[0, 0])
    assert any(np.array_equal(noise[start : start + RATE], altered) for start in starts)
    assert len(alter("excerpt", noise, 5)) == len(noise)
