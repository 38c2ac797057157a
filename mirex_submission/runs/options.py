"""The options of the runs: one frozen dataclass for each subject.

Their defaults are those of the shell scripts, of Python and of MirexClassifier alike.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirex_submission.errors import UsageError
from mirex_submission.features.spec import (
    DEFAULT_BANDS,
    DEFAULT_FRAMES,
    MAX_BANDS,
    MAX_FRAMES,
    VIEW_RATES_HZ,
    WORKING_RATES_HZ,
)
from mirex_submission.protocol.answers import FORMATS
from mirex_submission.system import environment
from mirex_submission.system import option as opt
from mirex_submission.system.cluster import ClusterOptions
from mirex_submission.system.option import Options, converted, flag_of, integer_between, option
from mirex_submission.training.recipe import VOTES, AnyRecipe, Recipe, model

ENGINES = ("auto", "native", "keras")


def shard(value: Any) -> tuple[int, int]:
    """Convert I/N to (I, N)."""
    text = value if isinstance(value, str) else "/".join(map(str, value))
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"{text!r}: give I/N with I from 1 to N, such as 2/3")
    return int(match[1]), int(match[2])


def _name() -> Any:
    return option(None, "name of the model, to keep several in one scratch folder", convert=opt.file_name)


@dataclass(frozen=True)
class RunOptions(Options):
    """How a run uses the machine, and what it tolerates.

    Parameters
    ----------
    threads : int
        Threads and processes for everything; default: the processors that may be used, at most 4.
    device : str, optional
        "auto", "cpu", "gpu", or "gpu:1,2"; default: $MIREX_DEVICE, or "auto".
    engine : {"auto", "native", "keras"}
        What computes networks; "auto": the native kernel on a CPU, Keras on a GPU or with $KERAS_BACKEND.
    strict : bool
        End with status 4 if any track is unreadable.
    no_check : bool
        Skip the check of disk, memory and audio headers before the run.
    track_limit : float
        Most seconds for decoding a track and computing its features; beyond, it is unreadable.
    """

    threads: int = option(
        environment.default_threads(), "threads and processes for everything", convert=opt.threads, metavar="N",
        flag="-numThreads",
    )  # fmt: skip
    device: str | None = option(
        None, "auto: a GPU if there is one (default: $MIREX_DEVICE or auto)", convert=opt.device,
        metavar="auto|cpu|gpu|gpu:1,2",
    )  # fmt: skip
    engine: str = option("auto", "auto: native on a CPU, Keras on a GPU or with $KERAS_BACKEND", choices=ENGINES)
    strict: bool = option(False, "status 4 if any track is unreadable")
    no_check: bool = option(False, "skip the check of disk, memory and audio headers")
    track_limit: float = option("30m", "most time to extract one track", convert=opt.positive_seconds, metavar="TIME")

    @property
    def chosen_device(self) -> str:
        """The device as given, or else $MIREX_DEVICE, or else "auto"."""
        if self.device is not None:
            return self.device
        try:
            return opt.device(os.environ.get("MIREX_DEVICE") or "auto")
        except ValueError as error:
            raise UsageError(f"$MIREX_DEVICE: {error}", code="usage.option") from error


@dataclass(frozen=True)
class FeatureOptions(Options):
    """Sizes of the log-Mel features.

    Parameters
    ----------
    rate : str or int
        Working sampling rate in Hz, or "auto": the highest of 11025, 22050 and 44100 that 95 % of the files reach.
    bands : int
        Mel bands.
    frames : int
        Frames a segment.
    """

    rate: str = option("auto", "working sampling rate in Hz", choices=("auto", *map(str, WORKING_RATES_HZ)))
    bands: int = option(DEFAULT_BANDS, "Mel bands", convert=integer_between(1, MAX_BANDS), metavar="N")
    frames: int = option(DEFAULT_FRAMES, "frames a segment", convert=integer_between(1, MAX_FRAMES), metavar="N")


@dataclass(frozen=True)
class ExtractionOptions(ClusterOptions):
    """Where and how features are extracted.

    Parameters
    ----------
    backend : {"loky", "dask", "ray"}
        This machine, or a cluster.
    scheduler : str, optional
        Address of the Dask scheduler or the Ray head.
    shard : str or (int, int)
        "I/N": extract only the I-th of N shares of the tracks.
    verify : bool
        Read all stored features and their audio, and extract damaged ones again.
    plot : path, optional
        Folder for a picture of each track.
    """

    shard: tuple[int, int] = option("1/1", "extract only the I-th of N shares", convert=shard, metavar="I/N")
    verify: bool = option(False, "check all stored features and their audio, repair damage")
    plot: Path | None = option(
        None, "folder for a picture of each track", convert=lambda p: Path(opt.path(p)), metavar="DIR"
    )


@dataclass(frozen=True)
class TrainingOptions(Options):
    """How a training runs; what it computes is in the Recipe.

    Parameters
    ----------
    name : str, optional
        Name of the model in the scratch folder.
    groups : list or "folder", optional
        A list of path and group, such as artists: held-out tracks share no group with the others. "folder": the folders
        below those of the classes, where the training list is a folder.
    max_bad : float
        Most training tracks that may be unreadable, in percent.
    restart : bool
        Ignore checkpoints and train from scratch.
    time_limit : str or float, optional
        Stop after this time and keep the model: seconds, or text such as "20h".
    checkpoint_every : str or float
        Minimum time between checkpoints.
    tensorboard : path, optional
        Folder for TensorBoard's events.
    no_picture : bool
        Do not draw history.png.
    calibrate : bool
        Hold out a fifth of the tracks to calibrate the model: its probabilities, and sets of labels.

    Examples
    --------
    >>> from mirex_submission import TrainingOptions
    >>> TrainingOptions(name="fold1", time_limit="20h").time_limit  # seconds
    72000.0
    """

    name: str | None = _name()
    groups: str | os.PathLike[str] | Iterable[Any] | None = option(
        None,
        "list of path<TAB>group, such as artists, never split when tracks are held out; or: folder",
        metavar="FILE|folder",
    )
    max_bad: float = option(10.0, "most training tracks that may be unreadable", convert=opt.percent, metavar="PERCENT")
    restart: bool = option(False, "ignore checkpoints and train from scratch")
    time_limit: float | None = option(
        None, "stop after this time and keep the model: 20h, 90m, 30s", convert=opt.seconds, metavar="TIME"
    )
    checkpoint_every: float = option("5m", "minimum time between checkpoints", convert=opt.seconds, metavar="TIME")
    tensorboard: Path | None = option(
        None, "folder for TensorBoard's events", convert=lambda p: Path(opt.path(p)), metavar="DIR"
    )
    no_picture: bool = option(False, "do not draw history.png")
    calibrate: bool = option(False, "hold out a fifth of the tracks to calibrate the model")


@dataclass(frozen=True)
class ClassificationOptions(Options):
    """How a test list is classified.

    Parameters
    ----------
    name : str, optional
        Name of the model in the scratch folder.
    model : str or int, optional
        One network of a model that was trained with "all"; default: all that were trained.
    vote : {"mean", "majority"}, optional
        How the segments of a track decide its class; default: as trained.
    probabilities : path, optional
        CSV file for the class probabilities.
    format : {"mirex", "csv", "jsonl"}
        Format of the output: `path<TAB>label` a line; or with class probabilities, seconds and notes.
    confidence : float, optional
        Between 0 and 1: add the set of labels that holds the truth with this probability. The model has to be
        calibrated, and `format` "csv" or "jsonl".
    """

    name: str | None = _name()
    model: str | None = option(
        None, "one network of a model `all` (default: as trained)", convert=model, metavar="1|2|3|all|NAME"
    )
    vote: str | None = option(None, "how segments decide a track (default: as trained)", choices=VOTES)
    probabilities: str | None = option(None, "CSV file for the class probabilities", convert=opt.path, metavar="CSV")
    format: str = option("mirex", "format of OUTPUT: csv and jsonl hold probabilities, seconds, notes", choices=FORMATS)
    confidence: float | None = option(
        None, "add the set of labels that holds the truth with this probability", convert=opt.share, metavar="P"
    )


HARNESSES = ("plain", "grand-challenge", "dcase")


def _label(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]\w*", value, re.ASCII):
        raise ValueError(f"{value!r}: give a name that Python can import: letters, digits and '_'")
    return value


@dataclass(frozen=True)
class PackOptions(Options):
    """What a packed submission is like.

    Parameters
    ----------
    name : str, optional
        Name of the model in the scratch folder.
    harness : {"plain", "grand-challenge", "dcase"}
        Who calls it: a command line; /input and /output; or Python.
    offline : bool
        Take the installed packages instead of downloading their wheels.
    author : str, optional
        Names and addresses for README.md.
    label : str
        Name of the Python package for DCASE.
    """

    name: str | None = _name()
    harness: str = option("plain", "who calls the submission", choices=HARNESSES, flag="--for")
    offline: bool = option(False, "take installed packages instead of downloading wheels")
    author: str | None = option(None, "names and e-mail addresses for README.md", convert=str, metavar="TEXT")
    label: str = option("submission", "name of the Python package for DCASE", convert=_label, metavar="NAME")


def _paths(value: object) -> tuple[str, ...]:
    return tuple(map(opt.path, [value] if isinstance(value, (str, os.PathLike)) else value))  # type: ignore[call-overload]


@dataclass(frozen=True)
class TaskLists(Options):
    """The lists of a task; the k-th test list belongs to the k-th training list.

    Parameters
    ----------
    features, train, test : paths
        List files of each kind.
    """

    features: tuple[str, ...] = option((), "feature lists, one path a line", convert=_paths, metavar="LIST")
    train: tuple[str, ...] = option((), "training lists, path<TAB>label a line", convert=_paths, metavar="LIST")
    test: tuple[str, ...] = option((), "test lists, in the order of the training lists", convert=_paths, metavar="LIST")


def check_recipe(recipe: AnyRecipe, *options: Options) -> None:
    """Check that no option is given that only the recipe of networks has. Raises UsageError."""
    if isinstance(recipe, Recipe):
        return
    for of_subject in options:
        for field in dataclasses.fields(of_subject):
            value = getattr(of_subject, field.name)
            if field.name in _OF_NETWORKS and value != converted(field, field.default):
                raise UsageError(
                    f"{flag_of(field)} is of networks, and the recipe {recipe.name} has none: leave it out",
                    code="usage.other-recipe",
                )
            if field.name == "device" and (value or "").startswith("gpu"):
                raise UsageError(
                    f"--device {value}: the recipe {recipe.name} needs no GPU and uses none: leave it out",
                    code="usage.other-recipe",
                )
            if field.name == "rate" and value not in ("auto", *map(str, VIEW_RATES_HZ)):
                raise UsageError(
                    f"--rate {value}: views are computed at {' or '.join(map(str, VIEW_RATES_HZ))} Hz: give one of "
                    "these, or leave it out",
                    code="usage.other-recipe",
                )


_OF_NETWORKS = (
    "bands", "frames", "time_limit", "checkpoint_every", "tensorboard", "no_picture", "engine", "model", "vote",
)  # fmt: skip
