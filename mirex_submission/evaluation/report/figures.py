"""The figures of the report: each function takes numbers and names, and returns an SVG element of the page.

The text of a figure stays text: it uses the page's font, and can be searched and copied. Matplotlib measures it with
DejaVu Sans, the widest font that a browser is likely to use. One pixel of the page is one point in matplotlib.
"""

from __future__ import annotations

import base64
import functools
import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
import matplotlib.image
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from mirex_submission.evaluation.audit.records import Shortcut
from mirex_submission.evaluation.judging.metrics import most_confused
from mirex_submission.evaluation.judging.results import ReliabilityBin
from mirex_submission.evaluation.report.curves import Curves
from mirex_submission.system.drawing import plain_matplotlib
from mirex_submission.system.progress import printable

WIDTH = 432  # pixels: fits a narrow window, and twice side by side into a wide one
MOST_CLASSES = 50  # drawn one by one; above, figures show a selection
MOST_PAIRS = 30  # confused classes that are drawn instead of a matrix that would be too large
_LONG, _SHORT = 22, 16  # maximum length of a name in characters; half of it for ideographs
INK, _FAINT, _LINE, _BAND, _ACCENT = "#222222", "#6b6b6b", "#d9d9d9", "#f4f4f4", "#0072b2"
# Colours of Okabe and Ito, which a colour-blind reader can distinguish, without yellow: it is too pale on white paper.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_TEXT, _SMALL, _SMALLEST = 12.0, 11.0, 8.5  # font sizes
_DIGIT = 0.65  # width of a digit of DejaVu Sans, as a share of the font size
_SPECTROGRAM_COLUMNS = 300
_MOST_PIXELS = 500  # side length of the image of a matrix
_DECADES = 6.0  # range of band power that the greys show, as in the pictures of `features`
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a label is not a formula
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": _SMALL,
    "text.color": INK,
    "axes.edgecolor": _FAINT,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": _SMALL,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "legend.fontsize": _SMALL,
    "legend.frameon": False,
    "xtick.color": _FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": _FAINT,
    "ytick.labelcolor": INK,
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.2,
}
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Look = dict[str, Any]  # style of a line or marker: keyword arguments of matplotlib


def styled(draw: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Draw in the report's style on matplotlib's packaged defaults; no `matplotlibrc` file changes them."""

    @functools.wraps(draw)
    def with_style(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with plain_matplotlib(), matplotlib.rc_context(_STYLE), warnings.catch_warnings():
            # For characters that DejaVu Sans lacks, the browser uses another font.
            warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
            return draw(*args, **kwargs)

    return with_style


@styled
def accuracies(systems: Sequence[tuple[str, float, Sequence[float], Sequence[float]]]) -> Markup:
    """Draw one row per system: (name, accuracy, its interval, accuracy of each fold)."""
    figure, axes = _rows([shorten(name) for name, *_ in systems], 28)
    for k, (_, accuracy, interval, folds) in enumerate(systems):
        axes.plot(100 * np.asarray(folds), [k + 0.24] * len(folds), "o", color=_FAINT, markersize=4, fillstyle="none")
        axes.plot(100 * np.asarray(interval), [k, k], color=_ACCENT, linewidth=2)
        axes.plot([100 * accuracy], [k], "o", color=_ACCENT, markersize=7)
    axes.set_xlabel("accuracy, %")
    return _svg(figure, "accuracy of each system with its interval")


@styled
def shortcuts(rows: Sequence[Shortcut]) -> Markup:
    """Draw one row per shortcut: its accuracy with the interval, and the accuracy by chance."""
    figure, axes = _rows([shorten(row.feature) for row in rows], 18)
    for k, row in enumerate(rows):
        axes.plot([100 * row.chance], [k], "|", color=_FAINT, markersize=11, markeredgewidth=1.5)
        axes.plot(100 * np.asarray(row.interval), [k, k], color=_ACCENT, linewidth=2, clip_on=False)
        axes.plot([100 * row.accuracy], [k], "o", color=_ACCENT, markersize=5, clip_on=False)
    axes.set(xlim=(0, 100), xlabel="accuracy, %")
    return _svg(figure, "accuracy of each shortcut with its interval, and chance")


@styled
def recalls(classes: Sequence[str], table: np.ndarray, systems: Sequence[str]) -> Markup:
    """Draw one row per class with the recall of each system; of many classes only the last MOST_CLASSES.

    table : float [shape=(n_classes, n_systems)].
    """
    classes, table = classes[-MOST_CLASSES:], 100 * table[-MOST_CLASSES:]
    looks = [_look(k, linestyle="", markersize=5) for k in range(len(systems))]
    names = [shorten(name) for name in classes]
    figure, axes = _rows(names, 16 if len(systems) < 4 else 20, dict(zip(systems, looks, strict=True)))
    offsets = np.linspace(-0.28, 0.28, len(systems)) if len(systems) > 1 else [0.0]
    for look, values, offset in zip(looks, table.T, offsets, strict=True):
        axes.plot(values, np.arange(len(values)) + offset, clip_on=False, **look)
    axes.set(xlim=(0, 100), xlabel="recall: correct tracks of the class, %")
    return _svg(figure, "recall of each class")


@styled
def mean_ranks(ranks: Mapping[str, tuple[float, float, float]], over: str) -> Markup:
    """Draw one row per system, best first: its mean rank with its interval; a band extends the interval of the best."""
    figure, axes = _rows([shorten(name) for name in ranks], 28)
    _, low, high = next(iter(ranks.values()))
    axes.axvspan(low, high, color=_ACCENT, alpha=0.1, linewidth=0)
    for k, (mean, low, high) in enumerate(ranks.values()):
        axes.plot([low, high], [k, k], color=_ACCENT, linewidth=2)
        axes.plot([mean], [k], "o", color=_ACCENT, markersize=7)
    axes.set_xlabel(f"mean rank over {over} ({len(ranks)} is the best possible)")
    return _svg(figure, f"mean ranks over {over}")


@styled
def confusion(classes: Sequence[str], counts: np.ndarray, unanswered: np.ndarray, system: str) -> Markup:
    """Draw a confusion matrix, shaded by the share of the column; of many classes, the most confused pairs instead.

    counts : int [shape=(n_classes, n_classes)], predictions by truth.
    unanswered : int [shape=(n_classes,)], number of tracks without a prediction; if any, drawn as an extra row.
    """
    if len(classes) > MOST_CLASSES:
        return _confused_pairs(classes, counts, system)
    n, names = len(classes), [shorten(name, _SHORT) for name in classes]
    shown = np.vstack([counts, unanswered]) if unanswered.any() else counts
    digits = len(str(max(shown.max(), 1)))
    cell = float(np.clip((WIDTH - 150) / n, max(16.0, digits * _DIGIT * _SMALLEST + 1), 64.0))
    # The counts decide the size of the cells, so the figure has the size of the matrix; labels are outside of it.
    wide, high = n * cell, len(shown) * cell
    figure = Figure((wide / 72, high / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    edges = np.arange(len(shown) + 1) - 0.5
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    mesh = axes.pcolormesh(edges[: n + 1], edges[: n + 1], np.ma.masked_equal(shares, 0), cmap="Blues", vmin=0, vmax=1)
    axes.vlines(edges[: n + 1], edges[0], edges[-1], color=_LINE, linewidth=0.5)
    axes.hlines(edges, edges[0], edges[n], color=_LINE, linewidth=0.5)
    size = min(_TEXT, (cell - 1) / (digits * _DIGIT))
    for (row, column), count in np.ndenumerate(shown):
        if count:
            ink = "white" if row < n and shares[row, column] > 0.5 else INK
            axes.text(column, row, str(count), color=ink, ha="center", va="center_baseline", size=size, in_layout=False)
    axes.set(xlim=(-0.5, n - 0.5), ylim=(len(shown) - 0.5, -0.5))
    axes.set_xticks(range(n), names, rotation=90, rotation_mode="anchor", ha="left", va="center")
    axes.set_yticks(range(len(shown)), [*names, "(no prediction)"][: len(shown)])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("truth →", loc="left", color=_FAINT)
    axes.set_ylabel("← predicted", loc="top", color=_FAINT)
    scale = axes.inset_axes((0, -22 / high, 176 / wide, 10 / high))
    colours = figure.colorbar(mesh, cax=scale, orientation="horizontal", boundaries=np.linspace(0, 1, 12))
    colours.set_ticks([1 / 22, 0.5, 21 / 22], labels=["0 %", "50 %", "100 %"])
    colours.outline.set_visible(False)
    scale.tick_params(length=0)
    return _svg(figure, f"confusion matrix of {system}")


def _confused_pairs(classes: Sequence[str], counts: np.ndarray, system: str) -> Markup:
    """Draw one bar per pair of the most often confused classes: the number of tracks."""
    pairs = most_confused(counts, MOST_PAIRS)
    names = [
        f"{shorten(classes[truth], _SHORT)} → {shorten(classes[predicted], _SHORT)}" for _, predicted, truth in pairs
    ]
    figure, axes = _rows(names or ["none"], 16)
    axes.barh(range(len(pairs)), [n for n, *_ in pairs], 0.5, color=_ACCENT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("tracks: truth → prediction")
    return _svg(figure, f"most confused classes of {system}")


@styled
def confusion_picture(counts: np.ndarray) -> str:
    """Return a matrix of many classes as an image (a data URL): each pixel is a share of its column.

    Above _MOST_PIXELS classes, several neighbouring classes share a pixel.
    """
    firsts = np.arange(0, len(counts), -(-len(counts) // _MOST_PIXELS))
    blocks = np.add.reduceat(np.add.reduceat(counts, firsts, axis=0), firsts, axis=1)
    shares = blocks / np.maximum(blocks.sum(axis=0), 1)
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


@styled
def reliability(bins: Sequence[ReliabilityBin], system: str) -> Markup:
    """Draw the share of correct predictions against their probability; a dot's area is the number of tracks."""
    figure = Figure((WIDTH / 72, 300 / 72), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 100], [0, 100], "--", color=_FAINT, linewidth=1)
    confidence, right, n = np.array([(100 * b.confidence, 100 * b.accuracy, b.n_tracks) for b in bins]).T
    axes.plot(confidence, right, color=_ACCENT, linewidth=1)
    axes.scatter(confidence, right, 8 + 150 * n / n.max(), color=_ACCENT, alpha=0.7, linewidth=0)
    axes.set(xlim=(0, 103), ylim=(-3, 103), xlabel="largest probability, %", ylabel="correct, %")
    axes.grid()
    return _svg(figure, f"reliability curve of {system}")


@styled
def learning_curves(history: Mapping[str, Sequence[Curves]], system: str) -> Markup:
    """Draw loss and accuracy by epoch; history: {network: curves of each of its trainings}."""
    trainings = [curves for folds in history.values() for curves in folds]
    legend: dict[str, _Look] = {f"network {name}": _look(k, marker="") for k, name in enumerate(history)}
    if any("validation_loss" in curves for curves in trainings):
        legend["held-out tracks"] = {"color": _FAINT, "linestyle": "--"}
    figure = Figure((WIDTH / 72, (300 + _height_of(legend)) / 72), layout="constrained")
    _legend(figure, legend)
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    for k, folds in enumerate(history.values()):
        for curves in folds:
            look = _look(k, linewidth=1.0, marker="." if len(curves["epoch"]) == 1 else "")
            for name, values in curves.items():
                axes, factor = (loss, 1) if name.endswith("loss") else (accuracy, 100)
                if name != "epoch":
                    line = "--" if name.startswith("validation") else "-"
                    axes.plot(curves["epoch"], factor * values, line, **look)
    for axes, label in ((loss, "loss"), (accuracy, "accuracy, %")):
        axes.grid(axis="y")
        axes.set_ylabel(label)
        axes.margins(x=0.01)
    if all((curves["loss"] > 0).all() for curves in trainings):
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        loss.yaxis.set_minor_formatter(NullFormatter())
    accuracy.set_xlabel("epoch")
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _svg(figure, f"learning curves of {system}")


@styled
def stress_curve(label: str, ticks: Sequence[str], lines: Mapping[str, np.ndarray]) -> Markup:
    """Draw accuracy against the strength of a deformation.

    lines : {system: accuracy, low and high at each tick, float [shape=(n_ticks, 3)], NaN where there is none}.
    """
    looks = {name: _look(k, markersize=5) for k, name in enumerate(lines)}
    figure = Figure((WIDTH / 72, (230 + _height_of(looks)) / 72), layout="constrained")
    _legend(figure, looks)
    axes = figure.subplots()
    offsets = np.linspace(-0.12, 0.12, len(lines)) if len(lines) > 1 else [0.0]
    for (name, values), offset in zip(lines.items(), offsets, strict=True):
        x, (accuracy, low, high) = np.arange(len(ticks)) + offset, 100 * values.T
        axes.vlines(x, low, high, color=looks[name]["color"], linewidth=1.0)
        axes.plot(x, accuracy, **looks[name])
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(ylim=(0, 102), ylabel="accuracy, %", xlabel=label)
    axes.grid(axis="y")
    return _svg(figure, f"accuracy against {label}")


@styled
def run_times(seconds: Mapping[str, Mapping[str, float]]) -> Markup:
    """Draw one bar per system, stacked from the seconds of its steps; seconds: {system: {step: seconds}}."""
    steps = list(dict.fromkeys(step for times in seconds.values() for step in times))
    legend: dict[str, _Look] = {
        step: {"color": COLOURS[k % len(COLOURS)], "marker": "s", "linestyle": ""} for k, step in enumerate(steps)
    }
    longest = max(sum(times.values()) for times in seconds.values())
    unit, name = next(((u, n) for u, n in ((3600, "hours"), (60, "minutes")) if longest >= 2 * u), (1, "seconds"))
    figure, axes = _rows([shorten(name) for name in seconds], 28, legend)
    ends = np.zeros(len(seconds))
    for step, look in legend.items():
        lengths = np.array([times.get(step, 0.0) for times in seconds.values()]) / unit
        axes.barh(range(len(lengths)), lengths, 0.5, left=ends, color=look["color"], edgecolor="white", linewidth=0.5)
        ends += lengths
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{name}, sum over all folds")
    return _svg(figure, "run time of each system")


@styled
def spectrogram(frames: np.ndarray) -> str:
    """Return an image of a clip's log10 band powers [shape=(n_frames, n_bands)] as a data URL; dark is loud."""
    step = -(-len(frames) // _SPECTROGRAM_COLUMNS)
    firsts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames, firsts) / np.diff(firsts, append=len(frames))[:, None]
    loudest = float(columns.max())
    file = io.BytesIO()
    darkest = max(float(columns.min()), loudest - _DECADES)
    # A clip of constant level has no range of its own.
    matplotlib.image.imsave(
        file, columns.T[::-1], cmap="Greys", vmin=darkest, vmax=max(loudest, darkest + 1e-6), format="png"
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def shorten(text: str, room: int = _LONG) -> str:
    """Return the text on one line; cut the middle of a long one, as long names often differ only at the end."""
    text = printable(text)
    n_wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    room = room // 2 if n_wide else room
    if len(text) > room:
        return shorten(f"{text[: room // 2]}…{text[len(text) - (room - 1) // 2 :]}", 2 * room if n_wide else room)
    # Matplotlib measures ideographs too narrow. Spaces reserve their room; SVG ignores leading spaces.
    return " " * (3 * n_wide // 2 + n_wide % 2) + text


def _look(k: int, **more: str | float) -> _Look:
    """Return the style of the k-th series: among the first 63, no two share colour and marker."""
    return {"color": COLOURS[k % len(COLOURS)], "marker": _MARKERS[k % len(_MARKERS)], **more}


def _rows(names: Sequence[str], pitch: int, legend: Mapping[str, _Look] | None = None) -> tuple[Figure, Axes]:
    """Return a figure with a row for each name, numbered from 0 at the top."""
    legend = legend or {}
    figure = Figure((WIDTH / 72, (pitch * len(names) + 46 + _height_of(legend)) / 72), layout="constrained")
    _legend(figure, legend)
    axes = figure.subplots()
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for k in range(1, len(names), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=_BAND, linewidth=0, zorder=0)
    return figure, axes


def _height_of(legend: Mapping[str, _Look]) -> int:
    return 17 * -(-len(legend) // 2)


def _legend(figure: Figure, legend: Mapping[str, _Look]) -> None:
    """Draw the legend above the axes, in two columns."""
    if legend:
        handles = [Line2D([], [], **{"markersize": 6, **look}) for look in legend.values()]
        # Matplotlib leaves out a name that begins with `_`; the space, which SVG ignores, prevents this.
        figure.legend(handles, [f" {shorten(name)}" for name in legend], loc="outside upper left", ncols=2)


def _svg(figure: Figure, label: str) -> Markup:
    """Return the figure, enlarged to hold all its text, as an SVG element; `label` names it for screen readers."""
    if layout := figure.get_layout_engine():
        layout.execute(figure)
        figure.set_layout_engine("none")  # otherwise saving would compute the layout again
    file = io.StringIO()
    # Element ids must differ between figures: a browser would draw the first element of an id in all of them.
    with matplotlib.rc_context({"svg.hashsalt": label}):
        figure.savefig(
            file,
            format="svg",
            bbox_inches=figure.get_tightbbox().padded(3 / 72),
            metadata=dict.fromkeys(("Type", "Date", "Creator", "Format")),
        )
    head, _, drawing = file.getvalue().partition("</defs>")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    if not box or "<style" not in head:
        raise AssertionError("the beginning of matplotlib's SVG has changed")
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    size = f'{box[0]} width="{box[1]}" height="{box[2]}"'
    return Markup(f'<svg {size} role="img" aria-label="{escape(printable(label))}">{drawing}')
