"""Find the problems of a planned run before hours of work.

The checks write nothing and read only what the run would read: the stored features of a track if they are fresh, else
the header of the track. A problem is only a warning if it is estimated (memory) or if the run can continue despite it.
"""

from __future__ import annotations

import functools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirex_submission.errors import AudioError, DeviceError, MirexError, ResourceError, StorageError, UsageError, coded
from mirex_submission.features import kernel
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec, Spec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.networks.sizes import ARCHITECTURES, weight_shapes
from mirex_submission.preflight.limits import check_readable, check_trainable
from mirex_submission.protocol.lists import Track
from mirex_submission.system import installation, machine
from mirex_submission.system.environment import check_address_space
from mirex_submission.system.machine import size
from mirex_submission.system.progress import Progress
from mirex_submission.training.checkpoint import KEPT
from mirex_submission.training.projection import MOST_COMPONENTS
from mirex_submission.training.recipe import AnyRecipe, Recipe, ViewRecipe
from mirex_submission.training.segments import n_segments
from mirex_submission.training.svm import MOST_TRACKS

ERROR, WARNING, NOTE = logging.ERROR, logging.WARNING, logging.INFO

log = logging.getLogger(__name__)

_BLOCK = 4096  # bytes of one block of the disk
_HEADER_BYTES = 600  # of a stored file
_SEGMENT_BYTES = 12  # in mapped files: start, class and place in the order
# Measured memory (docs/evaluators.md): a process that trains with the native kernel, one that trains with Keras, and
# each training track; a process that extracts features, without the frames of its longest track.
_NATIVE_BYTES, _KERAS_BYTES, _TRACK_BYTES = 120e6, 900e6, 800
_WORKER_BYTES = 60e6 if kernel.compiled else 250e6
_FIT_BYTES = 120e6  # scikit-learn and SciPy
_VIEW_WORKER_BYTES = 230e6 if kernel.compiled else 420e6  # a process that computes views, for tracks of any length


@dataclass(frozen=True)
class Problem:
    """One result of a check.

    Parameters
    ----------
    severity : int
        ERROR: the run would end. WARNING: the run can continue. NOTE: no problem.
    text : str
        Place, problem, and what to do.
    kind : type of MirexError
        Error that the run would raise for an ERROR.
    """

    severity: int
    text: str
    kind: type[MirexError] = MirexError


@dataclass(frozen=True)
class PlannedRun:
    """Settings of a run, or of several runs over the same lists, which are needed to check it.

    Parameters
    ----------
    scratch : Path
        Folder of features and models.
    specs : tuple of Spec
        Features that the run needs.
    paths : sequence of str
        All tracks whose features are needed.
    trainings : sequence of sequences of Track
        Tracks of each training.
    recipe : Recipe or ViewRecipe
        Recipe of the trainings.
    max_bad : float
        Share of the tracks of a training that may be unreadable.
    readable : sequence of sequences of str
        Lists of which at least half of the tracks (with `strict` all) must be readable.
    strict : bool
        Whether a single unreadable track is an error.
    threads : int
        Threads of training and classification.
    n_jobs : int
        Processes that extract on this machine, as joblib counts them; 0 on a cluster.
    device : str, optional
        Device of the networks; None if no network is computed.
    engine : {"auto", "native", "keras"}
        Engine of the networks.
    line_of : mapping of str to str
        `file:line: ` of each path, for messages.
    """

    scratch: Path
    specs: tuple[Spec, ...]
    paths: Sequence[str]
    trainings: Sequence[Sequence[Track]] = ()
    recipe: AnyRecipe = field(default_factory=Recipe)
    max_bad: float = 0.1
    readable: Sequence[Sequence[str]] = ()
    strict: bool = False
    threads: int = 1
    n_jobs: int = 1
    device: str | None = None
    engine: str = "auto"
    line_of: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_keras(self) -> bool:
        """Whether the run loads Keras."""
        if self.device is None or not self.recipe.networks:
            return False
        return engines.needs_keras(self.device, self.recipe.networks, self.engine)


@dataclass(frozen=True)
class Survey:
    """Numbers and sizes of tracks, known without decoding them.

    Parameters
    ----------
    n_stored : int
        Tracks with fresh features.
    frames : mapping of str to int
        Number of rows (frames, or windows of views) of each track, stored or expected.
    reasons : mapping of str to str
        Why a track is unreadable.
    new : sequence of int
        Bytes on the disk for each track to extract.
    new_s : float
        Seconds of audio to extract.
    """

    n_stored: int
    frames: Mapping[str, int]
    reasons: Mapping[str, str]
    new: Sequence[int]
    new_s: float


def survey(paths: Iterable[str], stores: Sequence[FeatureStore[Spec]], headers: Headers) -> Survey:
    """Look up each distinct path: stored features, or else the header."""
    frames, todo = {}, []
    distinct = dict.fromkeys(paths)
    progress = Progress("check", len(distinct), unit="tracks")
    for path in distinct:
        stored = [store.fresh(path, content_decides=False) for store in stores]
        if stored[0] and all(stored):
            frames[path] = stored[0].n_frames
        else:
            todo.append(path)
        progress.advance()
    progress.close()
    n_stored, reasons, new, new_s = len(frames), {}, [], 0.0
    for path, header in headers.of(todo).items():
        if isinstance(header, str):
            reasons[path] = header
            continue
        specs, duration_s = [store.spec for store in stores], header.duration_s
        frames[path] = specs[0].rows_in(duration_s)
        sizes = [_HEADER_BYTES + 4 * spec.n_columns * spec.rows_in(duration_s) for spec in specs]
        new_s += duration_s
        new.append(sum(-(-size // _BLOCK) * _BLOCK for size in sizes))
    return Survey(n_stored, frames, reasons, new, new_s)


def check(run: PlannedRun, headers: Headers) -> list[Problem]:
    """Check a run and return its problems; errors first, in the order in which they would end the run."""
    known = survey(run.paths, [FeatureStore(run.scratch, spec) for spec in run.specs], headers)
    problems = [*_versions(run), *_device(run), *_disk(run, known), *_audio(run, known), *_processors(run)]
    return worst_first([*problems, *_memory(run, known)])


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by severity and keep the order of equal ones."""
    return sorted(problems, key=lambda problem: -problem.severity)


def begin(run: PlannedRun, headers: Headers) -> None:
    """Check a run and log its warnings.

    Raises
    ------
    MirexError
        The error of the first problem that would end the run; its message has all problems that would.
    """
    problems = check(run, headers)
    errors = [problem for problem in problems if problem.severity == ERROR]
    for problem in problems:
        if problem.severity == NOTE:
            log.debug("check: %s", problem.text)
        # If the run continues, it logs each unreadable track itself.
        elif problem.severity == WARNING and (errors or problem.kind is not AudioError):
            log.warning("%s", problem.text)
    if errors:
        advice = "the run did not start; --no-check (no_check=True) skips this check, but then the run may fail later"
        raise errors[0].kind("\n".join([*(error.text for error in errors), advice]))


def _versions(run: PlannedRun) -> Iterator[Problem]:
    """Check the packages that the run imports late; those that it imports at its start are installed."""
    fits = bool(run.trainings and (isinstance(run.recipe, ViewRecipe) or run.recipe.patience))
    needed_late = {
        "keras": run.needs_keras,
        "tensorflow": run.needs_keras and os.environ.get("KERAS_BACKEND") in (None, "", "tensorflow"),
        "matplotlib": bool(run.trainings and run.recipe.networks),
        "scikit-learn": fits,
        "scipy": fits or isinstance(run.recipe, ViewRecipe),
    }
    unfit = [package for package in installation.packages() if not package.fits]
    for package in unfit:
        fatal = not package.version and needed_late.get(package.name, False)
        text = f"{package.name} {package.version or 'is not installed'}, but {package.needed} is needed"
        text = coded(f"{text}: {installation.install_command()}", code="check.package")
        yield Problem(ERROR if fatal else WARNING, text, UsageError)
    if not unfit:
        yield Problem(NOTE, "packages: all are installed in suitable versions")


def _device(run: PlannedRun) -> Iterator[Problem]:
    if not run.recipe.networks:  # views need no device
        return
    try:
        engines.check_device(run.device or "cpu")
        if run.needs_keras:
            check_address_space(run.threads, keras=True)
    except (DeviceError, ResourceError) as error:
        yield Problem(ERROR, str(error), type(error))


def _disk(run: PlannedRun, known: Survey) -> Iterator[Problem]:
    """Compare the space for features, mapped frames of a training and models with the free space of the disk."""
    try:
        free, free_files = machine.disk_room(run.scratch)
    except StorageError as error:
        writes = bool(known.new or run.trainings or not run.paths)  # classifying stored tracks writes nothing there
        yield Problem(ERROR if writes else WARNING, str(error), StorageError)
        return
    features = sum(known.new)
    mapped = max((_mapped_bytes(run, known, tracks) for tracks in run.trainings), default=0)
    models = sum(_model_bytes(run, tracks) for tracks in run.trainings)
    need = features + mapped + models
    checkpoints = 0
    if isinstance(run.recipe, Recipe):  # a training can run without checkpoints
        checkpoints = models * (KEPT + 1) * (2 if run.recipe.patience else 1)
    added = ", ".join(set(run.recipe.networks) - set(ARCHITECTURES)) if run.trainings else ""
    unknown = f", and the size of model {added} is not known yet" if added else ""
    text = (
        f"{run.scratch}: needs about {size(need + checkpoints)} ({size(features)} for features, {size(mapped)} for the "
        f"frames of a training, {size(models + checkpoints)} for models and checkpoints{unknown}), "
        f"{size(free)} are free"
    )
    if need > free:
        text = coded(f"{text}: free some space or choose another scratch folder", code="disk.space")
        yield Problem(ERROR, text, StorageError)
    elif need + checkpoints > free:
        text = f"{text}: no room for checkpoints, so an interrupted training starts from scratch: free some space"
        yield Problem(WARNING, coded(text, code="disk.checkpoints"), StorageError)
    else:
        yield Problem(NOTE, text)
    if free_files is not None and len(known.new) > free_files:
        text = f"{run.scratch}: needs {len(known.new):,} files, one per track, but the disk has room for {free_files:,}"
        text = coded(f"{text}: choose another scratch folder", code="disk.files")
        yield Problem(ERROR, text, StorageError)


def _mapped_bytes(run: PlannedRun, known: Survey, tracks: Sequence[Track]) -> int:
    spec = run.specs[0]
    if not isinstance(run.recipe, Recipe) or not isinstance(spec, FeatureSpec):
        return 0
    frames = [known.frames[track.path] for track in tracks if track.path in known.frames]
    segments = sum(n_segments(n, spec, run.recipe) for n in frames)
    return 4 * spec.n_bands * sum(frames) + _SEGMENT_BYTES * segments


def _model_bytes(run: PlannedRun, tracks: Sequence[Track]) -> int:
    n_classes, spec = len({track.label for track in tracks}), run.specs[0]
    if not isinstance(spec, FeatureSpec):
        n_components = MOST_COMPONENTS * len(run.specs)
        n_vectors = min(len(tracks), MOST_TRACKS)
        return 8 * (n_vectors * (n_components + n_classes) + MOST_COMPONENTS * sum(s.n_columns for s in run.specs))
    sizes = {"n_bands": spec.n_bands, "n_frames": spec.n_frames}
    known = [network for network in run.recipe.networks if network in ARCHITECTURES]
    shapes = [weight_shapes(network, **sizes, n_classes=n_classes) for network in known]
    return 4 * sum(math.prod(shape) for weights in shapes for shape in weights.values())


def _audio(run: PlannedRun, known: Survey) -> Iterator[Problem]:
    """Yield the unreadable tracks, and an error if they are too many."""
    for path, reason in known.reasons.items():
        yield Problem(WARNING, f"{run.line_of.get(path, '')}{path}: {reason}", AudioError)
    limits = [
        functools.partial(check_trainable, tracks, [t for t in tracks if t.path not in known.reasons], run.max_bad)
        for tracks in run.trainings
    ]
    limits += [
        functools.partial(check_readable, paths - known.reasons.keys(), paths, strict=run.strict)
        for paths in map(set, run.readable)
    ]
    for check_limit in limits:
        try:
            check_limit()
        except AudioError as error:
            yield Problem(ERROR, str(error), AudioError)
    n_readable = len(known.frames)
    if n_readable:
        text = f"{n_readable:,} tracks are readable: {known.n_stored:,} are stored, {len(known.new):,} to extract"
        yield Problem(NOTE, f"{text} at {run.specs[0].rate_hz} Hz")


def _processors(run: PlannedRun) -> Iterator[Problem]:
    n = machine.processors()
    n_wanted = max(run.threads, run.n_jobs)
    text = f"{n_wanted} threads or processes on {n} processors"
    if n_wanted > n:
        text = coded(f"{text}: they slow each other down: give -numThreads {n}", code="check.processors")
        yield Problem(WARNING, text, UsageError)
    else:
        yield Problem(NOTE, text)


def _memory(run: PlannedRun, known: Survey) -> Iterator[Problem]:
    n_workers = min(machine.processors() if run.n_jobs < 0 else run.n_jobs, len(known.new))
    of_views = not isinstance(run.specs[0], FeatureSpec)
    extraction = n_workers * (_VIEW_WORKER_BYTES if of_views else _WORKER_BYTES + max(known.new, default=0))
    n_tracks = max(map(len, run.trainings), default=0)
    network = (_KERAS_BYTES if run.needs_keras else _NATIVE_BYTES) + _TRACK_BYTES * n_tracks if run.device else 0
    if of_views and n_tracks:
        network += _FIT_BYTES
    if of_views:  # vectors, their components, and the kernel matrix of all pairs of tracks, up to a limit
        network += n_tracks * (8 * sum(spec.n_columns for spec in run.specs) + 8 * min(n_tracks, MOST_TRACKS))
    need = max(extraction, network)  # extraction ends before the training starts
    room = machine.memory_room()
    bound = min(room, key=room.__getitem__, default="")
    text = f"memory: about {size(need)} are needed"
    if bound and need > room[bound]:
        advice = "end other programs, or give a smaller -numThreads"
        yield Problem(WARNING, coded(f"{text}, but {bound} leaves {size(room[bound])}: {advice}", code="check.memory"))
    elif bound:
        yield Problem(NOTE, f"{text}, and {bound} leaves {size(room[bound])}")
