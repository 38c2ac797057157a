"""One form for names that Unicode can write in several: macOS decomposes the letters of file names."""

from __future__ import annotations

import unicodedata


def nfc(text: str) -> str:
    """Return the composed form (NFC) of a text."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
