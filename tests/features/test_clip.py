"""`mirex_submission.log_mel`: its frames equal those that extraction stores, and wrong arguments are refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mirex_submission import log_mel
from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features.extraction import extract_track
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore


def noise(n=70_000, n_channels=None):
    """int16 [n] or [n, n_channels]."""
    shape = n if n_channels is None else (n, n_channels)
    return np.random.default_rng(8).normal(0, 3000, shape).astype(np.int16)


def write(path, samples, rate_hz=22050, **options):
    soundfile.write(path, samples, rate_hz, **options)
    return str(path)


def extracted(path, tmp_path, spec):
    """Return the frames that extraction stores for the file."""
    store = FeatureStore(tmp_path / "scratch", spec)
    extract_track(path, [store])
    return store.read(path)[1]


@pytest.mark.parametrize(
    ("name", "native_hz", "n_channels", "working_hz"),
    [
        ("a.wav", 22050, None, 22050),
        ("a.wav", 8000, None, 11025),
        ("a.wav", 16000, 2, 22050),
        ("a.flac", 48000, 2, 44100),
        ("a.ogg", 32000, None, 44100),
        ("a.wav", 44100, None, 44100),
    ],
)
def test_frames_of_a_file_are_those_that_extraction_stores(tmp_path, name, native_hz, n_channels, working_hz):
    path = write(tmp_path / name, noise(2 * native_hz, n_channels), native_hz)
    frames = log_mel(path)
    assert frames.dtype == np.float32 and frames.shape[1] == 40 and len(frames) >= 80
    np.testing.assert_array_equal(frames, extracted(path, tmp_path, FeatureSpec(working_hz)))
    np.testing.assert_array_equal(frames, log_mel(Path(path)))
    for rate_hz in (11025, 22050, 44100):
        frames = log_mel(path, working_rate_hz=rate_hz, n_bands=24, n_frames=30)
        np.testing.assert_array_equal(frames, extracted(path, tmp_path, FeatureSpec(rate_hz, 24, 30)))


@pytest.mark.parametrize("native_hz", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("working_hz", [None, 11025])
def test_frames_of_a_waveform_are_those_of_its_file(tmp_path, native_hz, working_hz):
    samples = noise(150_000)  # more than is decoded at a time
    path = write(tmp_path / "a.wav", samples, native_hz)
    expected = log_mel(path, working_rate_hz=working_hz)
    np.testing.assert_array_equal(log_mel(samples, native_hz, working_rate_hz=working_hz), expected)


@pytest.mark.parametrize("rate_hz", [22050, 32000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4", ">i2", "<i2"])
def test_every_type_of_samples_gives_the_same_frames(rate_hz, dtype):
    samples = noise()
    other = (samples / 32768).astype(dtype) if np.dtype(dtype).kind == "f" else samples.astype(dtype)
    frames = log_mel(samples, rate_hz)
    np.testing.assert_array_equal(log_mel(other, rate_hz), frames)
    np.testing.assert_array_equal(log_mel(other.repeat(2)[::2], rate_hz), frames)
    assert np.ptp(frames) > 0.1


def test_the_waveform_is_not_changed():
    for samples in (noise(), noise() / 32768, (noise() / 32768).astype(np.float32)):
        before = samples.copy()
        samples.setflags(write=False)
        log_mel(samples, 22050)
        np.testing.assert_array_equal(samples, before)


def test_resampling_keeps_a_tone_in_its_band():
    peaks = []
    for native_hz in (22050, 16000, 48000):
        tone = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(4 * native_hz) / native_hz)
        frames = log_mel(tone, native_hz, working_rate_hz=22050)
        assert len(frames) == pytest.approx(114, abs=1)
        peaks.append((frames[5:-5].mean(axis=0).argmax(), frames[5:-5].max()))
    assert len({band for band, _ in peaks}) == 1
    np.testing.assert_allclose([level for _, level in peaks], peaks[0][1], atol=0.01)


def test_short_and_silent_waveforms_fill_one_segment():
    assert log_mel(np.ones(1), 22050).shape == (80, 40)
    silence = log_mel(np.zeros(500), 22050, n_bands=7, n_frames=3)
    assert silence.shape == (3, 7)
    np.testing.assert_allclose(silence, -10, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: log_mel(noise()), r"rate_hz None: give the waveform's sampling rate"),
        (lambda: log_mel(noise(), 0), r"rate_hz 0: give the waveform's sampling rate, from 1000 to 1000000 Hz"),
        (lambda: log_mel(noise(), 10**7), "rate_hz 10000000"),
        (lambda: log_mel(noise(), float("nan")), "rate_hz nan"),
        (lambda: log_mel("a.wav", 22050), "rate_hz is for waveforms only"),
        (lambda: log_mel(Path("a.wav"), rate_hz=22050), "rate_hz is for waveforms only"),
        (lambda: log_mel(noise(100, 2), 22050), r"shape \(100, 2\): give one channel"),
        (lambda: log_mel(np.float32(1), 22050), r"shape \(\)"),
        (lambda: log_mel(None, 22050), r"shape \(\)"),
        (lambda: log_mel(noise().astype(np.int32), 22050), "of int32: give floats with full scale 1.0, or int16"),
        (lambda: log_mel(noise().astype(np.uint8), 22050), "of uint8"),
        (lambda: log_mel(noise() > 0, 22050), "of bool"),
        (lambda: log_mel(noise() * 1j, 22050), "of complex128"),
        (lambda: log_mel(np.zeros(0), 22050), "empty: no samples at 22050 Hz"),
        (lambda: log_mel(np.zeros(0, np.int16), 48000), "empty: no samples at 44100 Hz"),
        (lambda: log_mel(np.ones(1), 96000), "empty: no samples at 44100 Hz"),
        (lambda: log_mel(np.array([0, np.nan, 1, np.inf]), 22050), r"2 samples .* not finite.* \[1\]"),
        (lambda: log_mel(np.array([0, 1, -np.inf]), 8000), r"1 samples .* not finite.* \[2\]"),
        (lambda: log_mel(np.array([1e300, 0]), 22050), r"1 samples .* beyond 2\^31.* \[0\]"),
        (lambda: log_mel(np.array([0, 1e30], np.float32), 22050), r"1 samples .* beyond 2\^31.* \[1\]"),
        (lambda: log_mel(noise(), 22050, working_rate_hz=16000), "rate 16000 Hz: choose one of 11025, 22050, 44100"),
        (lambda: log_mel(noise(), 22050, working_rate_hz=0), "rate 0 Hz: choose one of"),
        (lambda: log_mel(noise(), 22050, n_bands=0), "from 1 to"),
        (lambda: log_mel(noise(), 22050, n_frames=-1), "from 1 to"),
    ],
)
def test_a_wrong_argument_is_a_usage_error_with_the_reason(call, words):
    with pytest.raises(UsageError, match=words):
        call()


def test_an_unreadable_or_silent_file_is_an_audio_error(tmp_path):
    with pytest.raises(AudioError, match=r"none\.wav: .*No such file"):
        log_mel(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="silent"):
        log_mel(write(tmp_path / "a.wav", np.zeros(500)))
    (tmp_path / "b.wav").write_text("no audio" * 100)
    with pytest.raises(AudioError, match="cannot be decoded"):
        log_mel(str(tmp_path / "b.wav"))


def test_problems_of_a_file_are_logged(tmp_path, caplog):
    samples = noise() / 32768
    samples[100] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    caplog.set_level("WARNING", "mirex_submission")
    log_mel(path)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: 1 samples are invalid (NaN, infinite or beyond 2^31) and count as zero [audio.not-finite]"
    ]
