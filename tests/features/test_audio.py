"""Decoding: every format, sample format and channel count to mono float32; resampling; files without audio."""

import math
import os

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import AudioError
from mirex_submission.features import audio
from mirex_submission.features.audio import Recording, decode, native_rate

RATE = 22050
LOSSLESS = [  # extension, libsndfile's sample format, one step of it
    *[("wav", s, step) for s, step in [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24)]],
    *[("au", s, step) for s, step in [("PCM_S8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24)]],
    *[("aiff", s, step) for s, step in [("PCM_U8", 2**-7), ("PCM_S8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23)]],
    *[("flac", s, step) for s, step in [("PCM_S8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23)]],
    *[(ext, s, 2**-24) for ext in ("wav", "au", "aiff") for s in ("FLOAT", "DOUBLE")],
    ("aiff", "PCM_32", 2**-24),
]


def tones(n_channels, *, rate_hz=RATE, seconds=1.0):
    """[n, n_channels]: another frequency and level in each channel."""
    t = np.arange(int(rate_hz * seconds))[:, None] / rate_hz
    k = np.arange(n_channels)
    return 0.8 / (1 + 0.2 * k) * np.sin(2 * np.pi * (300 + 170 * k) * t)


def sine(hz, rate_hz, n):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(n) / rate_hz)


def as_floats(samples):
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def write(path, samples, rate_hz=RATE, **options):
    soundfile.write(path, samples, rate_hz, **options)
    return str(path)


@pytest.mark.parametrize(("extension", "subtype", "step"), LOSSLESS)
def test_decodes_every_sample_format_to_mono_float32(tmp_path, extension, subtype, step):
    original = tones(2)
    waveform = decode(write(tmp_path / f"a.{extension}", original, subtype=subtype))
    assert waveform.samples.dtype == np.float32 and waveform.samples.ndim == 1
    assert waveform.rate_hz == RATE and waveform.note == ""
    np.testing.assert_allclose(waveform.samples, original.mean(axis=1), rtol=0, atol=step + 2**-23)


@pytest.mark.parametrize(("extension", "subtype"), [("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")])
def test_decodes_lossy_formats_in_place_and_at_full_length(tmp_path, extension, subtype):
    original = tones(2)
    samples = decode(write(tmp_path / f"a.{extension}", original, subtype=subtype)).samples
    assert samples.dtype == np.float32 and len(samples) == len(original)
    middle = slice(2000, -2000)  # a codec's delay would show here too
    error = samples[middle] - original.mean(axis=1)[middle]
    assert np.sqrt(np.mean(error**2)) < 0.02


@pytest.mark.parametrize("extension", ["wav", "aiff", "au", "caf", "w64", "rf64", "flac"])
def test_16_bit_samples_are_not_converted(tmp_path, extension):
    original = np.random.default_rng(0).integers(-(2**15), 2**15, RATE).astype(np.int16)
    path = write(tmp_path / f"a.{extension}", original, subtype="PCM_16")
    samples = decode(path).samples
    assert samples.dtype == np.int16
    np.testing.assert_array_equal(samples, original)


@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_16_bit_samples_mixed_or_resampled_equal_those_read_as_floats(tmp_path, n_channels):
    original = np.random.default_rng(0).integers(-(2**15), 2**15, (3 * RATE, n_channels)).astype(np.int16)
    sixteen = write(tmp_path / "a.wav", original, subtype="PCM_16")
    floats = write(tmp_path / "b.wav", original / 2.0**15, subtype="FLOAT")
    for rate_hz in (RATE, 11025, 44100):
        ours, expected = decode(sixteen, rate_hz=rate_hz).samples, decode(floats, rate_hz=rate_hz).samples
        np.testing.assert_allclose(as_floats(ours), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 8, 16])
def test_mono_is_the_mean_of_any_number_of_channels(tmp_path, n_channels):
    original = tones(n_channels)
    samples = decode(write(tmp_path / "a.wav", original, subtype="FLOAT")).samples
    np.testing.assert_allclose(samples, original.mean(axis=1), rtol=0, atol=1e-6)


def test_only_the_beginning_is_kept_if_that_is_asked_for(tmp_path):
    samples = np.random.default_rng(0).normal(0, 0.1, 30 * 44100)
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    for rate_hz in (44100, 22050):
        whole, first = (decode(str(tmp_path / "a.wav"), rate_hz=rate_hz, most_s=s) for s in (math.inf, 2.5))
        np.testing.assert_array_equal(first.samples, whole.samples[: int(2.5 * rate_hz)])
        assert len(whole.samples) == 30 * rate_hz


def test_float_wav_beyond_full_scale_is_not_clipped(tmp_path):
    assert decode(write(tmp_path / "a.wav", 3 * tones(1), subtype="FLOAT")).samples.max() == pytest.approx(
        2.4, abs=0.01
    )


def test_the_content_decides_the_format_and_a_path_can_have_any_characters(tmp_path):
    path = write(tmp_path / "Grüße aus 東京, 100 %.mp3", tones(1), format="WAV")
    assert native_rate(path) == RATE
    assert len(decode(path).samples) == RATE


@pytest.mark.parametrize(
    ("native_hz", "target_hz"),
    [(48000, 44100), (32000, 44100), (96000, 44100), (44100, 22050), (16000, 22050), (44100, 11025), (8000, 11025)],
)
def test_resampling_keeps_frequency_level_and_length_of_a_sine(tmp_path, native_hz, target_hz):
    n = 6 * native_hz + 7  # at 48 kHz more than the decoder takes at a time
    waveform = decode(write(tmp_path / "a.wav", sine(1000, native_hz, n), native_hz), rate_hz=target_hz)
    assert waveform.rate_hz == target_hz
    assert abs(len(waveform.samples) - n * target_hz / native_hz) <= 1
    inner = slice(target_hz // 20, -target_hz // 20)  # no filter knows what comes before and after
    expected = sine(1000, target_hz, len(waveform.samples))
    np.testing.assert_allclose(waveform.samples[inner], expected[inner], rtol=0, atol=1e-3)
    assert np.abs(waveform.samples[-50:]).max() > 0.3  # not padded with silence


def test_resampling_has_no_aliasing(tmp_path):
    path = write(tmp_path / "a.wav", sine(9000, 44100, 44100) + sine(500, 44100, 44100), 44100)
    samples = decode(path, rate_hz=11025).samples
    inner = slice(600, -600)
    np.testing.assert_allclose(samples[inner], sine(500, 11025, len(samples))[inner], rtol=0, atol=1e-3)


@pytest.mark.parametrize("extension", ["wav", "flac"])
@pytest.mark.parametrize("rate_hz", [None, 11025])
def test_a_truncated_file_is_used_up_to_its_end(tmp_path, extension, rate_hz):
    original = np.random.default_rng(3).uniform(-0.5, 0.5, 4 * RATE)
    path = tmp_path / f"a.{extension}"
    whole = as_floats(decode(write(path, original), rate_hz=rate_hz).samples)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    samples = as_floats(decode(str(path), rate_hz=rate_hz).samples)
    assert 0.5 * len(whole) < len(samples) < 0.65 * len(whole)
    np.testing.assert_allclose(samples[:-500], whole[: len(samples) - 500], rtol=0, atol=1e-6)


def test_a_truncated_flac_file_has_a_note(tmp_path):
    path = tmp_path / "a.flac"
    write(path, np.random.default_rng(3).uniform(-0.5, 0.5, 4 * RATE))
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    assert decode(str(path)).note.endswith(" [audio.truncated]")


def test_nan_samples_count_as_zero_with_a_note(tmp_path):
    original = tones(1)
    original[100:103, 0] = np.nan, np.inf, -np.inf
    waveform = decode(write(tmp_path / "a.wav", original, subtype="FLOAT"))
    assert waveform.note.startswith("3 ") and waveform.note.endswith(" [audio.not-finite]")
    np.testing.assert_array_equal(waveform.samples[100:103], 0)
    assert np.isfinite(waveform.samples).all()


@pytest.mark.parametrize("extension", ["wav", "au", "aiff", "flac", "ogg", "mp3"])
def test_text_renamed_to_audio_is_refused(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    path.write_text("These are not the samples you are looking for.\n" * 200)
    for read in (decode, native_rate):
        with pytest.raises(AudioError) as caught:
            read(str(path))
        assert caught.value.code == "audio.undecodable"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda p: p.touch(), "audio.empty"),
        (lambda p: write(p, np.zeros((0, 2))), "audio.empty"),
        (lambda p: write(p, np.zeros((RATE, 2))), "audio.silent"),
        (lambda p: write(p, np.full(RATE, np.nan), subtype="FLOAT"), "audio.not-finite"),
        (lambda p: p.mkdir(), "audio.no-file"),
        (os.mkfifo, "audio.no-file"),
        (lambda p: None, "audio.unreadable"),
        (lambda p: p.symlink_to(p), "audio.unreadable"),
    ],
    ids=["empty", "no samples", "silent", "NaN", "folder", "FIFO", "missing", "link to itself"],
)
def test_a_file_without_audio_is_an_audio_error_with_its_code(tmp_path, make, code):
    path = tmp_path / "a.wav"
    make(path)
    with pytest.raises(AudioError) as caught:
        decode(str(path))
    assert str(caught.value).endswith(f" [{code}]")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_an_audio_error(tmp_path):
    path = write(tmp_path / "a.wav", tones(1))
    os.chmod(path, 0)
    with pytest.raises(AudioError) as caught:
        decode(path)
    assert caught.value.code == "audio.unreadable"


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(
    ("extension", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_24"), ("ogg", None)]
)
def test_blocks_of_any_size_give_the_same_samples(tmp_path, monkeypatch, n_channels, extension, subtype):
    path = write(tmp_path / f"a.{extension}", tones(n_channels, seconds=2.0), subtype=subtype)
    for rate_hz in (RATE, 11025):
        whole = decode(path, rate_hz=rate_hz).samples
        with monkeypatch.context() as patch:
            patch.setattr(audio, "_CLIP_SAMPLES", 7000)
            patch.setattr(audio, "_BLOCK_SAMPLES", 3000)
            blocks = list(Recording(path, rate_hz=rate_hz))
        assert len(blocks) > 2 and max(map(len, blocks)) < 7000 + 3000
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_flac_of_unknown_length_is_not_damaged(tmp_path):
    """As streaming encoders write it: no number of samples in the header."""
    path = tmp_path / "a.flac"
    write(path, tones(1, seconds=3.0))
    whole = decode(str(path)).samples
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    waveform = decode(str(path))
    assert waveform.note == ""
    np.testing.assert_array_equal(waveform.samples, whole)


def written_channels(path, channels, **options):
    return write(path, np.stack(channels, axis=1), **options)


@pytest.mark.parametrize(
    ("extension", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("ogg", "VORBIS"), ("mp3", "MPEG_LAYER_III")]
)
@pytest.mark.parametrize("n_channels", [2, 4])
def test_one_of_cancelling_channels_is_used(tmp_path, extension, subtype, n_channels):
    if extension == "mp3" and n_channels > 2:
        pytest.skip("MP3 has two channels")
    x = sine(440, RATE, 3 * RATE) + 0.05 * np.random.default_rng(0).standard_normal(3 * RATE)
    path = written_channels(tmp_path / f"a.{extension}", [x, -x] * (n_channels // 2), subtype=subtype)
    waveform = decode(path)
    assert waveform.note.endswith(" [audio.channels]") and f"of {n_channels}" in waveform.note
    loudness = np.sqrt(np.mean(waveform.samples.astype(float) ** 2))
    assert loudness == pytest.approx(np.sqrt(np.mean(x**2)), rel=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_an_invalid_channel_does_not_lose_the_other(tmp_path, bad):
    x = sine(440, RATE, 3 * RATE)
    waveform = decode(written_channels(tmp_path / "a.wav", [np.full_like(x, bad), x], subtype="FLOAT"))
    np.testing.assert_allclose(waveform.samples, x, atol=1e-6)
    assert "channel 2 of 2" in waveform.note


@pytest.mark.parametrize("second", [0.0, 0.02, 1.0, -0.6])
def test_channels_that_do_not_cancel_are_mixed(tmp_path, second):
    x = sine(440, RATE, RATE)
    waveform = decode(written_channels(tmp_path / "a.wav", [x, second * x], subtype="FLOAT"))
    assert waveform.note == ""
    np.testing.assert_allclose(waveform.samples, (1 + second) / 2 * x, atol=1e-6)


def test_a_sparse_file_of_terabytes_is_refused_at_once(tmp_path):
    path = tmp_path / "a.wav"
    write(path, tones(1))
    os.truncate(path, 1 << 42)
    with pytest.raises(AudioError) as caught:
        decode(str(path))
    assert caught.value.code == "audio.too-large"


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_channels_that_cancel_in_most_of_a_file_are_not_lost(tmp_path, share):
    n = 20 * RATE
    left = sine(440, RATE, n)
    right = np.where(np.arange(n) < share * n, -left, left)
    write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="PCM_16")
    waveform = decode(str(tmp_path / "a.wav"))
    assert "[audio.channels]" in waveform.note
    np.testing.assert_allclose(as_floats(waveform.samples), left, atol=1e-4)
