"""What can be known before hours of work: is all there that a run needs, and what would end it.

Nothing is written, and nothing is read that the run would not read: of a track whose features are stored and fresh only
these are looked at, of any other its header. Every check returns what it found. What is only an estimate (memory), or
what a run can do without, is a warning.
"""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirex_submission.errors import AudioError, DeviceError, ListError, MirexError, StorageError, UsageError
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.networks.sizes import ARCHITECTURES, weight_shapes
from mirex_submission.preflight import task_lists as kinds
from mirex_submission.preflight.limits import enough_to_train, enough_usable
from mirex_submission.preflight.task_lists import TaskList
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system import installation, machine
from mirex_submission.system.machine import size
from mirex_submission.system.progress import Progress
from mirex_submission.training.checkpoint import KEPT
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import n_segments

FAULT, WARNING, FACT = logging.ERROR, logging.WARNING, logging.INFO

_BLOCK = 4096  # bytes that a disk gives at a time
_HEADER_BYTES = 600  # of a stored file
_SEGMENT_BYTES = 12  # in mapped files: where it begins, its class, its place in the order
# Measured (docs/evaluators.md): of a process with the native kernel, with Keras, and of one that extracts, beside the
# frames of its longest track; and for a track of a training.
_NATIVE_BYTES, _KERAS_BYTES, _WORKER_BYTES, _TRACK_BYTES = 120e6, 900e6, 60e6, 800


@dataclass(frozen=True)
class Finding:
    """severity : FAULT would end the run; WARNING; FACT is as it should be.

    text : where, what was found, what to do. kind : the error in which a fault would end, with its exit status.
    """

    severity: int
    text: str
    kind: type[MirexError] = MirexError


@dataclass(frozen=True)
class Run:
    """What a run, or several over the same lists, are to do.

    paths : the tracks whose features are needed, those of all trainings among them. trainings : the tracks of each, of
    which by `recipe` a share `max_bad` may be unusable. heard : lists of which half (with `strict` none) may be.
    threads : of the training and the classification; n_jobs : processes of this machine that extract, as joblib means
    it, 0 on a cluster. device : as --device; None where no network is computed. where : path -> the line of a list.
    """

    scratch: Path
    spec: FeatureSpec
    paths: Sequence[str]
    trainings: Sequence[Sequence[Track]] = ()
    recipe: Recipe = field(default_factory=Recipe)
    max_bad: float = 0.1
    heard: Sequence[Sequence[str]] = ()
    strict: bool = False
    threads: int = 1
    n_jobs: int = 1
    device: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Survey:
    """What is known of tracks that nobody has decoded.

    n_stored : how many have features that are fresh. frames : path -> how many frames it has, or will have. reasons :
    path -> why it cannot be read. new : of the tracks to extract, the bytes of each on the disk.
    """

    n_stored: int
    frames: Mapping[str, int]
    reasons: Mapping[str, str]
    new: Sequence[int]


def survey(paths: Iterable[str], store: FeatureStore, headers: Headers) -> Survey:
    """Look up each distinct path: stored features, or else the header."""
    spec, frames, todo = store.spec, {}, []
    distinct = dict.fromkeys(paths)
    progress = Progress("check", len(distinct), unit="tracks")
    for path in distinct:
        stored = store.fresh(path, content_decides=False)
        if stored:
            frames[path] = stored.n_frames
        else:
            todo.append(path)
        progress.advance()
    progress.close()
    n_stored, reasons, new = len(frames), {}, []
    for path, header in headers.of(todo).items():
        if isinstance(header, str):
            reasons[path] = header
            continue
        frames[path] = spec.frames_in(header.duration_s)
        new.append(-(-(_HEADER_BYTES + 4 * spec.n_bands * frames[path]) // _BLOCK) * _BLOCK)
    return Survey(n_stored, frames, reasons, new)


def check(run: Run, headers: Headers) -> list[Finding]:
    """Everything that can be known of a run, worst first; faults in the order in which they would end it."""
    known = survey(run.paths, FeatureStore(run.scratch, run.spec), headers)
    found = [*_versions(run), *_device(run), *_disk(run, known), *_audio(run, known), *_processors(run)]
    return worst_first([*found, *_memory(run, known)])


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.severity)


def read_lists(paths: Sequence[str], groups: str | None = None) -> tuple[list[TaskList], list[Finding]]:
    """The lists that have no fault, and what is to be said of all; of `groups`, a list as --groups, only its faults."""
    read: list[TaskList] = []
    findings: list[Finding] = []
    for path in dict.fromkeys([*paths, *([groups] if groups else [])]):
        try:
            if path == groups:
                lists.read_labelled(path, min_classes=1, for_evaluator=False)
            else:
                read.append(kinds.read(path))
        except ListError as error:
            findings += [Finding(FAULT, line, ListError) for line in str(error).splitlines()]
    findings += [Finding(WARNING, line, ListError) for line in kinds.warnings_of(read)]
    for each, kind in zip(kinds.sort_out(read), ("feature", "training", "test"), strict=True):
        for found in each:
            classes = f" of {len({track.label for track in found.tracks})} classes" if found.labelled else ""
            findings.append(Finding(FACT, f"{found.path}: a {kind} list, {len(found.where)} tracks{classes}"))
    return read, findings


def _versions(run: Run) -> Iterator[Finding]:
    """Packages that are missing or older than they may be. What a run loads at its beginning is there."""
    keras = run.device is not None and engines.needs_keras(run.device, run.recipe.networks)
    later = {
        "keras": keras,
        "tensorflow": keras and os.environ.get("KERAS_BACKEND") in (None, "", "tensorflow"),
        "matplotlib": bool(run.trainings),
        "scikit-learn": bool(run.trainings and run.recipe.patience),
        "scipy": bool(run.trainings and run.recipe.patience),
    }
    wrong = [package for package in installation.packages() if not package.fits]
    for package in wrong:
        fatal = not package.found and later.get(package.name, False)
        text = f"{package.name} {package.found or 'is not installed'}: {package.needed} is needed"
        yield Finding(FAULT if fatal else WARNING, f"{text}: {installation.install_command()}", UsageError)
    if not wrong:
        yield Finding(FACT, "packages: all that are needed, in versions that will do")


def _device(run: Run) -> Iterator[Finding]:
    try:
        engines.check_device(run.device or "cpu")
    except DeviceError as error:
        yield Finding(FAULT, str(error), DeviceError)


def _disk(run: Run, known: Survey) -> Iterator[Finding]:
    """What features, the mapped frames of a training, and the models will take, against what is free."""
    try:
        free, free_files = machine.disk_room(run.scratch)
    except StorageError as error:
        writes = bool(known.new or run.trainings or not run.paths)  # a classification of stored tracks does not
        yield Finding(FAULT if writes else WARNING, str(error), StorageError)
        return
    features = sum(known.new)
    mapped = max((_mapped_bytes(run, known, tracks) for tracks in run.trainings), default=0)
    models = sum(_model_bytes(run, tracks) for tracks in run.trainings)
    need = features + mapped + models
    states = models * (KEPT + 1) * (2 if run.recipe.patience else 1)  # without them a training goes on too
    added = ", ".join(set(run.recipe.networks) - set(ARCHITECTURES)) if run.trainings else ""
    said = (
        f"{run.scratch}: about {size(need + states)} are needed ({size(features)} for features, {size(mapped)} for the "
        f"frames of a training, {size(models + states)} for models and their states"
        f"{f', and what model {added} takes, which is known when it is built' if added else ''}), {size(free)} are free"
    )
    if need > free:
        yield Finding(FAULT, f"{said}: free some space or choose another scratch folder", StorageError)
    elif need + states > free:
        yield Finding(WARNING, f"{said}: a kill will cost more of a training: free some space", StorageError)
    else:
        yield Finding(FACT, said)
    if free_files is not None and len(known.new) > free_files:
        what = f"{len(known.new):,} files are needed, one a track, and the disk can take {free_files:,} more"
        yield Finding(FAULT, f"{run.scratch}: {what}: choose another scratch folder", StorageError)


def _mapped_bytes(run: Run, known: Survey, tracks: Sequence[Track]) -> int:
    frames = [known.frames[track.path] for track in tracks if track.path in known.frames]
    segments = sum(n_segments(n, run.spec, run.recipe) for n in frames)
    return 4 * run.spec.n_bands * sum(frames) + _SEGMENT_BYTES * segments


def _model_bytes(run: Run, tracks: Sequence[Track]) -> int:
    sizes = {"n_bands": run.spec.n_bands, "n_frames": run.spec.n_frames}
    n_classes = len({track.label for track in tracks})
    known = [network for network in run.recipe.networks if network in ARCHITECTURES]
    shapes = [weight_shapes(network, **sizes, n_classes=n_classes) for network in known]
    return 4 * sum(math.prod(shape) for each in shapes for shape in each.values())


def _audio(run: Run, known: Survey) -> Iterator[Finding]:
    """Each track that cannot be read, and whether they are too many."""
    for path, reason in known.reasons.items():
        yield Finding(WARNING, f"{run.where.get(path, '')}{path}: {reason}", AudioError)
    demands = [
        functools.partial(enough_to_train, tracks, [t for t in tracks if t.path not in known.reasons], run.max_bad)
        for tracks in run.trainings
    ]
    demands += [
        functools.partial(enough_usable, paths - known.reasons.keys(), paths, strict=run.strict)
        for paths in map(set, run.heard)
    ]
    for demand in demands:
        try:
            demand()
        except AudioError as error:
            yield Finding(FAULT, str(error), AudioError)
    n_readable = len(known.frames)
    if n_readable:
        text = f"{n_readable:,} tracks can be read: {known.n_stored:,} are stored, {len(known.new):,} to extract"
        yield Finding(FACT, f"{text} at {run.spec.rate_hz} Hz")


def _processors(run: Run) -> Iterator[Finding]:
    n = machine.processors()
    wanted = max(run.threads, run.n_jobs)
    text = f"{wanted} threads or processes on {n} processors that this process may use"
    if wanted > n:
        yield Finding(WARNING, f"{text}: they hinder each other: give {n} with -numThreads or --jobs", UsageError)
    else:
        yield Finding(FACT, text)


def _memory(run: Run, known: Survey) -> Iterator[Finding]:
    keras = run.device is not None and engines.needs_keras(run.device, run.recipe.networks)
    n_workers = min(machine.processors() if run.n_jobs < 0 else run.n_jobs, len(known.new))
    extraction = n_workers * (_WORKER_BYTES + max(known.new, default=0))
    n_tracks = max(map(len, run.trainings), default=0)
    network = (_KERAS_BYTES if keras else _NATIVE_BYTES) + _TRACK_BYTES * n_tracks if run.device else 0
    need = max(extraction, network)  # one after the other
    room = machine.memory_room()
    by = min(room, key=room.__getitem__, default="")
    text = f"memory: about {size(need)} are needed"
    if by and need > room[by]:
        what = "end other programs, or give fewer processes with -numThreads or --jobs"
        yield Finding(WARNING, f"{text}, and {by} leaves {size(room[by])}: {what}")
    elif by:
        yield Finding(FACT, f"{text}, and {by} leaves {size(room[by])}")
