"""The stress test section of the report: a curve and table rows for each deformation of the audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from markupsafe import Markup

from mirex_submission.evaluation.report import figures
from mirex_submission.evaluation.stress.deformations import DEFORMATIONS
from mirex_submission.evaluation.stress.results import StressPoint, StressRecord, StressSystem, read_stress


@dataclass(frozen=True)
class Row:
    """A deformation of one strength, and the result of each system, None where there is none."""

    title: str
    n_tracks: int
    points: list[StressPoint | None]


@dataclass(frozen=True)
class StressSection:
    """Content of the section; curves : {title of a deformation: its figure}."""

    record: StressRecord
    curves: dict[str, Markup]
    rows: list[Row]


def stress_section(folder: Path) -> StressSection | None:
    """Return the stress test in a folder, or None without one. Raises ListError if it cannot be read."""
    record = read_stress(folder)
    if not record:
        return None
    # Best first, as elsewhere on the page, so that a system keeps its colour.
    record = msgspec.structs.replace(record, systems=sorted(record.systems, key=lambda system: -system.accuracy))
    of_systems = [{(p.deformation, p.strength): p for p in system.points} for system in record.systems]
    keys = dict.fromkeys(key for points in of_systems for key in points)
    strengths = {name: [strength for of, strength in keys if of == name] for name in DEFORMATIONS}
    return StressSection(
        record,
        {DEFORMATIONS[name].title: _curve(name, of, record.systems) for name, of in strengths.items() if of},
        [
            Row(
                f"{DEFORMATIONS[name].title} {strength:g} {DEFORMATIONS[name].unit}",
                max(points[name, strength].n_tracks for points in of_systems if (name, strength) in points),
                [p.get((name, strength)) for p in of_systems],
            )
            for name, strength in keys
        ],
    )


def _curve(name: str, strengths: Sequence[float], systems: Sequence[StressSystem]) -> Markup:
    """Draw the accuracy of each system against the strength; unaltered audio stands between negative and positive."""
    n_before = sum(strength < 0 for strength in strengths)
    ticks = [f"{strength:g}" for strength in strengths]
    lines = {}
    for system in systems:
        points = {p.strength: (p.accuracy, *p.interval) for p in system.points if p.deformation == name}
        of_strengths = [points.get(strength, (np.nan,) * 3) for strength in strengths]
        lines[system.name] = np.array(
            [*of_strengths[:n_before], (system.accuracy, *system.interval), *of_strengths[n_before:]]
        )
    deformation = DEFORMATIONS[name]
    return figures.stress_curve(
        f"{deformation.title}, {deformation.unit}", [*ticks[:n_before], "unaltered", *ticks[n_before:]], lines
    )
