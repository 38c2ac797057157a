"""Damaged, unusual or endless audio in the calls of an evaluator: every track gets its line."""

import contextlib
import csv
import io
import os
import re
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from project import PROJECT

from mirex_submission.errors import AudioError
from mirex_submission.features import audio
from mirex_submission.features.audio import Recording, decode
from mirex_submission.features.extraction import compute, extract_track
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore

RATE = 22050
SEGMENT = FeatureSpec(RATE).segment_samples
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}
# Sixteenths of a file of 3 s that may hold no decodable audio: an Ogg page holds most of a second.
UNDECODED_SIXTEENTHS = {"wav": 0, "flac": 1, "mp3": 1, "ogg": 5}


def noise(n, n_channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n, n_channels))


def encoded(extension, samples=None, rate_hz=RATE, subtype=None):
    """Return the bytes of an audio file."""
    file = io.BytesIO()
    samples = noise(3 * RATE) if samples is None else samples
    soundfile.write(file, samples, rate_hz, format=extension.upper(), subtype=subtype or FORMATS[extension])
    return file.getvalue()


def patched(data, at, form, *values):
    """Return the bytes with other numbers at an offset."""
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


def first_frame(extension, data):
    """Return the offset at which the header ends."""
    if extension == "flac":  # after the last metadata block
        at, last = 4, False
        while not last:
            last, at = bool(data[at] & 0x80), at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        return at
    return {"wav": 44, "mp3": 4, "ogg": data.find(b"OggS", data.find(b"\x05vorbis"))}[extension]


def with_wrong_headers(whole):
    """Yield (name, bytes) of files in which one field of the header has a wrong value."""
    wav, flac, ogg, mp3 = (whole[extension] for extension in ("wav", "flac", "ogg", "mp3"))
    fields = {"channels": (22, "<H"), "rate": (24, "<I"), "align": (32, "<H"), "bits": (34, "<H"), "length": (40, "<I")}
    for name, values in {
        "channels": (0, 2, 3, 1024, 65535),
        "rate": (0, 1, 999, 44100, 1_000_001, 2**32 - 1),
        "align": (0, 1, 3, 65535),
        "bits": (0, 1, 7, 24, 64, 65535),
        "length": (0, 1, len(wav) // 2, 2 * len(wav), 2**31, 2**32 - 1),
    }.items():
        for value in values:
            yield f"{name}{value}.wav", patched(wav, *fields[name], value)
    for length in (0, 2**32 - 1):
        yield f"riff{length}.wav", patched(wav, 4, "<I", length)
        yield f"fmt{length}.wav", patched(wav, 16, "<I", length)
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of bits, 36 of length.
    known = int.from_bytes(flac[18:26], "big")
    for name, shift, bits, values in (
        ("rate", 44, 20, (0, 1, 999, 44100, 655350)),
        ("channels", 41, 3, (1, 5, 7)),
        ("bits", 36, 5, (3, 7, 23, 31)),
        ("length", 0, 36, (0, 1, 100, 10**6, 2**36 - 1)),
    ):
        for value in values:
            wrong = known & ~(((1 << bits) - 1) << shift) | value << shift
            yield f"{name}{value}.flac", patched(flac, 18, ">Q", wrong)
    for channels, rate_hz in ((0, RATE), (2, RATE), (255, RATE), (1, 0), (1, 1), (1, 44100), (1, 2**32 - 1)):
        head = ogg.find(b"\x01vorbis")
        yield f"{channels}at{rate_hz}.ogg", patched(ogg, head + 11, "<BI", channels, rate_hz)
    for byte in range(1, 4):
        for value in (0x00, 0x64, 0xFF):
            yield f"byte{byte}is{value}.mp3", patched(mp3, byte, "<B", value)


def write_strange(folder):
    """Write one file of every kind; return {path: whether it is readable, None if that depends on the decoder}."""
    readable = {}

    def put(name, data, is_readable=None):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        readable[str(path)] = is_readable

    whole = {extension: encoded(extension) for extension in FORMATS}
    put("empty.wav", b"", False)
    put("text.wav", b"These are not the samples you are looking for.\n" * 200, False)
    put("mp3 renamed.wav", whole["mp3"], True)
    for extension, data in whole.items():
        put(f"header only.{extension}", data[: first_frame(extension, data)], False)
        put(f"random.{extension}", np.random.default_rng(1).bytes(20_000))
        put(f"random behind header.{extension}", data[:200] + np.random.default_rng(2).bytes(20_000))
        for k in range(1, 16):
            is_readable = True if k > UNDECODED_SIXTEENTHS[extension] else None
            put(f"truncated/{k:02}.{extension}", data[: k * len(data) // 16], is_readable)
    for name, data in with_wrong_headers(whole):
        put(f"wrong headers/{name}", data)
    odd = noise(RATE)
    odd[1000:1003, 0] = np.nan, np.inf, -np.inf
    tone = np.sin(np.arange(RATE) / 10)
    for name, samples, subtype, is_readable in (
        ("some NaN", odd, "FLOAT", True),
        ("some NaN double", odd, "DOUBLE", True),
        ("all NaN", np.full(RATE, np.nan), "FLOAT", False),
        ("all infinite", np.full(RATE, np.inf), "FLOAT", False),
        ("clipped", np.clip(100 * tone, -1, 1), "FLOAT", True),
        ("clipped 16 bits", np.clip(100 * tone, -1, 1), "PCM_16", True),
        ("beyond full scale", 1e4 * tone, "FLOAT", True),
        ("beyond any scale", 1e30 * tone, "FLOAT", False),
        ("denormal", 1e-40 * tone, "FLOAT", True),
        ("silent", np.zeros(RATE), "PCM_16", False),
        ("silent float", np.zeros((RATE, 2)), "FLOAT", False),
        ("no sample", np.zeros(0), "PCM_16", False),
        ("one sample", noise(1), "PCM_16", True),
        ("one sample short", noise(SEGMENT - 1), "PCM_16", True),
        ("one segment", noise(SEGMENT), "PCM_16", True),
        ("8 bits", noise(RATE), "PCM_U8", True),
        ("24 bits", noise(RATE), "PCM_24", True),
        ("32 bits", noise(RATE), "PCM_32", True),
        ("64 bits", noise(RATE), "DOUBLE", True),
        ("6 channels", noise(RATE, 6), "PCM_16", True),
        ("channels that cancel", noise(RATE) * (1, -1), "FLOAT", True),
    ):
        put(f"{name}.wav", encoded("wav", samples, subtype=subtype), is_readable)
    for rate_hz in (4000, 8000, 96000, 192000):
        put(f"{rate_hz} Hz.wav", encoded("wav", noise(rate_hz, 2), rate_hz), True)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "dangling.wav").symlink_to(folder / "nothing")
    (folder / "itself.wav").symlink_to(folder / "itself.wav")
    (folder / "endless.wav").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.open(folder, os.O_RDONLY)  # the path of a socket may have at most 107 bytes
        listener.bind(f"/proc/self/fd/{where}/socket.wav")
        os.close(where)
    names = ["folder", "pipe", "dangling", "itself", "endless", "socket", "missing"]
    if os.geteuid():  # root can read everything
        put("forbidden.wav", whole["wav"])
        (folder / "forbidden.wav").chmod(0)
        names.append("forbidden")
    readable.update({str(folder / f"{name}.wav"): False for name in names})
    return readable


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    return write_strange(tmp_path_factory.mktemp("strange") / "Täne")


@pytest.fixture
def restless(tmp_path):
    """A file that a thread writes, truncates and extends all the time."""
    path, data, ended = tmp_path / "restless.wav", encoded("wav"), threading.Event()
    path.write_bytes(data)

    def change():
        while not ended.wait(0.001):
            with open(path, "r+b") as f:
                for size in (60, 40_000, 0):
                    f.seek(0)
                    f.write(data)
                    f.truncate(size)

    thread = threading.Thread(target=change)
    thread.start()
    yield str(path)
    ended.set()
    thread.join()


def test_every_file_gets_its_line_and_every_unreadable_one_its_reason(corpus, strange, restless, run_script, tmp_path):
    train = corpus["train"].read_text().splitlines()
    labels = sorted({line.rpartition("\t")[2] for line in train})
    train += [f"{path}\t{labels[k % len(labels)]}" for k, path in enumerate([*strange, restless])]
    test = [*strange, *corpus["test"].read_text().splitlines(), restless]
    for name, lines in (("train", train), ("test", test)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    scratch, out, csv_path = (tmp_path / name for name in ("scratch", "out.txt", "p.csv"))
    quick = ("--model", 1, "--epochs", 1, "--segments-per-track", 2, "--max-bad", 100, "--no-picture")
    trained = run_script("train.sh", *quick, scratch, tmp_path / "train.txt")
    assert trained.returncode == 0, trained.stderr
    done = run_script("classify.sh", "--probabilities", csv_path, scratch, tmp_path / "test.txt", out)
    assert done.returncode in (0, 4)
    for run in (trained, done):
        assert "Traceback" not in run.stderr and "[audio.unexpected]" not in run.stderr and run.stdout == ""

    pairs = [line.rpartition("\t") for line in out.read_text(encoding="utf-8").splitlines()]
    assert [path for path, _, _ in pairs] == test
    assert {label for _, _, label in pairs} <= set(labels)
    # The probabilities of an unreadable track are the shares of the classes in the training.
    with open(csv_path, newline="", encoding="utf-8") as f:
        rows = {row[0]: tuple(row[2:]) for row in csv.reader(f)}
    shares = rows[str(Path(next(iter(strange))).parent / "missing.wav")]
    unreadable = {path for path in test if rows[path] == shares}
    assert {p: p not in unreadable for p, is_readable in strange.items() if is_readable is not None} == {
        p: is_readable for p, is_readable in strange.items() if is_readable is not None
    }
    assert re.search(rf"WARNING: {len(unreadable)} .*\[audio\.most-frequent-label\]$", done.stderr, re.MULTILINE)
    assert done.returncode == (4 if 2 * len(unreadable) > len(test) else 0)
    for run in (trained, done):
        for path in unreadable - {restless}:
            assert re.search(rf"WARNING: {re.escape(path)}: \w", run.stderr), path


# Decoded samples.


@pytest.mark.parametrize(("extension", "lost_s"), [("wav", 0.001), ("flac", 0.4), ("mp3", 0.2), ("ogg", 1.6)])
def test_a_truncated_file_is_decoded_up_to_its_end(tmp_path, extension, lost_s):
    samples = noise(10 * RATE)
    path, data = tmp_path / f"a.{extension}", encoded(extension, samples)
    path.write_bytes(data)
    whole = decode(str(path)).samples / 1.0
    for k in range(1, 16):
        path.write_bytes(data[: k * len(data) // 16])
        try:
            samples = decode(str(path)).samples / 1.0
        except AudioError:
            samples = whole[:0]
        assert k / 16 - lost_s / 10 - 0.02 <= len(samples) / len(whole) <= k / 16 + 0.02
        n = max(0, len(samples) - RATE // 10)  # the last frames of a codec depend on the next ones
        np.testing.assert_allclose(samples[:n], whole[:n], rtol=0, atol=0 if extension in ("wav", "flac") else 1e-3)


@pytest.mark.parametrize("rate_hz", [RATE, 11025])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_everything_before_the_damage_in_a_long_file_is_decoded(tmp_path, monkeypatch, rate_hz, n_channels):
    path = tmp_path / "a.flac"
    data = encoded("flac", noise(5 * RATE, n_channels))
    path.write_bytes(data)
    whole = decode(str(path), rate_hz=rate_hz).samples
    path.write_bytes(data[: int(0.9 * len(data))])
    once = decode(str(path), rate_hz=rate_hz)
    monkeypatch.setattr(audio, "_CLIP_SAMPLES", 10_000)
    monkeypatch.setattr(audio, "_BLOCK_SAMPLES", 3_000)
    in_blocks = decode(str(path), rate_hz=rate_hz)
    assert in_blocks.note == once.note and re.search(r"\b4\.\d.*\[audio\.truncated\]$", once.note)
    assert in_blocks.samples.dtype == once.samples.dtype == whole.dtype
    np.testing.assert_array_equal(in_blocks.samples, once.samples)
    n = len(once.samples) - 200  # the resampler needs later samples
    np.testing.assert_array_equal(once.samples[:n], whole[:n])
    assert 0.85 < len(once.samples) / len(whole) < 0.92


def test_a_clip_one_sample_shorter_than_a_segment_is_repeated_and_a_whole_segment_is_not(tmp_path):
    spec, samples = FeatureSpec(RATE), noise(SEGMENT)[:, 0]
    frames = {}
    for n in (SEGMENT - 1, SEGMENT, 1):
        path = tmp_path / f"{n}.wav"
        path.write_bytes(encoded("wav", samples[:n]))
        ((header, frames[n]),) = compute(str(path), [spec])
        assert frames[n].shape == (80, 40) and np.isfinite(frames[n]).all()
        assert header.duration_s == n / RATE
    np.testing.assert_array_equal(frames[SEGMENT - 1][:79], frames[SEGMENT][:79])
    assert (frames[SEGMENT - 1][79] != frames[SEGMENT][79]).any()


@pytest.mark.parametrize("rate_hz", [4000, 8000, 96000, 192000])
def test_a_tone_at_an_unusual_sampling_rate_is_in_the_right_band(tmp_path, rate_hz):
    tones = {}
    for native_hz in (rate_hz, RATE):
        path = tmp_path / f"{native_hz}.wav"
        tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(4 * native_hz) / native_hz)
        path.write_bytes(encoded("wav", tone, native_hz, "FLOAT"))
        tones[native_hz] = compute(str(path), [FeatureSpec(RATE)])[0][1][5:-5]
    loudest = tones[RATE].mean(axis=0).argmax()
    assert tones[rate_hz].mean(axis=0).argmax() == loudest
    np.testing.assert_allclose(tones[rate_hz][:80, loudest], tones[RATE][:80, loudest], rtol=0, atol=0.01)


def test_a_file_that_changes_while_it_is_read_is_reported_and_extracted_again(tmp_path, monkeypatch):
    path, store = tmp_path / "a.wav", FeatureStore(tmp_path / "scratch", FeatureSpec(RATE))
    path.write_bytes(encoded("wav"))
    blocks = Recording.__iter__

    def change(recording):
        yield from blocks(recording)
        with open(path, "ab") as f:
            f.write(bytes(2))

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "__iter__", change)
        assert extract_track(str(path), [store]).note.endswith(" [audio.changed]")
    assert store.fresh(str(path)) is None
    assert extract_track(str(path), [store]).note == ""
    assert store.fresh(str(path))


def mutated(data, rng):
    """Return the bytes with a few changes, most of them in the header: other values, or a part removed or doubled."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(min(len(data), rng.choice([64, 256, len(data)]))))
        match rng.integers(4):
            case 0:
                data[at] = rng.integers(256)
            case 1:
                data[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\0\0\0"])
            case 2:
                del data[at : at + int(rng.integers(1, 1000))]
            case 3:
                data[at:at] = data[at : at + int(rng.integers(1, 1000))]
    return bytes(data)


@pytest.mark.parametrize("n", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("extension", [*FORMATS, "aiff", "au", "caf", "w64"])
def test_a_file_with_changed_bytes_is_decoded_or_an_audio_error(tmp_path, extension, n):
    data = encoded(extension, noise(RATE // 2), subtype=FORMATS.get(extension, "PCM_16"))
    path, rng = tmp_path / f"a.{extension}", np.random.default_rng(n)
    for _ in range(n):
        path.write_bytes(mutated(data, rng))
        with contextlib.suppress(AudioError):
            frames = compute(str(path), [FeatureSpec(11025)])[0][1]
            assert np.isfinite(frames).all() and len(frames) < 100_000


# Long files.


def write_long(path, hours, rate_hz, n_channels):
    """Write a 16-bit file with a second of noise at start, middle and end: a sparse WAV, or a FLAC of some MB."""
    n, sound = int(hours * 3600 * rate_hz), (noise(rate_hz, n_channels) * 2**15).astype("<i2")
    starts = (0, n // 2, n - rate_hz)
    if path.suffix == ".wav":
        empty = encoded("wav", np.zeros((0, n_channels)), rate_hz)
        with open(path, "wb") as f:
            f.write(patched(empty, 40, "<I", 2 * n_channels * n))
            for start in starts:
                f.seek(44 + 2 * n_channels * start)
                f.write(sound.tobytes())
    else:
        silence = np.zeros((1 << 20, n_channels), np.int16)
        with soundfile.SoundFile(path, "w", rate_hz, n_channels, "PCM_16", compression_level=0) as f:
            for start, end in zip(starts, [*starts[1:], n], strict=True):
                f.write(sound)
                for k in range(start + rate_hz, end, len(silence)):
                    f.write(silence[: end - k])
    return path


@pytest.fixture
def run_alone(run_script):
    """Call a script as a child of a small shell, as the peak memory of a new process includes that of its parent."""
    return lambda script, *args: run_script("/bin/sh", "-c", '"$0" "$@"; exit $?', PROJECT / "bin" / script, *args)


def peak_mib(done):
    """Return the peak memory in the last line of a log."""
    assert done.returncode == 0, done.stderr
    return int(re.search(r"peak memory (\d+) MiB", done.stderr).group(1))


LONG = [pytest.param(extension, rate_hz, n_channels, 3, marks=pytest.mark.slow)
        for extension in ("wav", "flac") for rate_hz, n_channels in ((22050, 1), (44100, 2))]  # fmt: skip


@pytest.mark.parametrize(("extension", "rate_hz", "n_channels", "hours"), [("wav", 11025, 1, 3), *LONG])
def test_three_hours_take_no_more_than_200_mb(tmp_path, run_alone, extension, rate_hz, n_channels, hours):
    path = write_long(tmp_path / f"long.{extension}", hours, rate_hz, n_channels)
    (tmp_path / "list.txt").write_text(f"{path}\n")
    assert peak_mib(run_alone("extractFeatures.sh", tmp_path / "scratch", tmp_path / "list.txt")) < 190
    header, frames = FeatureStore(tmp_path / "scratch", FeatureSpec(rate_hz)).read(str(path))
    assert header.duration_s == hours * 3600 and header.note == ""
    sounding = np.flatnonzero(frames.max(axis=1) > -9)
    for second in (0, hours * 1800, hours * 3600 - 1):
        first = second * rate_hz / header.spec.hop
        assert set(range(int(first + 1), int(first + 26))) <= set(sounding.tolist())
    assert len(sounding) < 100


@pytest.mark.slow
def test_tracks_of_three_hours_are_trained_on_and_classified_in_250_mb(tmp_path, run_alone):
    paths = [write_long(tmp_path / f"{name}.wav", 3, 22050, 1) for name in ("one", "two", "three")]
    (tmp_path / "train.txt").write_text(f"{paths[0]}\tx\n{paths[1]}\ty\n")
    (tmp_path / "test.txt").write_text(f"{paths[2]}\n")
    quick = ("--epochs", 1, "--segments", "consecutive", "--no-picture")
    assert peak_mib(run_alone("train.sh", *quick, tmp_path / "s", tmp_path / "train.txt")) < 240
    assert peak_mib(run_alone("classify.sh", tmp_path / "s", tmp_path / "test.txt", tmp_path / "out.txt")) < 240


@pytest.mark.parametrize("native_hz", [RATE, 11025])
def test_only_the_first_hours_of_an_endless_file_are_used_with_a_note(tmp_path, monkeypatch, native_hz):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("wav", noise(3 * native_hz), native_hz))
    whole = decode(str(path), rate_hz=RATE)
    monkeypatch.setattr(audio, "MAX_DURATION_H", 2 / 3600)
    first = decode(str(path), rate_hz=RATE)
    assert whole.note == "" and first.note.endswith("[audio.too-long]")
    assert len(first.samples) == 2 * RATE
    np.testing.assert_array_equal(first.samples[:-2000], whole.samples[: 2 * RATE - 2000])


@pytest.mark.slow
def test_a_small_file_of_many_hours_fills_neither_memory_nor_disk(tmp_path, run_alone):
    path = write_long(tmp_path / "days.flac", 24, 4000, 1)
    assert path.stat().st_size < 5e6
    (tmp_path / "list.txt").write_text(f"{path}\n")
    done = run_alone("extractFeatures.sh", tmp_path / "scratch", tmp_path / "list.txt")
    assert peak_mib(done) < 220 and re.search(rf"{path}: .*\[audio\.too-long\]", done.stderr)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.logmel")) < 110e6


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_header_with_an_endless_length_needs_no_more_memory(tmp_path, run_alone, extension):
    data = encoded(extension)
    if extension == "wav":
        data = patched(data, 40, "<I", 2**32 - 2)
    else:
        data = patched(data, 18, ">Q", int.from_bytes(data[18:26], "big") | (1 << 36) - 1)
    path = tmp_path / f"a.{extension}"
    path.write_bytes(data)
    (tmp_path / "list.txt").write_text(f"{path}\n")
    assert peak_mib(run_alone("extractFeatures.sh", tmp_path / "scratch", tmp_path / "list.txt")) < 100
    assert FeatureStore(tmp_path / "scratch", FeatureSpec(RATE)).fresh(str(path)).duration_s == 3
