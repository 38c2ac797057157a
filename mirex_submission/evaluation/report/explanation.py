"""The explanation of one clip as a self-contained HTML page, with its figure and audio players."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.evaluation.report.explanation_figure import NARROW, WIDE, draw
from mirex_submission.evaluation.report.page import template
from mirex_submission.features.player import audio_address
from mirex_submission.models.explanation import MOST_S, Explanation
from mirex_submission.models.occlusion import FALL_DB, N_RANDOM
from mirex_submission.version import __version__


@dataclass(frozen=True)
class Region:
    """A marked region: its time window, its band, and the probability of the class without this one region."""

    from_s: float
    to_s: float
    from_hz: float
    to_hz: float
    without: float


@dataclass(frozen=True)
class ExplanationPage:
    """An HTML page, its figure as a PNG file, and the clip as a data URL (empty without an MP3 encoder)."""

    html: bytes
    png: bytes
    audio: str


def explanation_page(explanation: Explanation, command: Sequence[str]) -> ExplanationPage:
    """Make the page of an explanation.

    Parameters
    ----------
    explanation : Explanation
    command : sequence of str
        The command line, which the page shows.

    Returns
    -------
    ExplanationPage
    """
    wide, narrow = draw(explanation, WIDE), draw(explanation, NARROW)
    rate_hz = explanation.spec.rate_hz
    audio = audio_address(explanation.samples, rate_hz)
    page = template("explanation.html.jinja").render(
        explanation=explanation,
        name=os.path.basename(explanation.path),
        regions=_marked_regions(explanation),
        bands=_bands(explanation),
        share_marked=float(explanation.occlusion.marked.mean()),
        wide=_address(wide),
        narrow=_address(narrow),
        audio=audio,
        marked_audio=audio_address(explanation.marked_samples, rate_hz),
        n_random=N_RANDOM,
        fall_db=FALL_DB,
        most_s=MOST_S,
        command_line=command,
        version=__version__,
    )
    return ExplanationPage(page.encode("utf-8"), wide, audio)


def _address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _marked_regions(explanation: Explanation) -> list[Region]:
    """Return the marked regions, highest score first."""
    occlusion = explanation.occlusion
    cells = sorted(map(tuple, np.argwhere(occlusion.marked).tolist()), key=lambda cell: -occlusion.scores[cell])
    s, hz = occlusion.edges_s, occlusion.edges_hz
    return [Region(s[w], s[w + 1], hz[b], hz[b + 1], occlusion.without_region[w, b]) for w, b in cells]


def _bands(explanation: Explanation) -> list[tuple[float, float, float]]:
    """Return the edges of each band in Hz and the probability without it, lowest band first."""
    occlusion = explanation.occlusion
    return list(zip(occlusion.edges_hz[:-1], occlusion.edges_hz[1:], occlusion.without_band, strict=True))
