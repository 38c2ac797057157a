"""Log-Mel frames against two references in float64: a DFT written out as a matrix, and librosa.

Every test runs with librosa, which defines the features, and with the compiled kernel for each width of vectors that
this processor has.
"""

import functools

import librosa
import numpy as np
import pytest

from mirex_submission.features import kernel
from mirex_submission.features.filterbank import band_edges_hz, mel_filterbank
from mirex_submission.features.logmel import FLOOR, log_mel, log_mel_of_blocks, method
from mirex_submission.features.spec import FeatureSpec

RATES = [11025, 22050, 44100]


@pytest.fixture(params=["librosa", *kernel.LANES], autouse=True)
def way(request, monkeypatch):
    if request.param == "librosa":
        monkeypatch.setattr(kernel, "compiled", None)
    else:
        monkeypatch.setattr(kernel, "LANES", (request.param,))
    assert str(request.param) in method()
    return request.param


def make_signal(kind, spec, *, n_frames=3):
    """Return a float32 signal of `n_frames` frames and some samples after the last frame."""
    n = spec.window + (n_frames - 1) * spec.hop + spec.hop // 3
    t = np.arange(n) / spec.rate_hz
    noise = np.random.default_rng(5).standard_normal(n)
    signals = {
        "noise": 0.2 * noise,
        "quiet noise": 1e-4 * noise,
        "chord": sum(0.2 * np.sin(2 * np.pi * hz * t) for hz in (110, 277.18, 659.26, 2093)) + 1e-3 * noise,
        "16-bit tone": np.round(0.9 * np.sin(2 * np.pi * 440 * t) * 32767) / 32768,
        "pure tone": np.sin(2 * np.pi * 440 * t),
        "clicks": np.where(np.arange(n) % 1000 == 500, 1.0, 0.0),
        "offset": 0.5 + 0.01 * noise,
        "clipped": np.clip(20 * noise, -1, 1),
    }
    return signals[kind].astype(np.float32)


@functools.cache
def definition(spec):
    """Return the window, the DFT and the Mel filters as arrays."""
    n = np.arange(spec.window)
    bins = np.arange(spec.window // 2 + 1)
    dft = np.exp(-2j * np.pi * ((bins[:, None] * n) % spec.window) / spec.window)
    filters = librosa.filters.mel(sr=spec.rate_hz, n_fft=spec.window, n_mels=spec.n_bands, dtype=np.float64)
    return np.sin(np.pi * n / spec.window) ** 2, dft, filters


def by_definition(samples, spec):
    """Compute log10 of the Mel power frame by frame, by the sums that define it."""
    window, dft, filters = definition(spec)
    starts = range(0, len(samples) - spec.window + 1, spec.hop)
    frames = np.stack([samples[s : s + spec.window].astype(np.float64) * window for s in starts], axis=1)
    return np.log10(np.maximum(filters @ np.abs(dft @ frames) ** 2, 1e-10)).T


def by_librosa(samples, spec):
    power = librosa.feature.melspectrogram(
        y=samples.astype(np.float64), sr=spec.rate_hz, n_fft=spec.window, hop_length=spec.hop, window="hann",
        center=False, n_mels=spec.n_bands, power=2.0, dtype=np.float64,
    )  # fmt: skip
    return np.log10(np.maximum(power, 1e-10)).T


@pytest.mark.parametrize("reference", [by_definition, by_librosa])
@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize(
    "kind", ["noise", "quiet noise", "chord", "16-bit tone", "pure tone", "clicks", "offset", "clipped"]
)
def test_log_mel_equals_the_reference_to_1e_4(reference, rate_hz, kind):
    spec = FeatureSpec(rate_hz=rate_hz, n_frames=3)
    samples = make_signal(kind, spec)
    frames = log_mel(samples, spec)
    expected = reference(samples, spec)
    assert frames.dtype == np.float32 and frames.shape == expected.shape == (3, 40)
    # What lies more than 80 dB below the loudest band of its frame is beyond float32, and only has to stay there.
    audible = expected > expected.max(axis=1, keepdims=True) - 8
    np.testing.assert_allclose(frames[audible], expected[audible], rtol=0, atol=1e-4)
    np.testing.assert_allclose(frames[~audible], expected[~audible], rtol=0, atol=0.05)
    assert audible.all() or "tone" in kind


@pytest.mark.parametrize("rate_hz", RATES)
def test_whole_clip_equals_librosa_also_with_80_bands(rate_hz):
    spec = FeatureSpec(rate_hz=rate_hz, n_bands=80, n_frames=82)
    samples = make_signal("chord", spec, n_frames=300)
    expected = by_librosa(samples, spec)
    audible = expected > expected.max(axis=1, keepdims=True) - 7
    np.testing.assert_allclose(log_mel(samples, spec)[audible], expected[audible], rtol=0, atol=1e-4)
    assert audible.mean() > 0.8


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_segment_is_a_slice_of_the_clip_on_the_frame_grid(rate_hz):
    spec = FeatureSpec(rate_hz=rate_hz)
    samples = make_signal("noise", spec, n_frames=290)
    clip = log_mel(samples, spec)
    assert clip.shape == (290, 40)
    for k in (0, 1, 77, 127, 210):
        alone = log_mel(samples[k * spec.hop : k * spec.hop + spec.segment_samples], spec)
        assert alone.shape == (80, 40)
        np.testing.assert_allclose(clip[k : k + 80], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("share", [0.013, 0.3, 0.5, 0.7, 0.999])
def test_a_clip_shorter_than_a_segment_is_repeated_until_it_fills_one(rate_hz, share):
    spec = FeatureSpec(rate_hz=rate_hz)
    short = make_signal("noise", spec, n_frames=80)[: int(share * spec.segment_samples)]
    filled = np.array([short[i % len(short)] for i in range(spec.segment_samples)])
    np.testing.assert_array_equal(log_mel(short, spec), log_mel(filled, spec))
    assert log_mel(short, spec).shape == (80, 40)


def test_one_sample_is_enough():
    frames = log_mel(np.ones(1, np.float32), FeatureSpec())
    assert frames.shape == (80, 40) and np.isfinite(frames).all()


def test_samples_after_the_last_whole_frame_change_nothing():
    spec = FeatureSpec()
    samples = make_signal("noise", spec, n_frames=80)
    assert len(samples) > spec.segment_samples
    np.testing.assert_array_equal(log_mel(samples, spec), log_mel(samples[: spec.segment_samples], spec))


@pytest.mark.parametrize("rate_hz", RATES)
def test_silence_is_at_the_floor(rate_hz):
    spec = FeatureSpec(rate_hz=rate_hz)
    assert FLOOR == 1e-10
    samples = make_signal("quiet noise", spec, n_frames=160)
    samples[: spec.segment_samples] = 0
    frames = log_mel(samples, spec)
    silent, sounding = frames[:80], frames[82:]
    np.testing.assert_allclose(silent, -10, rtol=0, atol=1e-6)
    assert (sounding >= silent.max()).all() and (sounding.max(axis=0) > silent.max()).all()


def test_ten_times_the_amplitude_adds_two_in_every_band():
    spec = FeatureSpec()
    samples = make_signal("noise", spec, n_frames=80)
    np.testing.assert_allclose(log_mel(10 * samples, spec), log_mel(samples, spec) + 2, rtol=0, atol=1e-5)


def test_the_samples_are_not_changed():
    spec = FeatureSpec()
    samples = make_signal("noise", spec, n_frames=80)
    before = samples.copy()
    log_mel(samples, spec)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("rate_hz", RATES)
def test_int16_samples_give_bit_identical_frames_to_floats(rate_hz):
    spec = FeatureSpec(rate_hz=rate_hz, n_frames=3)
    samples = np.random.default_rng(1).integers(-(2**15), 2**15, spec.segment_samples + 5 * spec.hop).astype(np.int16)
    as_floats = (samples / 2.0**15).astype(np.float32)
    np.testing.assert_array_equal(log_mel(samples, spec), log_mel(as_floats, spec))


@pytest.mark.parametrize("n_frames", [1, 3, 4, 15, 16, 17, 128, 129, 300])
def test_a_frame_does_not_depend_on_its_neighbours(way, n_frames):
    spec = FeatureSpec(n_frames=1)
    samples = np.random.default_rng(2).uniform(-1, 1, spec.window + (n_frames - 1) * spec.hop).astype(np.float32)
    frames = log_mel(samples, spec)
    alone = [log_mel(samples[k * spec.hop :][: spec.window], spec)[0] for k in range(n_frames)]
    np.testing.assert_allclose(frames, alone, rtol=0, atol=2e-6 if way == "librosa" else 0)


@pytest.mark.parametrize("n_bands", [1, 2, 3, 7, 128, 400, 2048])
def test_any_number_of_bands_equals_the_product_with_the_whole_filterbank(n_bands):
    """Low bands that contain no bin are at the floor."""
    spec = FeatureSpec(rate_hz=11025, n_bands=n_bands, n_frames=3)
    samples = make_signal("noise", spec, n_frames=4)
    np.testing.assert_allclose(log_mel(samples, spec), by_definition(samples, spec), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["every second", "backwards", "float64", "big-endian", "not aligned"])
def test_samples_can_have_any_memory_layout(kind):
    spec = FeatureSpec(n_frames=5)
    samples = make_signal("noise", spec, n_frames=5)
    other = {
        "every second": np.repeat(samples, 2)[::2],
        "backwards": samples[::-1].copy()[::-1],
        "float64": samples.astype(np.float64),
        "big-endian": samples.astype(">f4"),
        "not aligned": np.ndarray(len(samples), np.float32, b"-" + samples.tobytes(), 1),
    }[kind]
    np.testing.assert_array_equal(log_mel(other, spec), log_mel(samples, spec))


@pytest.mark.parametrize("kind", ["int16", "float32"])
@pytest.mark.parametrize("n_frames", [1, 79, 80, 81, 127, 128, 500])
@pytest.mark.parametrize("size", [1000, 100_000, 150_001])
def test_a_clip_in_blocks_has_the_same_frames(way, kind, n_frames, size):
    spec = FeatureSpec(11025)
    samples = make_signal("noise", spec, n_frames=n_frames)
    samples = (samples * 2**15).astype(np.int16) if kind == "int16" else samples
    blocks = [samples[k : k + size] for k in range(0, len(samples), size)]
    expected = log_mel(samples, spec)
    for given in (blocks, [*blocks, samples[:0]]):
        frames = log_mel_of_blocks(given, spec)
        np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-5 if way == "librosa" else 0)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("n_bands", [1, 40, 80, 400])
@pytest.mark.parametrize("lowest_hz", [0.0, 20.0, 1500.0])
def test_the_filterbank_equals_that_of_librosa(rate_hz, n_bands, lowest_hz):
    window = FeatureSpec(rate_hz).window
    expected = librosa.filters.mel(sr=rate_hz, n_fft=window, n_mels=n_bands, fmin=lowest_hz)
    np.testing.assert_allclose(mel_filterbank(rate_hz, window, n_bands, lowest_hz), expected, rtol=1e-5, atol=1e-9)
    edges_hz = librosa.mel_frequencies(n_bands + 2, fmin=lowest_hz, fmax=rate_hz / 2)
    np.testing.assert_allclose(band_edges_hz(rate_hz, n_bands, lowest_hz), edges_hz, rtol=1e-12)
