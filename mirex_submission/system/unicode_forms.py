"""Unicode forms: one name may be spelled with composed characters (é) or with a letter and its accent apart."""

from __future__ import annotations

import unicodedata


def nfc(text: str) -> str:
    """Return the text in its composed form (NFC), in which equal names are equal."""
    return unicodedata.normalize("NFC", text)
