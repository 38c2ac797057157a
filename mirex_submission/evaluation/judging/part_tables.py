"""The further figures as tables: `figures.csv`, `reliability.csv`, and lines to print."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mirex_submission.errors import coded
from mirex_submission.evaluation.judging.evaluate import Evaluation, System
from mirex_submission.evaluation.judging.parts import FIGURES, SHARES, Figure, Part
from mirex_submission.evaluation.judging.tables import write_csv
from mirex_submission.system.atomic import remove
from mirex_submission.system.progress import printable

log = logging.getLogger(__name__)

_BOUNDS = ("Track low", "Track high", "Group low", "Group high")


def write(evaluation: Evaluation, folder: str | os.PathLike[str]) -> None:
    """Write the figures of each system and part, and the bins of the reliability curves; remove outdated files.

    Raises
    ------
    StorageError
        If the files cannot be written.
    """
    parts = [(system.name, part) for system in evaluation.systems for part in system.parts]
    figures = [
        [name, part.kind, part.name, figure, str(_n_tracks(part, figure)), *_cells(part.figures[figure])]
        for name, part in parts
        for figure in part.figures
    ]
    bins = [
        [
            name,
            part.kind,
            part.name,
            *(f"{x:.6g}" for x in (b.low, b.high)),
            str(b.n_tracks),
            *_rounded(b.confidence, b.accuracy),
        ]
        for name, part in parts
        for b in part.reliability
    ]
    header = ["Algorithm", "Kind", "Part", "Figure", "Tracks", "Value", *_BOUNDS]
    _write(Path(folder) / "figures.csv", header, figures)
    header = ["Algorithm", "Kind", "Part", "Low", "High", "Tracks", "Confidence", "Accuracy"]
    _write(Path(folder) / "reliability.csv", header, bins)


def _write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    if rows:
        write_csv(path, header, rows)
    else:  # a file of an earlier evaluation would be mistaken for a result of this one
        remove(path)


def _n_tracks(part: Part, figure: str) -> int:
    return part.n_tracks if figure in ("accuracy", "balanced_accuracy") else part.n_known


def _cells(figure: Figure) -> list[str]:
    by_group = _rounded(*figure.by_group) if figure.by_group else ["", ""]
    return [*_rounded(figure.value, *figure.by_track), *by_group]


def _rounded(*values: float) -> list[str]:
    return [f"{value:.6f}" for value in values]


def summary(evaluation: Evaluation) -> str:
    """Return lines to print: the figures of all tracks and of each stratum; empty if there are none."""
    parts = [(s, part) for s in evaluation.systems for part in s.parts if part.kind != "fold"]
    if not parts:
        return ""
    shown = [name for name in FIGURES if any(name in part.figures for _, part in parts)]
    rows = [["system", "part", "tracks", *(FIGURES[name] + (", %" if name in SHARES else "") for name in shown)]]
    for system, part in parts:
        cells = [_cell(name, part.figures[name]) if name in part.figures else "-" for name in shown]
        rows.append([system.name, printable(part.name) or "all", str(part.n_tracks), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    clusters = "tracks" if evaluation.groups is None else "groups"
    title = f"Further figures, with 95 % intervals over {clusters} in brackets:"
    return "\n".join([title, *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)])


def _cell(name: str, figure: Figure) -> str:
    factor, digits = (100, 1) if name in SHARES else (1, 3)
    value, low, high = (f"{factor * x:.{digits}f}" for x in (figure.value, *(figure.by_group or figure.by_track)))
    return f"{value} ({low} - {high})"


def warn_of_folds(system: System) -> None:
    """Warn if the probabilities of a system are known for some folds only."""
    without = [part.name for part in system.parts if part.kind == "fold" and not part.n_known]
    if without and any(part.n_known for part in system.parts):
        text = f"{system.name}: no probabilities for {', '.join(without)}: these figures use the other folds only"
        log.warning("%s", coded(f"{text}: write a table beside each output", code="output.probabilities-fold"))
