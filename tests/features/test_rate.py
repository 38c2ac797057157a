"""The working rate of a task is chosen from the headers of its files and remembered for its folds."""

import json
import os

import numpy as np
import pytest
import soundfile

from mirex_submission.features import audio
from mirex_submission.features import rate as task
from mirex_submission.features.headers import Headers
from mirex_submission.features.rate import choose_rate
from mirex_submission.system.atomic import seal


def write_tracks(folder, rates_hz):
    folder.mkdir(exist_ok=True)
    paths = [str(folder / f"{k:02}.wav") for k in range(len(rates_hz))]
    for path, rate_hz in zip(paths, rates_hz, strict=True):
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 1000), rate_hz)
    return paths


@pytest.fixture
def opened(monkeypatch):
    """Record the paths whose headers are read."""
    paths = []
    read_header = audio.read_header
    monkeypatch.setattr(audio, "read_header", lambda path: paths.append(path) or read_header(path))
    return paths


def test_rate_comes_from_the_headers_of_the_readable_files(tmp_path, caplog):
    paths = write_tracks(tmp_path / "a", [22050] * 19 + [8000])
    with caplog.at_level("INFO"):
        assert choose_rate(tmp_path, [*paths, str(tmp_path / "missing.wav")], Headers(1)) == 22050
    assert "1 are resampled" in caplog.text
    # A file counts once, however often and in whatever spelling it is listed: the order of calls decides nothing.
    spellings = [paths[-1].replace("/a/", "/a/./")] * 9
    assert choose_rate(tmp_path, [*paths, *paths[-1:] * 9, *spellings], Headers(1)) == 22050
    assert not list(tmp_path.glob("features/*"))


def test_a_whole_task_that_has_not_changed_opens_no_audio(tmp_path, opened):
    paths = write_tracks(tmp_path / "a", [44100] * 5)
    assert choose_rate(tmp_path, paths, Headers(1), whole_task=True) == 44100
    assert sorted(opened) == paths
    opened.clear()
    assert choose_rate(tmp_path, paths[::-1], Headers(1), whole_task=True) == 44100
    assert opened == []


@pytest.mark.parametrize("rate_hz", [22050.0, "22050", True, None, [22050]])
def test_a_record_with_an_invalid_rate_is_ignored(tmp_path, rate_hz):
    paths = write_tracks(tmp_path / "a", [22050] * 2)
    choose_rate(tmp_path, paths, Headers(1), whole_task=True)
    record = tmp_path / "features" / "task"
    line, _, hashes = record.read_bytes().partition(b"\n")[2].partition(b"\n")
    record.write_bytes(seal(json.dumps({**json.loads(line), "rate_hz": rate_hz}).encode() + b"\n" + hashes))
    assert type(choose_rate(tmp_path, paths, Headers(1))) is int


@pytest.mark.parametrize("change", ["content", "missing", "longer list", "shorter list"])
def test_headers_of_a_changed_task_are_read_again(tmp_path, opened, change):
    paths = write_tracks(tmp_path / "a", [44100] * 5)
    choose_rate(tmp_path, paths, Headers(1), whole_task=True)
    if change == "content":
        write_tracks(tmp_path / "a", [11025])
    elif change == "missing":
        os.remove(paths[0])
    elif change == "longer list":
        paths += write_tracks(tmp_path / "b", [11025])
    else:
        paths = paths[1:]
    opened.clear()
    expected = 11025 if change in ("content", "longer list") else 44100
    assert choose_rate(tmp_path, paths, Headers(1), whole_task=True) == expected
    assert sorted(opened) == sorted(paths)


def test_a_fold_has_the_rate_of_its_task(tmp_path, opened):
    high, low = write_tracks(tmp_path / "a", [44100] * 3), write_tracks(tmp_path / "b", [11025])
    assert choose_rate(tmp_path, high + low, Headers(1), whole_task=True) == 11025
    opened.clear()
    assert choose_rate(tmp_path, high[1:], Headers(1)) == 11025
    assert opened == []
    other = write_tracks(tmp_path / "c", [44100])
    assert choose_rate(tmp_path, high + other, Headers(1)) == 44100


def test_paths_in_any_spelling_are_recognised(tmp_path, monkeypatch, opened):
    paths = write_tracks(tmp_path / "ä ö", [22050])
    choose_rate(tmp_path, [*paths, "nul\0byte.wav"], Headers(1), whole_task=True)
    opened.clear()
    monkeypatch.chdir(tmp_path)
    assert choose_rate(tmp_path, [os.path.relpath(paths[0])], Headers(1)) == 22050
    assert opened == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage"])
def test_a_damaged_record_is_replaced(tmp_path, opened, damage):
    paths = write_tracks(tmp_path / "a", [22050] * 3)
    choose_rate(tmp_path, paths, Headers(1), whole_task=True)
    record = tmp_path / "features" / "task"
    whole = record.read_bytes()
    damaged = {"truncated": whole[:-3], "flipped": whole[:-1] + b"\0", "empty": b"", "garbage": b"\n\n[]\n"}[damage]
    record.write_bytes(damaged)
    opened.clear()
    assert choose_rate(tmp_path, paths, Headers(1), whole_task=True) == 22050
    assert sorted(opened) == paths and record.read_bytes() == whole


def test_a_record_takes_eight_bytes_a_track(tmp_path):
    choose_rate(tmp_path, [f"{k}.wav" for k in range(1000)], Headers(1), whole_task=True)
    assert (tmp_path / "features" / "task").stat().st_size < 8200
    assert task.choose_rate(tmp_path, ["999.wav"], Headers(1)) == 22050


def test_a_given_rate_of_a_whole_task_is_that_of_its_folds(tmp_path, opened):
    paths = write_tracks(tmp_path / "a", [44100] * 3)
    assert choose_rate(tmp_path, paths, Headers(1), whole_task=True, given_hz=11025) == 11025
    assert choose_rate(tmp_path, paths[1:], Headers(1)) == 11025
    assert choose_rate(tmp_path, paths[1:], Headers(1), given_hz=22050) == 22050
    assert choose_rate(tmp_path, paths[1:], Headers(1)) == 11025
    assert opened == []
    assert choose_rate(tmp_path, paths, Headers(1), whole_task=True) == 44100
    assert choose_rate(tmp_path, paths[1:], Headers(1)) == 44100


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]\n", b"3\n", b"\x80\x04.", b"[" * 100_000,
        b'{"rate_hz": 22050}\n', b'{"rate_hz": 8000, "state": ""}\n', b'{"rate_hz": "22050", "state": ""}\n',
        b'{"rate_hz": 44100, "state": ""}\nhalf',
    ],
)  # fmt: skip
def test_an_invalid_record_with_a_valid_digest_is_ignored(tmp_path, opened, body):
    paths = [f"{k}.wav" for k in range(4)]
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "task").write_bytes(seal(body))
    expected = choose_rate(tmp_path / "another", paths, Headers(1))
    assert choose_rate(tmp_path, paths, Headers(1)) == expected
