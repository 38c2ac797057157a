"""Classify with a model in a read-only folder, as a packed submission does: no scratch folder is kept.

`predict` is behind every door of a pack: its script, the containers, and DCASE's functions.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path

from mirex_submission.errors import ModelError, StorageError
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import AnyBundle
from mirex_submission.protocol.in_memory import ListSource
from mirex_submission.runs.classification import Classification
from mirex_submission.runs.classify import classify
from mirex_submission.runs.options import ClassificationOptions, RunOptions
from mirex_submission.system.atomic import make_folder, storage_error, write_output

PREDICTIONS = {"mirex": "predictions.txt", "csv": "predictions.csv", "jsonl": "predictions.jsonl"}
PROBABILITIES, RESULTS = "probabilities.csv", "results.json"


def predict(
    model: str | os.PathLike[str],
    source: ListSource,
    output: str | os.PathLike[str] | None = None,
    *,
    classification: ClassificationOptions = ClassificationOptions(),
    run: RunOptions = RunOptions(),
) -> Classification:
    """Predict the label of each track with the model in a folder, which is only read.

    Parameters
    ----------
    model : path
        Folder of the model.
    source : list file, folder, table or audio file, or paths in memory
        The tracks, as `classify` takes them.
    output : path, optional
        File for `path<TAB>label` a line. Or a folder (one that is there, or a name that ends with `/`) for three files:
        this one, the probabilities as CSV, and both as JSON.
    classification : ClassificationOptions
        Its `format` and `confidence` are for the file of lines.
    run : RunOptions
        Threads, device and strictness.

    Returns
    -------
    Classification
        Labels and class probabilities of all lines.

    Raises
    ------
    MirexError
        As `classify` does; also StorageError where no temporary file can be written.
    """
    folder = _folder(output)
    with _temporary_folder() as scratch:
        copy(Path(model), bundles.folder_of(scratch, None))
        table = Path(scratch, PROBABILITIES)
        try:
            return classify(
                scratch,
                source,
                folder / PREDICTIONS[classification.format] if folder else output,
                classification=dataclasses.replace(classification, probabilities=os.fspath(table)),
                run=run,
            )
        finally:  # also where more than half of the tracks are unreadable
            if folder and table.exists():
                write_output(folder / PROBABILITIES, table.read_bytes())
                write_output(folder / RESULTS, _as_json(table))


def copy(model: Path, folder: Path) -> AnyBundle:
    """Copy a model, and nothing of its training; return its bundle. Raises ModelError, StorageError."""
    bundle = bundles.load(model)
    try:
        folder.mkdir(parents=True)
        for name in ("bundle.json", *bundle.weights.values()):
            shutil.copyfile(model / name, folder / name)
    except FileNotFoundError as error:
        raise ModelError(
            f"{model}: {Path(error.filename).name} is missing: train again", code="model.damaged"
        ) from error
    except OSError as error:
        raise storage_error(error, error.filename or folder) from error
    return bundle


def _folder(output: str | os.PathLike[str] | None) -> Path | None:
    """Make the folder of the output, if a folder is meant."""
    if output is None or not (os.path.isdir(output) or os.fspath(output).endswith("/")):
        return None
    return make_folder(output)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="mirex-")
    except OSError as error:
        text = "no temporary file can be written: make /tmp writable (in a container `--tmpfs /tmp`), or set $TMPDIR"
        raise StorageError(f"{text} ({error.strerror})", code="disk.temporary") from error


def _as_json(table: Path) -> bytes:
    """Return a table of probabilities as JSON, an object a track."""
    with table.open(encoding="utf-8", newline="") as f:
        (_, _, *classes), *rows = csv.reader(f)
    tracks = [
        {"path": path, "label": label, "probabilities": dict(zip(classes, map(float, values), strict=True))}
        for path, label, *values in rows
    ]
    return (json.dumps(tracks, ensure_ascii=False, indent=1) + "\n").encode()
