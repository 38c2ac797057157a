"""File features: each one is compared with audio that was made to have a known value."""

import os

import numpy as np
import pytest
import soundfile
import soxr
from audit_corpus import RATE_HZ, write_mp3

from mirex_submission.errors import AudioError
from mirex_submission.evaluation.audit.file_features import file_features

NOISE = 0.1 * np.random.default_rng(0).normal(size=3 * RATE_HZ)


def low_passed(y, hz):
    spectrum = np.fft.rfft(y)
    spectrum[int(hz / (RATE_HZ / 2) * len(spectrum)) :] = 0
    return np.fft.irfft(spectrum, len(y))


@pytest.fixture
def measured(tmp_path):
    """A function that writes samples to a file and measures it."""

    def measure(y, rate_hz=RATE_HZ, name="a.wav", subtype=None):
        soundfile.write(tmp_path / name, y, rate_hz, subtype)
        return file_features(str(tmp_path / name))

    return measure


def test_format_size_length_and_date(measured, tmp_path):
    of_wav = measured(np.stack([NOISE, NOISE], axis=1), 44100, subtype="PCM_24")
    assert (of_wav.container, of_wav.codec, of_wav.sample_rate, of_wav.channels) == ("WAV", "PCM_24", 44100, 2)
    assert of_wav.duration == pytest.approx(1.5) and of_wav.file_size == (tmp_path / "a.wav").stat().st_size
    assert of_wav.bit_rate == pytest.approx(44100 * 48, rel=0.01)
    os.utime(tmp_path / "a.wav", (1e9, 1e9))
    assert file_features(str(tmp_path / "a.wav")).modification_date == 11574
    of_flac = measured(NOISE, name="a.flac")
    assert (of_flac.container, of_flac.codec, of_flac.channels) == ("FLAC", "PCM_16", 1)
    write_mp3(tmp_path / "a.mp3", NOISE, 64)
    of_mp3 = file_features(str(tmp_path / "a.mp3"))
    assert of_mp3.container == "MP3" and of_mp3.bit_rate == pytest.approx(64_000, rel=0.1)


def test_levels_silence_and_clipping(measured):
    plain = measured(NOISE)
    assert plain.loudness == pytest.approx(-20, abs=0.2)
    assert measured(NOISE * 10 ** (3 / 20)).loudness == pytest.approx(plain.loudness + 3, abs=0.05)
    assert plain.silence_at_the_start == plain.silence_at_the_end == 0
    ends = measured(np.concatenate([np.zeros(RATE_HZ // 2), NOISE, np.zeros(RATE_HZ // 4)]))
    assert ends.silence_at_the_start == pytest.approx(0.5, abs=0.011)
    assert ends.silence_at_the_end == pytest.approx(0.25, abs=0.011)
    assert ends.loudness == pytest.approx(plain.loudness, abs=0.1)
    assert abs(plain.dc_offset) < 2e-3
    assert measured(NOISE + 0.01).dc_offset == pytest.approx(plain.dc_offset + 0.01, abs=1e-4)
    assert plain.clipping < 1e-4 and measured(np.clip(NOISE, -0.2, 0.2)).clipping == pytest.approx(0.045, abs=0.01)


@pytest.mark.parametrize("limit_hz", [3400, 5500, 8000])
def test_a_band_limit_is_measured(measured, limit_hz):
    assert measured(NOISE).upper_band_limit == RATE_HZ / 2
    assert measured(low_passed(NOISE, limit_hz)).upper_band_limit == pytest.approx(limit_hz, abs=200)


def test_a_band_limit_of_resampling_and_of_mp3_is_measured(measured, tmp_path):
    was_11_khz = soxr.resample(soxr.resample(NOISE, RATE_HZ, 11025), 11025, RATE_HZ)
    assert 5000 < measured(was_11_khz).upper_band_limit < 5700
    limits = []
    for kbps in (16, 32):
        write_mp3(tmp_path / "a.mp3", NOISE, kbps)
        limits.append(measured(soundfile.read(tmp_path / "a.mp3")[0], name="b.wav").upper_band_limit)
    assert limits[0] < limits[1] < 10_000


def test_the_noise_floor_is_the_power_between_the_notes(measured):
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    notes = sum(0.1 * np.sin(2 * np.pi * 440 * k * t) for k in (1, 2, 3))
    floors = [measured(notes + 0.03 * gain * NOISE).noise_floor for gain in (1, 0.1)]
    assert floors[0] - floors[1] == pytest.approx(20, abs=1)
    assert measured(notes + 0.03 * NOISE).noise_floor == pytest.approx(measured(0.03 * NOISE).noise_floor, abs=1)


def test_short_and_unreadable_files(measured, tmp_path):
    assert measured(NOISE[:50]).duration == 50 / RATE_HZ
    with pytest.raises(AudioError, match=r"audio\.silent"):
        measured(np.zeros(1000))
    with pytest.raises(AudioError, match=r"audio\.unreadable"):
        file_features(str(tmp_path / "none.wav"))
