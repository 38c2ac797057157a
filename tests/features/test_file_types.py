"""Files that are no audio that libsndfile decodes, whatever their names: the reason says what they are."""

import os

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import AudioError
from mirex_submission.features import av_file
from mirex_submission.features.audio import decode, read_header
from mirex_submission.features.extraction import compute
from mirex_submission.features.spec import FeatureSpec

RATE = 44100
FILES = {
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"7" * 64 + b"\nsize 661544\n",
    "git-annex": b"/annex/objects/SHA256E-s132344--ab12.wav\n",
    "HTML": b"<!DOCTYPE html><html><body>403</body></html>\n",
    "web page": b'\n<?xml version="1.0"?>\n<!-- moved -->\n<html><head>',
    "a web": b"\xef\xbb\xbf<html><body>not found</body></html>",
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JSON": b'{"error": "not found"}',
    "macOS": b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(300),
    "playlist": b"#EXTM3U\nhttp://example.org/a.mp3\n",
    "MIDI": b"MThd\0\0\0\6\0\1\0\2\0\x60MTrk",
    "ZIP": b"PK\3\4" + bytes(100),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "PDF": b"%PDF-1.4\n" + bytes(100),
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "text": b"This is the licence of the collection, and no music at all.",
    "a text": b"hello\n",
    "zeros": bytes(5000),
    "DS_Store": b"\0\0\0\1Bud1\0\0\x10\0" + bytes(100),
    "tar": b"song.wav".ljust(257, b"\0") + b"ustar\0" + b"00" + bytes(300),
    "RTF": b"{\\rtf1\\ansi " + bytes(100),
    "SVG": b'<?xml version="1.0"?>\n<svg xmlns="x">',
    "UTF-16": "the titles of the songs".encode("utf-16"),
    "Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "AAC": b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(200),
    "M4A": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom",
    "WMA": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9" + bytes(200),
}


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".au", ".flac"])
@pytest.mark.parametrize("name", FILES)
def test_the_reason_names_what_a_file_is(tmp_path, name, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(FILES[name])
    for read in (decode, read_header):
        with pytest.raises(AudioError, match=name) as raised:
            read(str(path))
        assert raised.value.code == "audio.undecodable"


CONTAINERS = {  # suffix: container and codec
    ".m4a": ("mp4", "aac"),
    ".aac": ("adts", "aac"),
    ".webm": ("webm", "libopus"),
    ".mka": ("matroska", "aac"),
    ".ac3": ("ac3", "ac3"),
    ".wv": ("wv", "wavpack"),
}


def write_container(path, samples, container, codec):
    """Encode samples [n, n_channels] by PyAV."""
    av = pytest.importorskip("av")
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=48000 if codec == "libopus" else RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), format="fltp", layout=layout)
        frame.rate = RATE
        resampler = av.AudioResampler(
            format=stream.codec_context.format or "fltp", layout=layout, rate=stream.rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )  # fmt: skip
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))


def tones(seconds, n_channels=1):
    t = np.arange(int(seconds * RATE))[:, None] / RATE
    return 0.4 * np.sin(2 * np.pi * (440 + 220 * np.arange(n_channels)) * t)


@pytest.mark.backends
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_pyav_decodes_formats_that_libsndfile_does_not(tmp_path, suffix, n_channels):
    path = tmp_path / f"a{suffix}"
    write_container(path, tones(4, n_channels), *CONTAINERS[suffix])
    waveform = decode(str(path), rate_hz=22050)
    assert len(waveform.samples) / 22050 == pytest.approx(4, abs=0.1)
    powers = np.abs(np.fft.rfft(waveform.samples[11025:44100] * np.hanning(33075))) ** 2
    assert powers.argmax() * 22050 / 33075 in (pytest.approx(440, abs=3), pytest.approx(660, abs=3))


@pytest.mark.backends
def test_aac_with_the_suffix_mp3_is_decoded_as_aac(tmp_path):
    write_container(tmp_path / "a.aac", tones(4), "adts", "aac")
    os.rename(tmp_path / "a.aac", tmp_path / "a.mp3")
    ((header, _),) = compute(str(tmp_path / "a.mp3"), [FeatureSpec(44100)])
    assert header.duration_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("tag", [b"", b"ID3\3\0\0\0\0\1\0" + bytes(128)])
@pytest.mark.parametrize("name", ["AAC", "M4A", "WMA"])
def test_without_pyav_the_reason_names_the_extra(tmp_path, monkeypatch, name, tag):
    monkeypatch.setattr(av_file, "is_installed", lambda: False)
    (tmp_path / "a.mp3").write_bytes(tag + FILES[name])
    with pytest.raises(AudioError, match="extra `av`"):
        decode(str(tmp_path / "a.mp3"))


@pytest.mark.backends
def test_a_damaged_container_is_an_error_of_the_track(tmp_path):
    write_container(tmp_path / "a.m4a", tones(4), "mp4", "aac")
    data = (tmp_path / "a.m4a").read_bytes()
    (tmp_path / "a.m4a").write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError):
        decode(str(tmp_path / "a.m4a"))


def test_a_container_opens_no_other_file(tmp_path):
    soundfile.write(tmp_path / "secret.wav", tones(1), RATE)
    playlist = f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n"
    (tmp_path / "a.m4a").write_text(playlist)
    with pytest.raises(AudioError):
        decode(str(tmp_path / "a.m4a"))
