"""An audit as `audit.json`: the classes below are the format; they write the file and read it."""

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
    """Something in the data that a score may be owed to. Fields that are UNSET are no part of the file.

    Parameters
    ----------
    code : str
        Stable code of the problem, as docs/problems.md lists it.
    severity : {"note", "warning", "error"}
        An error is a contradiction in the data; a warning can raise a score; a note is good to know.
    message : str
        What it is, why it matters, and what to do.
    paths : list of str
        The tracks, as the lists spell them.
    labels : list of str
        The label of each path.
    folds : list of str
        The folds whose training and test tracks it joins.
    offsets_s : list of float
        Of copies: where each path begins, in seconds after the one that begins first.
    group : str
        The artist, album or name that the tracks share.
    feature : str
        Of shortcuts: the feature that predicts the label.
    suggested : list of str
        Of doubtful labels: the label of each path that the systems give it.
    margins : list of float
        Of doubtful labels: probability of each path's label minus the highest one of another label.
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
    """How well something that is no music predicts the label under the same folds.

    Parameters
    ----------
    feature : str
        Name of the feature; "all" for all of them together.
    accuracy : float
        Share of the test tracks that it predicts right.
    interval : (float, float)
        95 % interval of the accuracy.
    chance : float
        Accuracy of always answering one label: the most frequent one of the fold's training tracks or of all test
        tracks, whichever is more often right.
    chance_interval : (float, float)
        95 % interval of chance.
    n_tests : int
        Number of tests, over all folds.
    best_system, best_accuracy : str, float
        The system with the highest accuracy, where outputs are given.
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
    """All that an audit finds.

    Parameters
    ----------
    problems : list of Problem
        In the order of the checks.
    shortcuts : list of Shortcut
        All of them together first.
    folds : list of str
        Names of the folds.
    n_tracks, n_unreadable : int
        Distinct tracks, and those of them whose audio cannot be decoded.
    command : list of str
        The command that asked for it.
    versions : dict of str to str
        What made it.
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
        The file cannot be read, or `audit` cannot have written it.
    """
    try:
        return read_record(path, Audit)
    except OSError as error:
        text = f"{path}: cannot be read: {reason_of(error)}: give the folder that `audit --out` wrote"
        raise ListError(text, code="audit.missing") from error
    except ValueError as error:
        text = f"{path}: {error}: not as this version's `audit` writes it: run `audit` again"
        raise ListError(text, code="audit.invalid") from error
