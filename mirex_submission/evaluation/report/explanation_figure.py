"""The figure of one explained clip over time: waveform, probabilities, log-Mel bands, and the regions that decided."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mirex_submission.evaluation.report.figures import COLOURS, INK, shorten, styled
from mirex_submission.features.filterbank import hz_to_mel
from mirex_submission.features.picture import label_bands

if TYPE_CHECKING:
    from mirex_submission.features.spec import FeatureSpec
    from mirex_submission.models.explanation import Explanation

WIDE, NARROW = 1000, 372  # widths in pixels: for a wide window, and for a phone
_MOST_CLASSES = 6  # drawn over time
_LEAST_TICK_HZ = 200
_DECADES = 6.0  # range of band power that the colours show, as in the pictures of `features`
_MOST_COLUMNS = 1500  # columns of an image, and points of the waveform
_MARK = "#00e5ff"  # contrasts with the colours of the log-Mel picture


@styled
def draw(explanation: Explanation, width: int = WIDE) -> bytes:
    """Draw the figure as a PNG file with 1.5 times the resolution of the page."""
    heights = [70, 120, 170, 90, 170, *([170] if explanation.saliency is not None else [])]
    figure = Figure((width / 72, (sum(heights) + 46 * len(heights)) / 72), dpi=108, layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights).tolist()
    waveform, classes, log_mel, windows, scores, *gradients = panels
    _draw_waveform(waveform, explanation)
    _draw_classes(classes, explanation, n_columns=_MOST_CLASSES if width >= WIDE else 2)
    _draw_frames(log_mel, explanation)
    _draw_windows(windows, explanation)
    _draw_scores(scores, explanation)
    for axes in gradients:
        _draw_saliency(axes, explanation)
    waveform.set_xlim(0, len(explanation.samples) / explanation.spec.rate_hz)
    panels[-1].set_xlabel("Time (s)")
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="white", metadata={"Software": None})
    return png.getvalue()


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize="medium")


def _draw_waveform(axes: Axes, explanation: Explanation) -> None:
    """Draw the minimum and maximum of the samples of each column."""
    samples = explanation.samples
    firsts = np.unique(np.linspace(0, len(samples), _MOST_COLUMNS, endpoint=False).astype(int))
    low, high = (f.reduceat(samples, firsts) for f in (np.minimum, np.maximum))
    axes.fill_between(firsts / explanation.spec.rate_hz, low, high, color=INK, linewidth=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _title(axes, "Waveform")


def _draw_classes(axes: Axes, explanation: Explanation, *, n_columns: int) -> None:
    """Draw the probability of the likeliest classes in each piece, the predicted class with the thickest line."""
    pieces = explanation.pieces
    likeliest = [explanation.classes.index(label) for label, _ in explanation.ranked[:_MOST_CLASSES]]
    for k, number in enumerate(dict.fromkeys([explanation.predicted, *likeliest])):
        axes.stairs(
            pieces.probabilities[:, number],
            pieces.edges_s,
            baseline=None,
            color=COLOURS[k],
            linewidth=2.5 if k == 0 else 1.2,
            label=f" {shorten(explanation.classes[number])}",  # matplotlib leaves out a name that begins with `_`
        )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.grid(axis="y")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.12), ncols=n_columns, borderaxespad=0, columnspacing=1, handlelength=1.2
    )
    _title(axes, "Class probabilities of each piece")


def _draw_frames(axes: Axes, explanation: Explanation) -> None:
    frames, spec = explanation.frames, explanation.spec
    loudest = float(frames.max())
    darkest = max(float(frames.min()), loudest - _DECADES)
    _image(axes, frames, spec, cmap="magma", vmin=darkest, vmax=max(loudest, darkest + 1e-6))
    _outline_marked(axes, explanation)
    _title(axes, "Log-Mel bands; outlined: regions that decided the class")


def _draw_windows(axes: Axes, explanation: Explanation) -> None:
    """Draw the probability without each window, and a line at the probability of the whole clip."""
    occlusion = explanation.occlusion
    axes.axhline(occlusion.probability, color=INK, linewidth=0.8, linestyle="--")
    axes.stairs(
        occlusion.without_window, occlusion.edges_s, baseline=occlusion.probability, fill=True, color=COLOURS[0]
    )
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])
    axes.grid(axis="y")
    _title(axes, "Probability without each window; dashed: with all")


def _draw_scores(axes: Axes, explanation: Explanation) -> None:
    occlusion = explanation.occlusion
    strongest = max(float(np.abs(occlusion.scores).max()), 1e-6)
    edges = _rows_of(occlusion.edges_hz, explanation.spec)
    axes.pcolormesh(
        occlusion.edges_s, edges, occlusion.scores.T, cmap="RdBu_r", vmin=-strongest, vmax=strongest, rasterized=True
    )
    _outline_marked(axes, explanation, colour=INK)
    label_bands(axes, explanation.spec, least_hz=_LEAST_TICK_HZ)
    _title(axes, "Occlusion. Red: supports the class; blue: opposes it")


def _draw_saliency(axes: Axes, explanation: Explanation) -> None:
    assert explanation.saliency is not None
    counts = explanation.saliency
    strongest = max(float(np.quantile(np.abs(counts), 0.995)), 1e-9)
    _image(axes, counts, explanation.spec, cmap="RdBu_r", vmin=-strongest, vmax=strongest)
    _title(axes, "Gradients. Red: supports the class; blue: opposes it")


def _image(axes: Axes, cells: np.ndarray, spec: FeatureSpec, **look: Any) -> None:
    """Draw cells [n_frames, n_bands] with bands of equal height; a frame is drawn at the centre of its window."""
    step = -(-len(cells) // _MOST_COLUMNS)
    firsts = np.arange(0, len(cells), step)
    columns = np.add.reduceat(cells, firsts) / np.diff(firsts, append=len(cells))[:, None]
    left_s = (spec.window - spec.hop) / 2 / spec.rate_hz
    right_s = left_s + len(columns) * step * spec.hop / spec.rate_hz
    axes.imshow(columns.T, aspect="auto", origin="lower", extent=(left_s, right_s, -0.5, spec.n_bands - 0.5), **look)
    label_bands(axes, spec, least_hz=_LEAST_TICK_HZ)


def _rows_of(hz: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Return the positions of frequencies on the axis of bands."""
    bands_per_mel = (spec.n_bands + 1) / hz_to_mel(spec.rate_hz / 2)
    rows = np.array([bands_per_mel * hz_to_mel(float(f)) - 1 for f in hz])
    return np.asarray(np.clip(rows, -0.5, spec.n_bands - 0.5))


def _outline_marked(axes: Axes, explanation: Explanation, colour: str = _MARK) -> None:
    occlusion = explanation.occlusion
    rows = _rows_of(occlusion.edges_hz, explanation.spec)
    for w, b in np.argwhere(occlusion.marked):
        corner, width = (occlusion.edges_s[w], rows[b]), occlusion.edges_s[w + 1] - occlusion.edges_s[w]
        axes.add_patch(Rectangle(corner, width, rows[b + 1] - rows[b], fill=False, edgecolor=colour, linewidth=1.6))
