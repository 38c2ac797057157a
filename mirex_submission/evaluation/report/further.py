"""The section of further figures: for all tracks, for each stratum, and reliability curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mirex_submission.evaluation.judging.parts import FIGURES, N_BINS, SHARES
from mirex_submission.evaluation.judging.results import PartFigures, Results, SystemResult
from mirex_submission.evaluation.report import figures


@dataclass(frozen=True)
class Cell:
    """The text of a figure and of its interval."""

    value: str
    interval: str


@dataclass(frozen=True)
class Row:
    """The figures of a system over a part of the tracks; cells: None for an undefined figure."""

    system: str
    part: str
    n_tracks: int
    cells: list[Cell | None]


@dataclass(frozen=True)
class Further:
    """Content of the section; header: names of the figures. clusters: the bootstrap draws "tracks" or "groups"."""

    header: list[str]
    overall: list[Row]
    strata: list[Row]
    reliability: dict[str, Markup]
    clusters: str
    n_bins: int = N_BINS


def further(results: Results, systems: Sequence[SystemResult]) -> Further | None:
    """Assemble the section; None if the results have none of its figures."""
    parts = [(system.name, part) for system in systems for part in system.parts]
    if not parts:
        return None
    names = [name for name in FIGURES if any(name in part.figures for _, part in parts)]
    return Further(
        header=[FIGURES[name] + (", %" if name in SHARES else "") for name in names],
        overall=[_row(system, part, names) for system, part in parts if part.kind == "all"],
        strata=[_row(system, part, names) for system, part in sorted(parts, key=_stratum) if part.kind == "stratum"],
        reliability={
            system: figures.reliability(part.reliability, system)
            for system, part in parts
            if part.kind == "all" and part.reliability
        },
        clusters="tracks" if results.groups is None else "groups",
    )


def _stratum(part: tuple[str, PartFigures]) -> str:
    return part[1].name  # sorting is stable: the systems of a stratum keep their order


def _row(system: str, part: PartFigures, names: Sequence[str]) -> Row:
    return Row(
        system, part.name, part.n_tracks, [_cell(name, part) if name in part.figures else None for name in names]
    )


def _cell(name: str, part: PartFigures) -> Cell:
    factor, digits = (100, 1) if name in SHARES else (1, 3)
    figure = part.figures[name]
    value, low, high = (f"{factor * x:.{digits}f}" for x in (figure.value, *(figure.by_group or figure.by_track)))
    return Cell(value, f"{low}–{high}")
