"""Types of files by their first bytes, for files that are neither lists nor audio that libsndfile decodes."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple


class FileType(NamedTuple):
    """A type of files: its name, and whether it holds audio that FFmpeg can decode."""

    name: str
    is_audio: bool = False


TEXT = FileType("a text file")
_UTF16 = FileType("text in UTF-16 or UTF-32, as some editors of Windows write it: save it as UTF-8")
_TYPES = (
    (rb"(?s).{4}(?:ftyp|moov|mdat|wide)", FileType("an MP4 file (M4A, AAC, ALAC)", is_audio=True)),
    # In ADTS the two bits of the layer are zero, which they never are in MPEG audio.
    (rb"\xff[\xf0\xf1\xf8\xf9]", FileType("an AAC stream (ADTS)", is_audio=True)),
    (rb"ADIF", FileType("an AAC stream (ADIF)", is_audio=True)),
    (rb"\x56[\xe0-\xff]", FileType("an AAC stream (LOAS)", is_audio=True)),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileType("a Windows Media file (WMA)", is_audio=True)),
    (rb"\x1a\x45\xdf\xa3", FileType("a Matroska or WebM file", is_audio=True)),
    (rb"(?s)RIFF.{4}AVI ", FileType("an AVI video", is_audio=True)),
    (rb"FLV", FileType("a Flash video", is_audio=True)),
    (rb"wvpk", FileType("a WavPack file", is_audio=True)),
    (rb"MAC ", FileType("a Monkey's Audio file (APE)", is_audio=True)),
    (rb"MPCK|MP\+", FileType("a Musepack file", is_audio=True)),
    (rb"TTA[12]", FileType("a True Audio file (TTA)", is_audio=True)),
    (rb"DSD |FRM8", FileType("a DSD file", is_audio=True)),
    (rb"\x0b\x77", FileType("an AC-3 stream", is_audio=True)),
    (rb"\x7f\xfe\x80\x01", FileType("a DTS stream", is_audio=True)),
    (rb"#!AMR", FileType("an AMR file", is_audio=True)),
    (rb"\.RMF|\.ra\xfd", FileType("a RealAudio file", is_audio=True)),
    (rb"\x00\x05\x16[\x07\x00]", FileType("an AppleDouble file, which macOS writes beside the real one (`._NAME`)")),
    (rb"version https://git-lfs", FileType("a Git LFS pointer: fetch the audio with `git lfs pull`")),
    (rb"/annex/objects/|\.\./.*\.git/annex", FileType("a git-annex pointer: fetch the audio with `git annex get`")),
    (rb"\x00\x00\x00\x01Bud1", FileType("a macOS file with the settings of a folder window (`.DS_Store`)")),
    (rb"(?is)(?:\s|<\?xml[^>]*>|<!--.*?-->)*<(?:!doctype html|html|head|body)", FileType("a web page (HTML)")),
    (rb"(?is)(?:\s|<\?xml[^>]*>|<!--.*?-->|<!doctype svg[^>]*>)*<svg", FileType("a picture (SVG)")),
    (rb"(?i)\s*<(?:\?xml|[a-z]\w*[^<>\n]*>\s*\n)", FileType("an XML file")),
    (rb"\s*[{\[]\s*[\"{\[\]}]", FileType("a JSON file")),
    (rb"#EXTM3U|\[playlist\]", FileType("a playlist")),
    (rb"MThd", FileType("a MIDI file, which holds notes and no audio")),
    (rb"PK\x03\x04|PK\x05\x06", FileType("a ZIP archive: unpack it")),
    (rb"\x1f\x8b", FileType("a gzip file: unpack it")),
    (rb"BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", FileType("an archive: unpack it")),
    (rb"(?s).{257}ustar", FileType("a tar archive: unpack it")),
    (rb"%PDF", FileType("a PDF file")),
    (rb"\{\\rtf", FileType("a text document (RTF)")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType("a file of Windows or Office, such as `Thumbs.db`")),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|(?s:RIFF.{4}WEBP)", FileType("a picture")),
    (rb"\x93NUMPY", FileType("a NumPy array")),
    (rb"PAR1|SQLite format 3\x00|\x89HDF", FileType("a table or database (Parquet, SQLite, HDF5)")),
    (rb"\x7fELF|MZ", FileType("a program")),
    # ASCII characters among zeros: anywhere after a byte order mark, or at the start without one.
    (rb"(?s)(?:(?:\xff\xfe|\xfe\xff).{0,400}?)?(?:(?:[\t\n\r -~]\x00){4}|(?:\x00[\t\n\r -~]){4})", _UTF16),
    (rb"(?:\xff\xfe\x00\x00)?(?:[\t\n\r -~]\x00{3}){4}|(?:\x00\x00\xfe\xff)?(?:\x00{3}[\t\n\r -~]){4}", _UTF16),
    (rb"[\x09\x0a\x0d\x20-\x7e]{32}|[\x09\x0a\x0d\x20-\x7e]{1,31}\Z", TEXT),  # or a whole file that is shorter
    (rb"\x00{64}", FileType("a file that begins with zeros: was its download or copy interrupted?")),
)
HEAD = 512  # bytes that are enough to recognise any type


def file_type(head: bytes) -> FileType | None:
    """Name the type of a file with these first bytes; None if it is unknown."""
    head = head.removeprefix(codecs.BOM_UTF8)
    return next((of_type for pattern, of_type in _TYPES if re.match(pattern, head)), None)
