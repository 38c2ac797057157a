"""The file `audit.json`: the classes below define its format, for writing and reading."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.records import Count, Number, Share, read_record

AUDIT = "audit.json"
Severity = Literal["note", "warning", "error"]
Margin = Annotated[float, Meta(ge=-1, le=1)]


class Problem(Struct, frozen=True, kw_only=True):
    """A problem of the data that can raise a score or contradicts labels. UNSET fields are not in the file.

    Parameters
    ----------
    code : str
        Stable code of the problem, as docs/problems.md lists it.
    severity : {"note", "warning", "error"}
        Error: a contradiction in the data; warning: can raise a score; note: for information.
    message : str
        The problem, why it matters, and what to do.
    paths : list of str
        The tracks, as the lists spell them.
    labels : list of str
        The label of each path.
    folds : list of str
        The folds that have some of the tracks in training and others in test.
    offsets_s : list of float
        For copies: begin of each path, in seconds after the path that begins first.
    group : str
        The artist, album or name that the tracks share.
    feature : str
        For shortcuts: the feature that predicts the label.
    suggested : list of str
        For doubtful labels: the label that the systems predict for each path.
    margins : list of float
        For doubtful labels: probability of each path's label minus the highest probability of another label.
    """

    code: str
    severity: Severity
    message: str
    paths: list[str] = msgspec.field(default_factory=list)
    labels: list[str] | UnsetType = UNSET
    folds: list[str] | UnsetType = UNSET
    offsets_s: list[Number] | UnsetType = UNSET
    group: str | UnsetType = UNSET
    feature: str | UnsetType = UNSET
    suggested: list[str] | UnsetType = UNSET
    margins: list[Margin] | UnsetType = UNSET


class Shortcut(Struct, frozen=True, kw_only=True):
    """Accuracy of predicting the label, on the same folds, from a feature that is not music.

    Parameters
    ----------
    feature : str
        Name of the feature; "all" for all features together.
    accuracy : float
        Share of test tracks with a correct prediction.
    interval : (float, float)
        95 % interval of the accuracy.
    chance : float
        Accuracy of always predicting one label: the most frequent label of the fold's training tracks or of all test
        tracks, whichever is higher.
    chance_interval : (float, float)
        95 % interval of chance.
    n_tests : int
        Number of tests, over all folds.
    best_system, best_accuracy : str, float
        The system with the highest accuracy, if outputs are given.
    """

    feature: str
    accuracy: Share
    interval: tuple[Share, Share]
    chance: Share
    chance_interval: tuple[Share, Share]
    n_tests: Count
    best_system: str | UnsetType = UNSET
    best_accuracy: Share | UnsetType = UNSET


class Audit(Struct, frozen=True, kw_only=True):
    """The results of an audit.

    Parameters
    ----------
    problems : list of Problem
        In the order of the checks.
    shortcuts : list of Shortcut
        First all features together, then single features.
    folds : list of str
        Names of the folds.
    n_tracks, n_unreadable : int
        Number of distinct tracks, and of those whose audio is unreadable.
    command : list of str
        The command line.
    versions : dict of str to str
        Versions of this program and of packages.
    """

    problems: list[Problem]
    shortcuts: list[Shortcut]
    folds: list[str]
    n_tracks: Count
    n_unreadable: Count
    command: list[str]
    versions: dict[str, str]


def read_audit(path: Path) -> Audit:
    """Read `audit.json`.

    Raises
    ------
    ListError
        The file cannot be read, or is not in the format of `audit`.
    """
    try:
        return read_record(path, Audit)
    except OSError as error:
        text = f"{path}: cannot be read: {reason_of(error)}: give the folder that `audit --out` wrote"
        raise ListError(text, code="audit.missing") from error
    except ValueError as error:
        text = f"{path}: {error}: this file is not from this version's `audit`: run `audit` again"
        raise ListError(text, code="audit.invalid") from error
