"""The options of folds, evaluation and cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirex_submission.protocol.tables import TableOptions
from mirex_submission.system import option as opt
from mirex_submission.system.option import Options, integer_between, option

GROUPS = ("folder", "auto")


@dataclass(frozen=True)
class FoldsOptions(TableOptions):
    """Options of `folds`: exactly one source, and `out` or `check`.

    Parameters
    ----------
    labelled : str, optional
        Source: a table with columns path and label, or a folder.
    from_folders : str, optional
        Source: a folder that holds a folder for each class.
    from_mirdata : (str, str), optional
        Source: name of a loader of mirdata, and folder of its data.
    groups : {"folder", "auto"}, optional
        Keep the tracks of one folder below their class, such as that of an artist, on one side; with "auto" where each
        class has two of these or more, and each fold one.
    group_column : str, optional
        Column, or attribute of mirdata's tracks, whose equal values stay on one side.
    path_column, label_column, root : str, optional
        As TableOptions.
    out : str, optional
        Folder for the lists.
    check : str, optional
        Folder of lists to check instead of making any.
    folds, repeat : int
        Folds of a repeat, and repeats.
    seed : int
        Random seed.
    """

    labelled: str | None = None
    from_mirdata: tuple[str, str] | None = None
    from_folders: str | None = option(
        None, "instead: audio below DIR, a folder for each class", convert=opt.path, metavar="DIR"
    )
    groups: str | None = option(
        None, "keep together what lies in one folder below its class; auto: if classes have enough", choices=GROUPS
    )
    group_column: str | None = option(
        None,
        "column that keeps tracks together, such as artist (default: none)",
        convert=str,
        metavar="COLUMN",
        flag="--group",
    )
    out: str | None = option(None, "folder for the lists", convert=opt.path, metavar="DIR")
    check: str | None = option(None, "check the lists in DIR instead of making any", convert=opt.path, metavar="DIR")
    folds: int = option(3, "number of folds", convert=opt.integer, metavar="K")
    repeat: int = option(1, "number of times to draw folds", convert=opt.integer, metavar="R")
    seed: int = option(0, "random seed", convert=opt.seed, metavar="N")


@dataclass(frozen=True)
class EvaluateOptions(Options):
    """Options of `evaluate`.

    Parameters
    ----------
    seed : int
        Seed of the bootstrap intervals.
    strict : bool
        Raise ListError, once all is written, if the evaluator would fail on anything.
    """

    seed: int = option(0, "random seed of the bootstrap intervals", convert=opt.seed, metavar="N")
    strict: bool = option(False, "status 3 if the evaluator would fail on anything")


@dataclass(frozen=True)
class CrossvalOptions(EvaluateOptions):
    """Options of `crossval`.

    Parameters
    ----------
    submissions : sequence of (str or None, str)
        Name (None: that of the folder) and folder of each system; by default this program alone.
    recipes : sequence of str
        Recipes of this program, each a system of that name.
    train_options, classify_options : sequence of (str, sequence of str)
        Name of a system, and more options for its train and its classify script.
    jobs : int
        Folds side by side.
    threads : int
        -numThreads of each step.
    device : str
        --device of our own scripts; with "cpu" no system sees a GPU.
    time_limit : str or float, optional
        Time after which a step is ended: seconds, or text such as "20h".
    """

    submissions: Sequence[tuple[str | None, str]] = ()
    recipes: Sequence[str] = ()
    train_options: Sequence[tuple[str, Sequence[str]]] = ()
    classify_options: Sequence[tuple[str, Sequence[str]]] = ()
    threads: int = 1
    jobs: int = option(1, "folds side by side, -numThreads each", convert=integer_between(1), metavar="J")
    device: str = option(
        "auto",
        "device of our own scripts; with cpu no system sees a GPU",
        convert=opt.device,
        metavar="auto|cpu|gpu|gpu:1,2",
    )
    time_limit: float | None = option(
        None, "end a step after this time: 20h, 90m, 30s", convert=opt.positive_seconds, metavar="TIME"
    )
