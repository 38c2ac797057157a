"""The options of folds, evaluation and cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirex_submission.protocol.tables import TableOptions
from mirex_submission.system import option as opt
from mirex_submission.system.cluster import ClusterOptions
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
        Keep the tracks of one folder below their class (for example an artist) in the same fold; with "auto" only if
        every class has at least two such folders, and at least one per fold.
    group_column : str, optional
        Column, or attribute of mirdata's tracks; tracks with equal values stay in the same fold.
    path_column, label_column, root : str, optional
        As TableOptions.
    out : str, optional
        Folder for the lists.
    check : str, optional
        Folder of existing lists to check instead.
    folds, repeat : int
        Number of folds, and number of times to draw them.
    seed : int
        Random seed.
    """

    labelled: str | None = None
    from_mirdata: tuple[str, str] | None = None
    from_folders: str | None = option(
        None, "source: audio below DIR, with one folder per class", convert=opt.path, metavar="DIR"
    )
    groups: str | None = option(
        None, "keep tracks of one folder below their class together; auto: if possible", choices=GROUPS
    )
    group_column: str | None = option(
        None,
        "column whose tracks stay together, such as artist (default: none)",
        convert=str,
        metavar="COLUMN",
        flag="--group",
    )
    out: str | None = option(None, "folder for the lists", convert=opt.path, metavar="DIR")
    check: str | None = option(None, "check the existing lists in DIR instead", convert=opt.path, metavar="DIR")
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
    groups : str, optional
        List of path<TAB>group; adds intervals from a bootstrap over whole groups.
    strata : str, optional
        Table of path and other columns; every value of a column gets figures of its own.
    strict : bool
        After writing all files, raise ListError if the organisers' evaluator would fail or miscount.
    wiki : bool
        Print MediaWiki tables.
    """

    seed: int = option(0, "random seed of the bootstrap intervals", convert=opt.seed, metavar="N")
    groups: str | None = option(
        None, "groups (artists), path<TAB>group: intervals by group", convert=opt.path, metavar="FILE"
    )
    strata: str | None = option(
        None, "table of path and other columns: figures for each value", convert=opt.path, metavar="FILE"
    )
    strict: bool = option(False, "exit with status 3 if the organisers' evaluator would fail")
    wiki: bool = option(False, "print MediaWiki tables, as on MIREX's result pages")


@dataclass(frozen=True)
class CrossvalOptions(ClusterOptions, EvaluateOptions):
    """Options of `crossval`.

    Parameters
    ----------
    submissions : sequence of (str or None, str)
        Name (None: that of the folder) and folder of each system; by default this program alone.
    recipes : sequence of str
        Recipes of this program, each a system of that name.
    train_options, classify_options : sequence of (str, sequence of str)
        Name of a system, and extra options for its train and its classify script.
    jobs : int, optional
        Number of folds to run in parallel; default: 1, on a cluster as many as its workers can take.
    threads : int
        -numThreads of each step.
    device : str
        --device of our own scripts; with "cpu" no system sees a GPU.
    time_limit : str or float, optional
        Time limit of a step: seconds, or text such as "20h".
    stress : {"none", "quick", "all"}
        Stress test on altered audio: none, with one strength of each deformation, or with all strengths.
    stress_limit : str or float, optional
        Time limit of the stress test.
    """

    submissions: Sequence[tuple[str | None, str]] = ()
    recipes: Sequence[str] = ()
    train_options: Sequence[tuple[str, Sequence[str]]] = ()
    classify_options: Sequence[tuple[str, Sequence[str]]] = ()
    threads: int = 1
    jobs: int | None = option(
        None,
        "folds in parallel, -numThreads each (default: 1; on a cluster all)",
        convert=integer_between(1),
        metavar="J",
    )
    device: str = option(
        "auto",
        "device of our own scripts; with cpu no system sees a GPU",
        convert=opt.device,
        metavar="auto|cpu|gpu|gpu:1,2",
    )
    time_limit: float | None = option(
        None, "time limit of a step: 20h, 90m, 30s", convert=opt.positive_seconds, metavar="TIME"
    )
    stress: str = "none"
    stress_limit: float | None = option(
        None, "time limit of the stress test: 20h, 90m, 30s", convert=opt.positive_seconds, metavar="TIME"
    )


@dataclass(frozen=True)
class AuditOptions(Options):
    """Options of `audit`.

    Parameters
    ----------
    groups : sequence of (str, str)
        Name of a grouping, such as artist, and a list of path and group; by default `groups.txt` of the folds.
    outputs : sequence of (str or None, str)
        Name of a system and folder of its outputs; without a name, the folder of one system or of several.
    seed : int
        Random seed.
    strict : bool
        After writing all files, raise ListError if there is any warning.
    threads : int
        Number of files to read in parallel.
    """

    groups: Sequence[tuple[str, str]] = ()
    outputs: Sequence[tuple[str | None, str]] = ()
    seed: int = option(0, "random seed", convert=opt.seed, metavar="N")
    strict: bool = option(False, "exit with status 3 if there is any warning")
    threads: int = 1
