"""The summary of one track's features, and the files for other programs."""

import csv
import os
import re

import librosa
import numpy as np
import pytest

from mirex_submission.errors import StorageError, UsageError
from mirex_submission.features.inspect import band_centres_hz, export, summary
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, Header
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import segment_starts

SPEC = FeatureSpec(rate_hz=11025, n_bands=5, n_frames=3)


def make_frames(n_frames=20, n_bands=5):
    return np.random.default_rng(3).uniform(-9, 2, (n_frames, n_bands)).astype(np.float32)


def header_of(frames, *, path="/music/a.wav", spec=SPEC, note=""):
    return Header(path, AudioState(1, 2, 3), "0123456789abcdef" * 2, spec, len(frames), 1.2345, note)


def read_csv(path):
    with open(path, newline="", encoding="ascii") as f:
        titles, *rows = csv.reader(f)
    return titles, np.array(rows, np.float32), np.array(rows, np.float64)


@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
@pytest.mark.parametrize("n_bands", [1, 40, 80])
def test_band_centres_equal_those_of_librosa(rate_hz, n_bands):
    expected = librosa.mel_frequencies(n_bands + 2, fmin=0, fmax=rate_hz / 2)[1:-1]
    np.testing.assert_allclose(band_centres_hz(FeatureSpec(rate_hz, n_bands)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "Ä b.x.npy"])
def test_npy_round_trip(tmp_path, name):
    frames = make_frames()
    export(frames, SPEC, tmp_path / name)
    back = np.load(tmp_path / name, allow_pickle=False)
    assert back.dtype == np.float32 and back.shape == (20, 5)
    np.testing.assert_array_equal(back, frames)
    assert os.listdir(tmp_path) == [name]


def test_read_only_and_strided_frames_are_written_correctly(tmp_path):
    frames = np.frombuffer(make_frames().tobytes(), "<f4").reshape(20, 5)
    export(frames, SPEC, tmp_path / "a.npy")
    export(np.repeat(frames, 2, axis=0)[::2], SPEC, tmp_path / "b.npy")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize("name", ["a.csv", "a.Csv"])
def test_csv_round_trip_of_every_bit(tmp_path, name):
    frames = make_frames(2000)
    frames[:4, 0] = -10, np.nextafter(np.float32(-10), np.float32(0)), np.float32(1e-7), 0
    export(frames, SPEC, str(tmp_path / name))
    titles, singles, doubles = read_csv(tmp_path / name)
    np.testing.assert_array_equal(singles[:, 1:], frames)
    np.testing.assert_allclose(doubles[:, 0], np.arange(2000) * 384 / 11025, rtol=1e-8)
    assert titles[0] == "time_s"
    np.testing.assert_allclose(np.array(titles[1:], float), band_centres_hz(SPEC), rtol=1e-5)


def test_csv_titles_differ_with_many_bands(tmp_path):
    spec = FeatureSpec(rate_hz=44100, n_bands=1000)
    export(make_frames(2, 1000), spec, tmp_path / "a.csv")
    titles, *_ = read_csv(tmp_path / "a.csv")
    assert len(set(titles)) == 1001


@pytest.mark.parametrize("name", ["a.txt", "a", "npy", ".npy", "a.npy.gz", "a.csv ", ""])
def test_an_unsupported_suffix_is_a_usage_error_and_writes_nothing(tmp_path, name):
    with pytest.raises(UsageError, match=r"\[features.export-suffix\]$"):
        export(make_frames(), SPEC, tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_a_failed_export_is_a_storage_error_and_keeps_the_old_file(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        export(make_frames(), SPEC, tmp_path / f"folder{suffix}")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        export(make_frames(), SPEC, tmp_path / "file" / f"a{suffix}")
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_summary_describes_the_features():
    frames = make_frames()
    text = summary(header_of(frames), frames)
    for words in (
        "/music/a.wav", "1.23 s", "11025 Hz", "window 768", "hop 384", "5 bands", "3 frames a segment",
        "20 frames x 5 bands", "0123456789abcdef0123456789abcdef",
    ):  # fmt: skip
        assert words in text
    for unit, scale in (("log10", 1), ("dB", 10)):
        (line,) = re.findall(rf"^{unit}\s.*", text, re.MULTILINE)
        levels = [float(x) for x in re.findall(r"(?:min|mean|max)\s+(\S+)", line)]
        expected = [scale * f(frames.astype(float)) for f in (np.min, np.mean, np.max)]
        np.testing.assert_allclose(levels, expected, atol=1e-3)
    assert re.search(r"^floor +0\.0%", text, re.MULTILINE)
    assert "note" not in text


def table_of(text):
    """Parse the summary's table, which is filled column by column, to [n_bands, 3]."""
    lines = text.split("\n\n")[1].splitlines()
    assert len({line.find("std") for line in lines[:1]}) == 1
    rows = [[float(x) for x in line.split()] for line in lines[1:]]
    n_groups = len(rows[0]) // 3
    assert lines[0].split() == ["Hz", "mean", "std"] * n_groups
    return np.array([row[3 * g : 3 * g + 3] for g in range(n_groups) for row in rows if len(row) > 3 * g])


@pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 5, 7, 40])
def test_the_table_of_the_summary_has_every_band_once(n_bands):
    spec = FeatureSpec(n_bands=n_bands)
    frames = make_frames(90, n_bands)
    text = summary(header_of(frames, spec=spec), frames)
    expected = np.stack([band_centres_hz(spec), frames.mean(axis=0), frames.std(axis=0)], axis=1)
    table = table_of(text)
    np.testing.assert_allclose(table[:, 0], expected[:, 0], rtol=0, atol=0.06)
    np.testing.assert_allclose(table[:, 1:], expected[:, 1:], rtol=0, atol=6e-4)
    widest = max(text.split("\n\n")[1].splitlines(), key=len)
    assert len(widest) <= 80


@pytest.mark.parametrize("n_frames", [3, 6, 7, 8, 11, 20])
def test_the_summary_counts_the_segments_that_share_no_sample(n_frames):
    frames = make_frames(n_frames)
    expected = len(segment_starts(n_frames, "ab", SPEC, Recipe(segments="consecutive")))
    assert re.search(rf"^segments +{expected} ", summary(header_of(frames), frames), re.MULTILINE)


def test_the_summary_has_the_share_of_silence():
    frames = make_frames()
    frames[:5] = np.log10(np.float32(1e-10))
    assert re.search(r"^floor +25\.0%", summary(header_of(frames), frames), re.MULTILINE)
    frames[:] = np.log10(np.full((20, 5), 1e-10, np.float32))
    text = summary(header_of(frames), frames)
    assert re.search(r"^floor +100\.0%", text, re.MULTILINE) and re.search(r"^dB .*-100\.000", text, re.MULTILINE)


def test_the_summary_has_the_note_and_a_printable_path():
    frames = make_frames()
    text = summary(header_of(frames, path="/a\nb/\udcff Ä.wav", note="damaged after 1.0 s"), frames)
    assert re.search(r"^path +/a\\nb/\\udcff Ä\.wav$", text, re.MULTILINE)
    assert re.search(r"^note +damaged after 1\.0 s$", text, re.MULTILINE)
    text.encode("utf-8")
