"""One Unicode form for all names: macOS decomposes letters in file names, and other systems compose them."""

from __future__ import annotations

import unicodedata


def nfc(text: str) -> str:
    """Return the composed form (NFC) of a text."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
