"""A picture of one clip: its log-Mel spectrogram, and below it the positions of its segments.

The figure is made without pyplot, so it needs no display and leaves no global state. It is made without
librosa.display, which would take seconds to load, and whose Mel axis puts the centre of the lowest band at 0 Hz.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from mirex_submission.features.filterbank import hz_to_mel
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.system.drawing import plain_matplotlib
from mirex_submission.system.progress import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_MAX_COLUMNS = 4000  # columns of the picture; for a longer clip, neighbouring frames are averaged
_WIDTH_IN = (8.0, 20.0)  # widths of the pictures of the shortest and the longest clips
_DECADES = 6.0  # range of the colours in decades of band power: with more, silence would take all contrast
_TICKS_HZ = {100: "100", 200: "200", 500: "500", 1000: "1k", 2000: "2k", 5000: "5k", 10000: "10k", 20000: "20k"}


@plain_matplotlib()
def draw(frames: np.ndarray, starts: np.ndarray, spec: FeatureSpec, *, title: str) -> bytes:
    """Draw a clip as a PNG file; equal input gives equal bytes.

    Parameters
    ----------
    frames : np.ndarray [shape=(n_frames, n_bands)]
        log10 of band power.
    starts : np.ndarray [shape=(n_segments,), int]
        First frames of the segments, in any order; n_segments > 0.
    spec : FeatureSpec
    title : str
        Text above the picture, such as the track's path; only the end of a long one is drawn.
    """
    from matplotlib.figure import Figure  # only here: it takes long to load

    clip_s = (spec.window + (len(frames) - 1) * spec.hop) / spec.rate_hz
    rows = segment_rows(starts, spec)
    width_in = float(np.clip(6 + 0.15 * clip_s, *_WIDTH_IN))
    strip_in = float(np.clip(0.12 * len(rows), 0.2, 1.5))
    figure = Figure((width_in, 4.8 + strip_in), dpi=_DPI, layout="constrained")
    spectrogram, strip = figure.subplots(2, 1, sharex=True, height_ratios=[4, strip_in])

    _draw_spectrogram(figure, spectrogram, frames, spec)
    # A `$` in a file name does not begin a formula.
    spectrogram.set_title(_end(printable(title), int(9 * width_in)), loc="left", fontsize=10, parse_math=False)
    _draw_segments(strip, rows, spec)
    strip.set_xlim(0, clip_s)
    strip.set_ylabel(f"Segments: {len(starts)}", rotation=0, ha="right", va="center", fontsize=8)
    strip.set_xlabel("Time (s)")

    png = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)  # the title shows a box instead
        figure.savefig(png, format="png", dpi=_DPI)
    return png.getvalue()


def _draw_spectrogram(figure: Figure, axes: Axes, frames: np.ndarray, spec: FeatureSpec) -> None:
    """Draw the frames, with bands of equal height and a colour bar."""
    step = -(-len(frames) // _MAX_COLUMNS)
    firsts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames, firsts) / np.diff(firsts, append=len(frames))[:, None]
    # A frame is drawn in the middle of its window. The last column may have fewer frames, and the limits cut it.
    left_s = (spec.window - spec.hop) / 2 / spec.rate_hz
    darkest = max(columns.min(), columns.max() - _DECADES)
    image = axes.imshow(
        columns.T,
        aspect="auto",
        origin="lower",
        cmap="magma",
        vmin=darkest,
        extent=(left_s, left_s + len(columns) * step * spec.hop / spec.rate_hz, -0.5, spec.n_bands - 0.5),
    )
    extend = "min" if columns.min() < darkest else "neither"
    figure.colorbar(image, ax=axes, label="log10 of band power", extend=extend, pad=0.01)
    label_bands(axes, spec)
    axes.tick_params(labelbottom=False)


def label_bands(axes: Axes, spec: FeatureSpec, *, least_hz: int = 0) -> None:
    """Label the rows of an image of bands with frequencies of at least `least_hz`."""
    ticks = {hz: text for hz, text in _TICKS_HZ.items() if hz >= least_hz}
    bands_per_mel = (spec.n_bands + 1) / hz_to_mel(spec.rate_hz / 2)
    axes.set_yticks([bands_per_mel * hz_to_mel(hz) - 1 for hz in ticks], ticks.values(), fontsize=8)
    axes.set_ylim(-0.5, spec.n_bands - 0.5)
    axes.set_ylabel("Frequency (Hz)")


def _draw_segments(axes: Axes, rows: list[np.ndarray], spec: FeatureSpec) -> None:
    """Draw each segment as a bar, in alternating shades, because neighbours may touch."""
    hop_s, segment_s = spec.hop / spec.rate_hz, spec.segment_samples / spec.rate_hz
    for k, row in enumerate(rows):
        bars = [(start * hop_s, segment_s) for start in row]
        shades = ["#3b528b", "#8da0cb"]
        # The edge keeps the bars of a long clip visible.
        axes.broken_barh(bars, (k + 0.2, 0.6), facecolors=shades, edgecolors="face", linewidth=0.7, snap=False)
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([])


def segment_rows(starts: np.ndarray, spec: FeatureSpec) -> list[np.ndarray]:
    """Distribute segments over as few rows as possible, so that no two segments of a row share a sample.

    All segments have the same length, so it is enough to deal them in turn to as many rows as segments overlap.

    Parameters
    ----------
    starts : np.ndarray [shape=(n_segments,), int]
        First frames of the segments.

    Returns
    -------
    list of np.ndarray
        First frames of the segments of each row, ascending.
    """
    starts = np.sort(starts)
    ended = np.searchsorted(starts + spec.frames_between_segments, starts, side="right")
    n_rows = int((np.arange(1, len(starts) + 1) - ended).max())
    return [starts[k::n_rows] for k in range(n_rows)]


def _end(text: str, n: int) -> str:
    """Return at most the last `n` characters of a path, from the first complete name of a folder on."""
    if len(text) <= n:
        return text
    tail = text[len(text) - n + 1 :]
    return "…" + tail[max(tail.find("/"), 0) :]
