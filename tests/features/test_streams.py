"""Files that libsndfile decodes in part: joined streams, headers with a wrong length, lengths that are estimated."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import AudioError
from mirex_submission.features import av_file, streams
from mirex_submission.features.audio import decode, native_rate
from mirex_submission.features.starts import format_at

RATE = 22050


def tone(seconds, rate_hz=RATE):
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate_hz)) / rate_hz)


def noise(seconds, rate_hz=RATE, n_channels=1):
    return 0.2 * np.random.default_rng(0).standard_normal((int(seconds * rate_hz), n_channels))


def encoded(samples, rate_hz=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, **options)
    return buffer.getvalue()


OPTIONS = {
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "flac": {"format": "FLAC"},
    "wav": {"format": "WAV"},
    "rf64": {"format": "RF64"},
    "aiff": {"format": "AIFF"},
    "au": {"format": "AU"},
    "caf": {"format": "CAF"},
}


def without_length(data):
    """An MP3 stream without its Xing frame: of variable bit rate, as libsndfile writes it."""
    assert b"Xing" in data[:100]
    at = next(k for k in range(100, len(data)) if data[k : k + 2] == data[:2])
    return data[at:]


def loud_seconds(waveform):
    """Seconds of the waveform in which there is sound."""
    samples = waveform.samples * (2.0**-15 if waveform.samples.dtype == np.int16 else 1.0)
    n = waveform.rate_hz // 10
    blocks = samples[: len(samples) // n * n].reshape(-1, n)
    return (np.sqrt((blocks**2).mean(axis=1)) > 0.05).sum() / 10


def check(tmp_path, data, seconds, *, suffix=".bin", code=None):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    waveform = decode(str(path))
    assert loud_seconds(waveform) == pytest.approx(seconds, abs=0.3)
    if code is None:
        assert waveform.note == ""
    else:
        assert f"[{code}]" in waveform.note
    return waveform


@pytest.mark.parametrize("name", ["ogg", "opus", "mp3", "flac", "wav"])
@pytest.mark.parametrize("n", [2, 3])
def test_joined_files_are_used_to_the_end(tmp_path, name, n):
    rate_hz = 48000 if name == "opus" else RATE
    parts = [tone(2, rate_hz), noise(4, rate_hz), tone(1, rate_hz)][:n]
    data = b"".join(encoded(part, rate_hz, **OPTIONS[name]) for part in parts)
    waveform = check(tmp_path, data, sum(map(len, parts)) / rate_hz, code="audio.joined")
    assert waveform.note.startswith(f"{n} streams")


@pytest.mark.parametrize("name", ["ogg", "mp3", "flac", "wav"])
@pytest.mark.parametrize(("rate_hz", "n_channels"), [(44100, 1), (RATE, 2), (44100, 2)])
def test_a_change_of_rate_or_channels_ends_nothing(tmp_path, name, rate_hz, n_channels):
    second = encoded(noise(4, rate_hz, n_channels), rate_hz, **OPTIONS[name])
    waveform = check(tmp_path, encoded(tone(2), **OPTIONS[name]) + second, 6, code="audio.joined")
    assert waveform.rate_hz == RATE


def test_a_link_of_another_codec_is_used_too(tmp_path):
    data = encoded(tone(2), **OPTIONS["ogg"]) + encoded(noise(4, 48000), 48000, **OPTIONS["opus"])
    check(tmp_path, data, 6, code="audio.joined")


@pytest.mark.parametrize("tags", [(True, True), (True, False), (False, True), (False, False)])
def test_joined_mp3_with_and_without_xing_frames_are_used_to_the_end(tmp_path, tags):
    parts = [encoded(tone(2), format="MP3"), encoded(noise(6), format="MP3")]
    data = b"".join(part if tag else without_length(part) for part, tag in zip(parts, tags, strict=True))
    check(tmp_path, data, 8, code=None if tags == (False, False) else "audio.joined")


def test_mp3_of_variable_bit_rate_without_a_length_is_not_cut_where_an_estimate_ends(tmp_path):
    data = without_length(encoded(np.concatenate([tone(2), noise(6)[:, 0]]), format="MP3"))
    check(tmp_path, data, 8)


def test_tags_between_mp3_streams_are_no_damage(tmp_path):
    one = encoded(tone(3), format="MP3")
    id3v2 = b"ID3\3\0\0" + bytes([0, 0, 40, 0]) + bytes(40 * 128)
    data = id3v2 + one + b"TAG" + bytes(125) + id3v2 + encoded(noise(3), format="MP3")
    assert check(tmp_path, data, 6, code="audio.joined").note.count("[") == 1


@pytest.mark.parametrize("suffix", [".mp3", ".bin", ""])
def test_mp3_that_begins_within_a_frame_or_after_zeros_is_decoded_whatever_its_name(tmp_path, suffix):
    data = encoded(noise(6), format="MP3")
    check(tmp_path, data[len(data) // 2 + 13 :], 3, suffix=suffix)
    check(tmp_path, bytes(3000) + data, 6, suffix=suffix)


def test_what_belongs_to_no_stream_is_noted(tmp_path):
    junk = np.random.default_rng(1).bytes(6000)
    data = encoded(tone(3), **OPTIONS["ogg"]) + junk
    waveform = check(tmp_path, data, 3, code="audio.left-out")
    assert f"6,000 of {len(data):,} bytes" in waveform.note


def test_a_second_stream_that_cannot_be_decoded_is_noted(tmp_path):
    second = bytearray(encoded(noise(4), **OPTIONS["ogg"]))
    second[29:35] = b"absurd"  # the name of the codec
    waveform = check(tmp_path, encoded(tone(3), **OPTIONS["ogg"]) + bytes(second), 3, code="audio.undecodable")
    assert "stream 2 of 2" in waveform.note


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def length_field(data, name):
    """Where the length of the samples is, and its form."""
    if name == "au":
        return 8, ">I"
    if name == "rf64":
        return 28, "<q"
    return data.index(b"SSND" if name == "aiff" else b"data") + 4, {"aiff": ">I", "caf": ">q"}.get(name, "<I")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("name", ["wav", "rf64", "aiff", "au", "caf"])
def test_samples_behind_a_length_that_is_too_short_are_used(tmp_path, name, share, subtype):
    data = encoded(tone(3), format=name, subtype=subtype)
    at, form = length_field(data, name)
    n = struct.unpack_from(form, data, at)[0]
    waveform = check(tmp_path, patched(data, at, struct.pack(form, int(share * n))), 3, code="audio.length")
    original = decode(str(tmp_path / "a.bin")).samples
    assert len(original) == len(waveform.samples) == 3 * RATE


@pytest.mark.parametrize("name", ["wav", "aiff", "caf"])
@pytest.mark.parametrize("n_known", [0, 20_000])
def test_samples_that_go_on_with_silence_or_with_what_looks_like_a_chunk_are_used(tmp_path, name, n_known):
    samples = tone(3)
    samples[: RATE // 2] = 0
    samples[RATE : RATE + RATE // 2] = 0
    data = encoded(samples, format=name, subtype="PCM_16")
    at, form = length_field(data, name)
    start = at + struct.calcsize(form) + (8 if name == "aiff" else 0)
    lookalike = patched(data, start + n_known, b"fact" + struct.pack(form, 4))
    for file in (data, lookalike):
        waveform = check(tmp_path, patched(file, at, struct.pack(form, n_known)), 2, code="audio.length")
        assert len(waveform.samples) == 3 * RATE


def test_rf64_of_a_stream_whose_length_was_never_known_is_read_to_its_end(tmp_path):
    data = encoded(tone(3), format="RF64", subtype="PCM_16")
    assert len(check(tmp_path, patched(data, 28, b"\xff" * 8), 3, code="audio.length").samples) == 3 * RATE


def test_a_header_whose_length_is_too_short_has_its_rate(tmp_path):
    data = encoded(tone(3), format="CAF", subtype="PCM_16")
    (tmp_path / "a.caf").write_bytes(patched(data, data.index(b"data") + 4, bytes(8)))
    assert native_rate(str(tmp_path / "a.caf")) == RATE


@pytest.mark.parametrize(
    "tail", [b"LIST" + struct.pack("<I", 8000) + bytes(8000), bytes(9000), b"ID3\3\0\0\0\0\x60\0" + bytes(12288), b"x"]
)
def test_chunks_padding_and_tags_behind_the_samples_are_no_samples(tmp_path, tail):
    data = encoded(tone(3), format="WAV", subtype="PCM_16")
    assert len(check(tmp_path, data + tail, 3).samples) == 3 * RATE


def test_a_file_with_a_length_of_zero_and_no_samples_is_empty(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(np.zeros(0), format="WAV", subtype="PCM_16"))
    with pytest.raises(AudioError) as raised:
        decode(str(tmp_path / "a.wav"))
    assert raised.value.code == "audio.empty"


def test_a_link_behind_a_page_that_is_cut_is_found(tmp_path):
    links = [
        encoded(noise(4), **OPTIONS["ogg"]),
        encoded(tone(3), **OPTIONS["ogg"]),
        encoded(noise(2), **OPTIONS["ogg"]),
    ]
    cut = links[0][: links[0].rindex(b"OggS") + 60]
    (tmp_path / "a.ogg").write_bytes(cut + links[1] + links[2])
    waveform = decode(str(tmp_path / "a.ogg"))
    assert len(waveform.samples) > 5 * RATE and "3 streams joined" in waveform.note


@pytest.mark.parametrize("name", ["wav", "aiff", "rf64"])
def test_samples_that_break_off_are_noted(tmp_path, name):
    data = encoded(tone(4), format=name, subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    waveform = decode(str(tmp_path / "a.wav"))
    assert "[audio.truncated]" in waveform.note and len(waveform.samples) == pytest.approx(2 * RATE, abs=100)


@pytest.fixture(scope="module")
def files():
    """Two files of each format, with different sound: 1.5 s of 24 kHz, and 2 s of 48 kHz in two channels."""
    first, second = tone(1.5, 24000), noise(2, 48000, 2) * (1, 0.9)
    return {name: (encoded(first, 24000, **of), encoded(second, 48000, **of)) for name, of in OPTIONS.items()}


ID3V2 = b"ID3\3\0\0\0\0\x28\0" + bytes(range(1, 129)) * 40
APE = b"APETAGEX" + struct.pack("<III", 2000, 3032, 1) + b"\0\0\0\xa0" + bytes(8) + b"x" * 3000
APE += b"APETAGEX" + struct.pack("<III", 2000, 3032, 1) + b"\0\0\0\x80" + bytes(8)


@pytest.mark.parametrize("second", OPTIONS)
@pytest.mark.parametrize("first", OPTIONS)
def test_files_of_different_formats_that_are_joined_are_used_to_the_end(tmp_path, files, first, second):
    between = [b"", b"TAG" + b"a title".ljust(125, b"\0"), ID3V2, APE, bytes(5000)]
    # One of them for each pair: all for each would take long.
    k = list(OPTIONS).index(first) + 2 * list(OPTIONS).index(second)
    data = files[first][0] + between[k % 5] + files[second][1]
    check(tmp_path, data, 3.5, code="audio.joined")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_that_is_cut_is_noted_and_hides_no_file_behind_it(tmp_path, files, name):
    # An Ogg page holds a second or more.
    data = encoded(tone(6, 48000), 48000, **OPTIONS[name]) if name in ("ogg", "opus") else files[name][0]
    path = tmp_path / "a.bin"
    cut = data[: int(0.8 * len(data))]
    path.write_bytes(cut)
    waveform = decode(str(path))
    assert "[audio.truncated]" in waveform.note
    loud_s = loud_seconds(waveform)
    for other in ("wav", "flac", "ogg", "mp3"):
        path.write_bytes(cut + files[other][1])
        waveform = decode(str(path))
        assert "[audio.joined]" in waveform.note, other
        assert loud_seconds(waveform) == pytest.approx(loud_s + 2, abs=0.35), other


def with_total(data, n):
    """A FLAC file whose header gives another number of samples."""
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | n
    return patched(data, 18, fields.to_bytes(8, "big"))


@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
@pytest.mark.parametrize(
    ("n", "code"),
    [(0, None), (1, "audio.length"), (30_000, "audio.length"), (3 * RATE, None), (10**6, "audio.truncated")],
)
def test_flac_is_read_to_its_last_frame_whatever_its_header_says(tmp_path, n, code, tail):
    data = with_total(encoded(tone(3), format="FLAC"), n) + tail
    assert len(check(tmp_path, data, 3, code=code).samples) == 3 * RATE


@pytest.mark.parametrize("n", [500, 1500, 30_000])
def test_mp3_behind_damage_is_used(tmp_path, n):
    data = encoded(noise(6), format="MP3")
    junk = np.random.default_rng(n).bytes(n)
    path = tmp_path / "a.mp3"
    path.write_bytes(data[:10_001] + junk + data[10_001:])
    waveform = decode(str(path))
    assert loud_seconds(waveform) == pytest.approx(6, abs=0.3)
    assert (n < 1024) or "[audio.joined]" in waveform.note
    assert (f"{n:,} of {len(data) + n:,} bytes" in waveform.note) == (n > 4096)


@pytest.mark.parametrize("name", ["ogg", "opus"])
def test_pages_of_ogg_that_are_missing_or_damaged_are_noted(tmp_path, name):
    data = encoded(noise(8, 48000), 48000, **OPTIONS[name])
    pages = [k for k in range(len(data)) if data.startswith(b"OggS", k)]
    missing = data[: pages[4]] + data[pages[5] :]
    damaged = data[: pages[4] + 100] + bytes(100) + data[pages[4] + 100 :]
    for changed in (missing, damaged):
        (tmp_path / "a.ogg").write_bytes(changed)
        assert "damaged in 1 place" in decode(str(tmp_path / "a.ogg")).note


def test_bytes_of_a_joined_file_that_no_decoder_takes_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(av_file, "is_installed", lambda: False)
    mp4 = struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0) + struct.pack(">I4s", 9000, b"mdat") + bytes(range(256)) * 36
    mp4 = mp4[: 16 + 9000]
    for other in (encoded(tone(3), format="FLAC"), encoded(tone(3), format="WAV"), encoded(tone(3), format="MP3")):
        waveform = check(tmp_path, other + mp4, 3, code="audio.undecodable")
        assert f"stream 2 of 2, 9,016 of {len(other) + 9016:,} bytes" in waveform.note and "`av`" in waveform.note


def test_magic_bytes_in_samples_divide_no_file(tmp_path):
    other = encoded(noise(1), format="WAV", subtype="PCM_16")[:4000]
    for name in ("wav", "aiff", "au", "caf"):
        data = encoded(tone(3), format=name, subtype="PCM_16")
        assert len(check(tmp_path, patched(data, 20_000, other), 3).samples) == 3 * RATE


@pytest.mark.parametrize("n_bytes", [5, 10, 26])
def test_ogg_cut_within_the_head_of_its_last_page_is_used_up_to_there(tmp_path, n_bytes):
    path, data = tmp_path / "a.ogg", encoded(noise(12), **OPTIONS["ogg"])
    path.write_bytes(data[: data.rindex(b"OggS") + n_bytes])
    waveform = decode(str(path))
    assert "[audio.truncated]" in waveform.note and loud_seconds(waveform) > 8


def vint(n, n_bytes=8):
    """A size of Matroska."""
    return (n | 1 << 7 * n_bytes).to_bytes(n_bytes, "big")


def frame_row(head, n_bytes, n=50):
    return (head + bytes(range(1, n_bytes - len(head) + 1))) * n


NOISE = np.random.default_rng(2).bytes(9000)
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
EBML = b"\x1a\x45\xdf\xa3" + vint(11) + b"\x42\x82\x88matroska"
# Files that only PyAV decodes, of each structure: their codecs do not matter here.
STRUCTURES = {
    "matroska": EBML + b"\x18\x53\x80\x67" + vint(9000) + NOISE,
    "live matroska": EBML + b"\x18\x53\x80\x67\xff\x1f\x43\xb6\x75\xff" + (b"\xa3" + vint(900, 2) + NOISE[:900]) * 10,
    "asf": ASF_HEADER + struct.pack("<Q", 124) + bytes(100) + ASF_DATA + struct.pack("<Q", 9024) + NOISE,
    "wavpack": (b"wvpk" + struct.pack("<IHHIIII", 9024, 0x410, 0, 0, 0, 0, 0x1800) + bytes(4) + NOISE),
    "mp4": struct.pack(">I4s8s", 16, b"ftyp", b"M4A \0\0\0\0") + struct.pack(">I4s", 9008, b"mdat") + NOISE,
    "adts": frame_row(b"\xff\xf1\x50\x80\x19\x1f\xfc", 200),
    "transport": frame_row(b"\x47\x40\x11\x10", 188),
}


@pytest.fixture
def without_av(monkeypatch):
    monkeypatch.setattr(av_file, "is_installed", lambda: False)


@pytest.mark.parametrize("first", ["wav", "aiff", "au", "caf", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_what_only_pyav_decodes_is_no_sound_behind_another_file(tmp_path, files, without_av, structure, first):
    other = STRUCTURES[structure]
    # The end of FLAC and Ogg is not told by a size: single frames behind it may be its own, damaged.
    is_unknown = first in ("flac", "ogg") and structure in ("adts", "transport")
    code = "audio.left-out" if is_unknown else "audio.undecodable"
    waveform = check(tmp_path, files[first][0] + other, 1.5, code=code)
    assert is_unknown or f"stream 2 of 2, {len(other):,} of {len(files[first][0] + other):,} bytes" in waveform.note


@pytest.mark.parametrize("second", ["wav", "aiff", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_files_behind_what_only_pyav_decodes_are_used(tmp_path, files, without_av, structure, second):
    waveform = check(tmp_path, STRUCTURES[structure] + files[second][1], 2, code="audio.joined")
    assert f"stream 1 of 2, {len(STRUCTURES[structure]):,} of" in waveform.note
    assert native_rate(str(tmp_path / "a.bin")) == 48000


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_structure_of_a_file_of_its_own_divides_it_not(tmp_path, structure):
    path = tmp_path / "a"
    path.write_bytes(STRUCTURES[structure])
    with open(path, "rb") as f:
        assert format_at(f.fileno(), 0)
        of_file, notes = streams.streams_of(f.fileno(), path.stat().st_size)
    assert of_file == [] and notes == []


@pytest.mark.parametrize("cut", [0.6, 0.9])
@pytest.mark.parametrize("structure", ["matroska", "asf", "mp4"])
def test_a_cut_file_of_units_is_noted(tmp_path, structure, cut):
    data = STRUCTURES[structure] + NOISE * 5
    for form, n in (("<Q", 24), ("<I", 4), (">I", 8)):
        data = data.replace(struct.pack(form, 9000 + n), struct.pack(form, 54000 + n), 1)
    data = data.replace(vint(9000), vint(54000), 1)
    path = tmp_path / "a"
    path.write_bytes(data[: int(cut * len(data))])
    with open(path, "rb") as f:
        _, notes = streams.streams_of(f.fileno(), path.stat().st_size)
    assert [note.rpartition(" ")[2] for note in notes] == ["[audio.truncated]"]
    assert f"{path.stat().st_size:,} of {len(data):,} bytes" in notes[0]


@pytest.mark.parametrize("tail", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"])
@pytest.mark.parametrize("name", ["wav", "rf64", "aiff"])
def test_junk_behind_a_length_that_the_header_gives_twice_is_left_out_with_a_note(tmp_path, name, tail):
    data = encoded(tone(3), format=name, subtype="PCM_16")
    if tail and name == "wav":
        data = patched(data, 4, struct.pack("<I", len(data) + len(tail) - 8)) + tail
    for n in (5000, 100_000):
        junk = np.random.default_rng(n).bytes(n)
        waveform = check(tmp_path, data + junk, 3, code="audio.left-out")
        assert len(waveform.samples) == 3 * RATE and f"{n:,} of {len(data) + n:,} bytes" in waveform.note


@pytest.mark.parametrize("of_file", [0, 36, 0xFFFFFFFF])
@pytest.mark.parametrize("of_samples", [0, 0xFFFFFFFF])
def test_a_length_that_was_never_written_is_that_of_the_rest_of_the_file(tmp_path, of_file, of_samples):
    data = encoded(tone(3), format="WAV", subtype="PCM_16")
    at = data.index(b"data") + 4
    data = patched(patched(data, 4, struct.pack("<I", of_file)), at, struct.pack("<I", of_samples))
    waveform = check(tmp_path, data, 3, code="audio.length" if of_samples == 0 else None)
    assert len(waveform.samples) == 3 * RATE


WAV_HEAD = b"RIFF\x24\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
REPEATED = {
    "frames": b"\xff\xfb\x90\0",
    "ID3": b"ID3\3\0\0\0\0\0\0",
    "APE": b"APETAGEX\xd0\7\0\0" + bytes(16),
    "WAV": b"RIFF\0\0\0\0WAVEfmt ",
    "AIFF": b"FORM\0\0\0\0AIFF",
    "FLAC": b"fLaC\0\0\0\x22" + bytes(34),
    "boxes": b"\0\0\0\x08ftypM4A ",
    "chunks": b"data\0\0\0\0",
    "AAC": b"\xff\xf1\x50\x80\1\x1f\xfc\0",
    "Ogg": b"OggS\0\2" + bytes(21),
}


@pytest.mark.parametrize("repeated", REPEATED)
def test_the_work_on_repeated_heads_grows_no_faster_than_the_file(tmp_path, monkeypatch, repeated):
    n_reads, n_bytes = 0, 0
    pread = os.pread

    def counted(fd, n, place):
        nonlocal n_reads, n_bytes
        data = pread(fd, n, place)
        n_reads, n_bytes = n_reads + 1, n_bytes + len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    monkeypatch.setattr(streams, "_MOST_STREAMS", 100)
    work = []
    for size in (200_000, 400_000, 800_000):
        data = (WAV_HEAD if repeated == "chunks" else b"") + REPEATED[repeated] * (size // len(REPEATED[repeated]))
        path = tmp_path / "a"
        path.write_bytes(data)
        n_reads = n_bytes = 0
        with open(path, "rb") as f:
            of_file, _ = streams.streams_of(f.fileno(), len(data))
        assert len(of_file) <= 100
        work.append((n_reads, n_bytes))
    (n_first, b_first), (n_second, b_second), (n_third, b_third) = work
    assert n_third - n_second <= 2.5 * (n_second - n_first) + 100
    assert b_third - b_second <= 2.5 * (b_second - b_first) + 1_000_000
    assert n_third < 60_000 and b_third < 20_000_000
