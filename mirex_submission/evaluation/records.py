"""Safe reading of the JSON files of an evaluation: typed records, from regular files of plausible size only.

A folder of results may come from an untrusted source, or be writable for one.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from mirex_submission.system.inner import open_inner, read_inner

# Above 2^53 a float64 cannot represent every integer; the limits also exclude infinity and NaN.
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Amount = Annotated[float, Meta(ge=0, lt=2.0**53)]
Number = Annotated[float, Meta(gt=-(2.0**53), lt=2.0**53)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]  # of a system or a fold: it is also a file name
MOST_BYTES = 1 << 30  # maximum size of a file of results; 100,000 tracks or 1,000 classes take a tenth of it
_Record = TypeVar("_Record")


def read_record(path: Path, record_type: type[_Record], *, most_bytes: int = MOST_BYTES) -> _Record:
    """Read a JSON file; raise ValueError where it does not match the type, and OSError as read_inner()."""
    try:
        data = read_inner(path, most_bytes=most_bytes, starts=rb"\s*\{")
        return msgspec.convert(json.loads(data), record_type)
    except (RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(str(error)) from error


def open_plausible(path: str, flags: int) -> int:
    """Open a regular file that is not too large; for use as the `opener` of open()."""
    descriptor = open_inner(path, flags)
    if os.fstat(descriptor).st_size <= MOST_BYTES:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
