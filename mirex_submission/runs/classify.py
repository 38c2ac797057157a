"""Classify the tracks of a test list, as bin/classify.sh does."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirex_submission.errors import ModelError, UsageError, coded
from mirex_submission.protocol import lists, outputs
from mirex_submission.protocol.answers import NONE, encoded
from mirex_submission.protocol.in_memory import ListSource
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.classification import Classification
from mirex_submission.runs.options import ClassificationOptions, RunOptions, check_recipe
from mirex_submission.runs.scratch import scratch_folder
from mirex_submission.system.atomic import check_writable, clear_leftovers, write_output
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import check_none_left, check_options, checked_path, with_fields
from mirex_submission.system.standard_streams import is_closed

if TYPE_CHECKING:
    import numpy as np

    from mirex_submission.features.extraction import Extracted, Stores
    from mirex_submission.models.bundle import AnyBundle
    from mirex_submission.models.prediction import NetworkPredictor, Predictor, ViewPredictor
    from mirex_submission.runs.label_sets import LabelSets

log = logging.getLogger(__name__)

STDOUT = "-"


def classify(
    scratch: str | os.PathLike[str],
    test_list: ListSource,
    output: str | os.PathLike[str] | None = None,
    *,
    classification: ClassificationOptions = ClassificationOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
    **fields: Any,
) -> Classification:
    """Predict the label of each track of a test list with the model in the scratch folder.

    Parameters
    ----------
    scratch : path
        Folder for features and models, kept between runs.
    test_list : list file, folder, table or audio file, or paths in memory
        The tracks; for a folder, all audio files in it and its subfolders.
    output : path, optional
        File with `path<TAB>label` per line, or in the format of `classification`; "-" is standard output.
    classification, tables, run : ClassificationOptions, TableOptions, RunOptions
        Model, vote and probabilities; columns of a table; threads, device and strictness.
    **fields
        Single fields of these dataclasses, such as threads=2.

    Returns
    -------
    Classification
        Labels and class probabilities of all lines.

    Raises
    ------
    ListError
        The list has problems.
    ModelError
        There is no model, or it is damaged, of another type, or not calibrated although `confidence` is given.
    AudioError
        More than half of the tracks (with `strict` one track) are unreadable; the output is written before.
    DeviceError, StorageError, UsageError
        The device is missing; a file cannot be written; an output would overwrite a list.

    Examples
    --------
    With `test.txt` of four tracks in the current folder, and the model of two classes that the example of `train`
    makes:

    >>> from mirex_submission import ClassificationOptions, classify
    >>> result = classify("scratch", "test.txt", "output.txt", classification=ClassificationOptions(name="fold1"))
    >>> result.classes, result.probabilities.shape, len(result.unreadable)
    (('high', 'low'), (4, 2), 0)
    """
    check_options(
        classification=(classification, ClassificationOptions), tables=(tables, TableOptions), run=(run, RunOptions)
    )
    classification, tables = with_fields(fields, classification), with_fields(fields, tables)
    run = with_fields(fields, run)
    check_none_left(fields)
    check_confidence(classification, output)
    scratch = scratch_folder(scratch)
    with prepared(scratch, threads=run.threads):
        from mirex_submission.features.headers import Headers
        from mirex_submission.features.list_sources import open_list
        from mirex_submission.preflight import checks

        files = output_files(scratch, output, classification.probabilities, inputs=[test_list])
        paths = lists.read_paths(open_list("test_list", test_list, labelled=False, tables=tables))
        model = load_model(scratch, classification, run)
        if not run.no_check:
            planned = checks.PlannedRun(
                scratch, model.specs, paths, recipe=model.recipe, strict=run.strict, threads=run.threads,
                n_jobs=run.threads, device=run.chosen_device, engine=run.engine,
            )  # fmt: skip
            checks.begin(planned, Headers(run.threads, run.track_limit))
        return classify_paths(scratch, paths, *files, classification=classification, model=model, run=run)


def check_confidence(classification: ClassificationOptions, output: str | os.PathLike[str] | None) -> None:
    """Check that the format of the output can hold sets of labels. Raises UsageError."""
    if classification.confidence is not None and classification.format == "mirex" and output is not None:
        raise UsageError(
            "--confidence: MIREX's format cannot hold sets of labels: add --format csv or --format jsonl",
            code="usage.confidence",
        )


def output_files(
    scratch: Path,
    output: str | os.PathLike[str] | None,
    probabilities: str | os.PathLike[str] | None,
    *,
    inputs: Sequence[object],
) -> tuple[str | None, str | None]:
    """Check the files that a classification writes.

    Raises
    ------
    UsageError
        A file is one of the input lists, is given twice, or is in a folder for features or models.
    """
    kept = [os.path.realpath(scratch / name) for name in ("features", "model", "models")]
    taken = {os.path.realpath(path): path for path in inputs if isinstance(path, (str, os.PathLike))}
    files = [
        None if path is None else checked_path(name, path)
        for name, path in (("output", output), ("probabilities", probabilities))
    ]
    if STDOUT in files and is_closed(1):
        raise UsageError("-: standard output is closed: give the name of a file as OUTPUT", code="usage.output")
    for path in on_disk(files):
        real = os.path.realpath(path)
        if any(real.startswith(f"{folder}/") for folder in kept):
            raise UsageError(
                f"{path}: is in a folder of {scratch} for features or models: give another path", code="usage.output"
            )
        if real in taken and not real.startswith("/dev/"):
            raise UsageError(
                f"{path}: is the same file as {taken[real]} and would overwrite it: give another path",
                code="usage.output",
            )
        taken[real] = path
    return files[0], files[1]


def on_disk(files: Iterable[str | None]) -> list[str]:
    """Return the outputs that are files: neither left out nor standard output."""
    return [file for file in files if file and file != STDOUT]


def classify_paths(
    scratch: Path,
    paths: Sequence[str],
    output: str | None,
    probabilities: str | None,
    *,
    classification: ClassificationOptions,
    model: AnyBundle,
    run: RunOptions,
) -> Classification:
    """Classify paths of a checked list into checked outputs, with a model from `load_model`; see `classify`."""
    from mirex_submission.features import extraction
    from mirex_submission.features.store import FeatureStore
    from mirex_submission.models.prediction import overlap
    from mirex_submission.preflight.limits import check_readable
    from mirex_submission.runs.label_sets import label_sets
    from mirex_submission.system.workers import Workers

    for file in on_disk((output, probabilities)):
        check_writable(file)
    clear_leftovers(scratch)
    model, predictor = _newest_predictor(scratch, classification, model, run)
    sets = label_sets(scratch, classification, model)
    stores = [FeatureStore(scratch, spec) for spec in model.specs]
    try:
        records = extraction.extract(paths, stores, Workers(run.threads, limit_s=run.track_limit))
    except UsageError as error:  # a view of the model is missing or has another version
        raise ModelError(f"the views of the model: {error.text}", code=error.code) from error
    trained = overlap(model, records.values())
    if trained:
        text = (
            f"{len(trained)} test track(s) are in the training list too, by path or content: their accuracy is too high"
        )
        log.warning("%s", coded(f"{text}: {', '.join(trained[:3])}", code="list.trained-track"))
    result = _predict(paths, records, model, predictor, stores, sets)
    if probabilities:
        outputs.write_probabilities(
            probabilities,
            model.classes,
            ((track.path, track.label, row) for track, row in zip(result.tracks, result.probabilities, strict=True)),
        )
    if output:
        _write(output, encoded(result.answers(), model.classes, form=classification.format, output=output))
    _log(result, output)
    check_readable(records.keys() - set(result.unreadable), records, strict=run.strict)
    return result


def _write(output: str, data: bytes) -> None:
    if output != STDOUT:
        write_output(output, data)
    elif hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:  # standard output of a notebook
        sys.stdout.write(data.decode())


def _newest_predictor(
    scratch: Path, classification: ClassificationOptions, model: AnyBundle, run: RunOptions
) -> tuple[AnyBundle, Predictor]:
    """Load the weights of a model; if a training has replaced the model in the meantime, load the new one."""
    from mirex_submission.models.bundle import folder_of

    folder = folder_of(scratch, classification.name)
    try:
        return model, start_predictor(folder, model, run)
    except ModelError:
        newest = load_model(scratch, classification, run)
        if newest == model:
            raise
        return newest, start_predictor(folder, newest, run)


def start_predictor(folder: Path, model: AnyBundle, run: RunOptions) -> NetworkPredictor | ViewPredictor:
    """Start the engine and load the weights of a model. Raises ModelError, DeviceError."""
    from mirex_submission.models.bundle import ViewBundle
    from mirex_submission.models.prediction import NetworkPredictor, ViewPredictor
    from mirex_submission.networks import engine as engines

    log.info("recipe: %s", model.recipe.name)
    if isinstance(model, ViewBundle):
        views = ViewPredictor(folder, model)
        log.info("NumPy: %s", views.classifier.description)
        return views
    engine = engines.start(
        run.chosen_device,
        threads=run.threads,
        seed=model.recipe.seed,
        networks=model.recipe.networks,
        engine=run.engine,
    )
    log.info("%s", engine.description)
    return NetworkPredictor(folder, model, engine)


def load_model(scratch: Path, classification: ClassificationOptions, run: RunOptions) -> AnyBundle:
    """Load the model with the networks and the vote of the options."""
    from mirex_submission.features.views import PLUGINS
    from mirex_submission.models import bundle as bundles
    from mirex_submission.models.bundle import ViewBundle
    from mirex_submission.networks.registry import NETWORKS
    from mirex_submission.runs.label_sets import check_calibrated

    folder = bundles.folder_of(scratch, classification.name)
    model = bundles.load(folder)
    plugins = PLUGINS if isinstance(model, ViewBundle) else NETWORKS
    for name, package in model.packages.items():
        try:
            installed = plugins.package_of(name)
        except UsageError as error:
            raise ModelError(f"{folder}: {error.text}", code=error.code) from error
        if installed != package:
            text = f"{plugins.kind} {name}: trained with {' '.join(package)}, but {' '.join(installed)} is installed"
            log.warning("%s", coded(text, code="model.other-package"))
    check_calibrated(scratch, classification, model)
    if isinstance(model, ViewBundle):
        check_recipe(model.recipe, classification, run)
        return model
    trained = model.recipe
    recipe = dataclasses.replace(
        trained, model=classification.model or trained.model, vote=classification.vote or trained.vote
    )
    if not set(recipe.networks) <= set(trained.networks):
        advice = f"train model {recipe.model} with bin/train.sh --model {recipe.model}"
        raise ModelError(f"{folder}: holds model {trained.model}: {advice}", code="model.other-network")
    if recipe.networks == trained.networks:
        return dataclasses.replace(model, recipe=recipe)
    if classification.confidence is not None:
        text = f"--confidence: the networks of model {trained.model} are calibrated together: leave out --model"
        raise UsageError(text, code="usage.confidence")
    return dataclasses.replace(model, recipe=recipe, calibration=None)


def _predict(
    paths: Sequence[str],
    records: Mapping[str, Extracted],
    model: AnyBundle,
    predictor: Predictor,
    stores: Stores,
    sets: LabelSets | None,
) -> Classification:
    """Predict each distinct path once; unreadable ones get the most frequent training label."""
    import numpy as np

    from mirex_submission.features import extraction
    from mirex_submission.system.progress import Progress

    shares = model.class_shares
    most_frequent = model.classes[int(shares.argmax())]
    unreadable = []
    predicted: dict[str, tuple[str, np.ndarray, float, str, tuple[str, ...]]] = {}
    progress = Progress("classification", len(records), unit="tracks")
    for path, record in records.items():
        started_s = time.perf_counter()
        stored = [extraction.read(path, store) for store in stores] if record.content else []
        features = [features for features in stored if features]
        if len(features) < len(stores):
            label, probabilities, labels = most_frequent, shares, model.classes
            unreadable.append(path)
        else:
            chosen, probabilities = predictor.predict(features)
            label = model.classes[chosen]
            labels = sets.of(features, chosen, probabilities) if sets else ()
        seconds = record.seconds + time.perf_counter() - started_s
        predicted[path] = label, probabilities, seconds, record.reason or record.note, labels
        progress.advance()
    progress.close()
    if unreadable:
        text = f"{len(unreadable)} track(s) are unreadable (reasons above) and get the most frequent training label"
        log.warning("%s", coded(f"{text}, {most_frequent!r}", code="audio.most-frequent-label"))
    labels, probabilities, seconds, notes, of_sets = zip(*(predicted[path] for path in paths), strict=True)
    return Classification(
        list(map(Track, paths, labels)), model.classes, np.stack(probabilities), unreadable, list(seconds), list(notes),
        list(of_sets) if sets else None,
    )  # fmt: skip


def _log(result: Classification, output: str | None) -> None:
    counts = Counter(track.label for track in result.tracks).most_common()
    log.info("classified %d tracks: %s", len(result.tracks), ", ".join(f"{n} {label!r}" for label, n in counts))
    if result.sets is not None:
        n_none = sum(labels == (NONE,) for labels in result.sets)
        mean = sum(map(len, result.sets)) / len(result.sets)
        log.info("sets of labels: %.2f labels on average; %d track(s) are unlike all training tracks", mean, n_none)
    if output and output != STDOUT:
        log.info("output: %s", output)
