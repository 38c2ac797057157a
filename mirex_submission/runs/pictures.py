"""Draw a picture of each track's features; that of log-Mel frames shows the segments of the recipe "paper"."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np

from mirex_submission.errors import ResourceError
from mirex_submission.features import extraction, picture, view_picture
from mirex_submission.features.extraction import Stores
from mirex_submission.features.spec import FeatureSpec, ViewSpec
from mirex_submission.features.store import Header
from mirex_submission.system.atomic import write_file
from mirex_submission.system.paths import full_path
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import WorkerLost, Workers
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import segment_starts

log = logging.getLogger(__name__)

MIN_IN_PARALLEL = 16  # drawing fewer takes less time than loading matplotlib in another process


def draw_all(paths: Sequence[str], stores: Stores, folder: Path, workers: Workers) -> None:
    """Draw the pictures of tracks with stored features into a folder. Raises ResourceError where a worker is killed."""
    progress = Progress("plots", len(paths), unit="tracks")
    try:
        if workers.local and len(paths) < MIN_IN_PARALLEL:
            for path in paths:
                _draw(full_path(path), path, stores, folder)
                progress.advance()
        else:
            with workers.joined():
                for _ in workers.run(joblib.delayed(_draw)(full_path(path), path, stores, folder) for path in paths):
                    progress.advance()
    except WorkerLost as error:
        raise ResourceError(
            "a process that draws plots was killed, perhaps because memory ran out: give a smaller -numThreads",
            code="limits.workers",
        ) from error
    progress.close()
    log.info("%d plots are in %s", progress.done, folder)


def _draw(path: str, title: str, stores: Stores, folder: Path) -> None:
    for store in stores:
        stored = extraction.read(path, store)
        if stored:
            # Two folders may share a file name; and a name has at most 255 bytes.
            stem = Path(path).stem.encode()[:200].decode(errors="ignore")
            view = f"-{store.spec.view}" if isinstance(store.spec, ViewSpec) else ""
            name = f"{stem}-{store.file_of(path).stem[:8]}{view}.png"
            write_file(folder / name, draw(*stored, title=title), durable=False)


def draw(header: Header, matrix: np.ndarray, *, title: str) -> bytes:
    """Draw the features of one track as a PNG file."""
    if isinstance(header.spec, FeatureSpec):
        starts = segment_starts(len(matrix), header.content, header.spec, Recipe())
        return picture.draw(matrix, starts, header.spec, title=title)
    assert isinstance(header.spec, ViewSpec)
    return view_picture.draw(matrix, header.spec, title=title)
