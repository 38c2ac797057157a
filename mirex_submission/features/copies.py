"""Audio files with the same bytes under several names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from mirex_submission.errors import AudioError
from mirex_submission.features.opening import open_file
from mirex_submission.features.store import content_hash

Value = TypeVar("Value", bound=Hashable)

_SAMPLE_BYTES = 4096


def contents_of_copies(files: Iterable[str]) -> dict[str, str]:
    """Hash all files that have a copy; files that differ in size or in some bytes in the middle are not read whole.

    Returns
    -------
    dict of str to str
        The content hash of each file that has the bytes of another one. Unreadable files are left out.
    """
    sizes = _shared(dict.fromkeys(files), os.path.getsize)
    samples = _shared(sizes, lambda file: (sizes[file], _middle(file)))
    return _shared(samples, content_hash)


def _shared(files: Iterable[str], compute: Callable[[str], Value]) -> dict[str, Value]:
    """Compute a value of each file, and return the values that at least two files share."""
    values: dict[str, Value] = {}
    for file in files:
        try:
            values[file] = compute(file)
        except (OSError, ValueError, AudioError):
            continue
    n_files = Counter(values.values())
    return {file: value for file, value in values.items() if n_files[value] > 1}


def _middle(file: str) -> bytes:
    with open_file(file) as fd:
        return os.pread(fd, _SAMPLE_BYTES, os.fstat(fd).st_size // 2)


def copies(contents: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pair each file with the first file of the same content."""
    first: dict[str, str] = {}
    pairs = [(file, first.setdefault(content, file)) for file, content in contents.items()]
    return [(file, other) for file, other in pairs if file != other]
