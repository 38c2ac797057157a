"""The built-in views: vectors of fixed length from any audio, equal to librosa's maps and the definition."""

import librosa
import numpy as np
import pytest
from modulation_definition import by_definition

from mirex_submission.features import kernel, modulation_views
from mirex_submission.features.modulation_views import MEL_GRID, VQT_GRID, mel_modulation, vqt_modulation
from mirex_submission.features.spec import VIEW_RATES_HZ

SIZES = {mel_modulation: 8 * 98 * 2, vqt_modulation: 7 * 85 * 2}


def music(seconds, rate_hz):
    """Return chords that change twice a second, with noise."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    root_hz = 110 * 2 ** (np.floor(2 * t) % 5 / 12)
    chord = sum(np.sin(2 * np.pi * np.cumsum(root_hz * k) / rate_hz) / k for k in (1, 2, 3, 5))
    return (0.2 * chord * np.exp(-3 * (t % 0.5)) + 0.003 * np.random.default_rng(2).standard_normal(len(t))).astype(
        np.float32
    )


@pytest.mark.parametrize("rate_hz", VIEW_RATES_HZ)
@pytest.mark.parametrize("view", SIZES, ids=lambda view: view.__name__)
@pytest.mark.parametrize("kind", ["compiled", "librosa"])
def test_each_view_equals_its_definition(view, rate_hz, kind, monkeypatch):
    if kind == "librosa":
        monkeypatch.setattr(kernel, "compiled", None)
    elif kernel.compiled is None:
        pytest.skip("no compiler was found when this was installed")
    samples = music(4.3, rate_hz)
    n, noisy = rate_hz / 22050, modulation_views._with_noise(samples).astype(float)
    if view is mel_modulation:
        mel = librosa.feature.melspectrogram(
            y=noisy, sr=rate_hz, n_fft=int(1024 * n), hop_length=int(256 * n), n_mels=96, fmin=20
        )
        levels, frame_rate_hz, grid = np.log(1 + 1e4 * mel / (512 * n)), 22050 / 256, MEL_GRID
    else:
        vqt = librosa.vqt(
            noisy, sr=rate_hz, hop_length=int(512 * n), fmin=32.703, n_bins=168,
            bins_per_octave=24, gamma=12,
        )  # fmt: skip
        levels, frame_rate_hz, grid = np.log(1 + 300 * np.abs(vqt)), 22050 / 512, VQT_GRID
    expected = by_definition(levels, frame_rate_hz, grid).ravel()
    assert expected.std() > 1
    np.testing.assert_allclose(view(samples, rate_hz), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", modulation_views.VIEWS)
@pytest.mark.parametrize(
    "samples",
    [np.zeros(22050), np.zeros(1), music(0.3, 22050), np.ones(1), np.resize([1, -1], 22050), music(40, 22050)],
)
def test_any_audio_has_a_finite_vector(name, samples):
    view = modulation_views.VIEWS[name]
    found = view.compute(samples.astype(np.float32), 22050)
    assert found.shape == (view.length,) and found.dtype == np.float32 and np.isfinite(found).all()


@pytest.mark.parametrize("name", ["mel-modulation", "vqt-modulation"])
def test_a_normalised_view_does_not_depend_on_the_gain(name):
    clip = music(3, 22050)
    compute = modulation_views.VIEWS[f"normalised-{name}"].compute
    of_level = modulation_views.VIEWS[name].compute(
        clip * np.float32(0.12 / np.sqrt(np.mean(clip.astype(float) ** 2))), 22050
    )
    for gain in (1, 0.1, 0.001, 8):
        np.testing.assert_allclose(compute(clip * np.float32(gain), 22050), of_level, atol=1e-3)
    assert np.abs(modulation_views.VIEWS[name].compute(clip * np.float32(0.1), 22050) - of_level).max() > 1


def test_the_noise_affects_only_digital_silence():
    samples = music(3, 22050)
    silent = np.where(np.arange(len(samples)) < 22050, 0, samples).astype(np.float32)
    assert np.abs(mel_modulation(samples, 22050) - mel_modulation(silent, 22050)).max() > 0.1
    assert modulation_views._noise().std() == pytest.approx(1e-6, rel=0.01)
