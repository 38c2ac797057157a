"""The figures of the report: each takes numbers and names, and gives an element of the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.image
import matplotlib.ticker
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from mirex_submission.evaluation.report.drawing import (
    ACCENT,
    COLOURS,
    FAINT,
    INK,
    LINE,
    TEXT,
    WIDTH,
    Key,
    as_svg,
    axes_at,
    canvas,
    draw_legend,
    keys,
    legend_height,
    rows,
    shorten,
    style,
    width,
)

_SMALLEST_COUNT = 8.5  # pixels: the font size of counts in a matrix of many classes
_CELL = (16.0, 64.0)  # pixels: the least and the most of a cell
_DIGIT = 0.65  # of the font size: a digit of DejaVu Sans
_SPECTROGRAM_COLUMNS = 300
_DECADES = 6.0  # of band power that the greys tell apart, as in the pictures of extraction


@style()
def accuracies(systems: Sequence[tuple[str, float, Sequence[float], Sequence[float]]]) -> Markup:
    """A row a system: (name, accuracy, its interval, the folds' accuracies)."""
    figure, axes = rows([name for name, *_ in systems], 28)
    for k, (_, accuracy, interval, folds) in enumerate(systems):
        axes.plot(100 * np.asarray(folds), [k + 0.24] * len(folds), "o", color=FAINT, markersize=4, fillstyle="none")
        axes.plot(100 * np.asarray(interval), [k, k], color=ACCENT, linewidth=2)
        axes.plot([100 * accuracy], [k], "o", color=ACCENT, markersize=7)
    axes.set_xlabel("accuracy, %")
    return as_svg(figure, "accuracy of each system with its interval")


@style()
def recalls(classes: Sequence[str], table: np.ndarray, systems: Sequence[str]) -> Markup:
    """A row a class: the recall of each system. table : [shape=(n_classes, n_systems)]."""
    legend = keys(systems)
    figure, axes = rows(classes, 16 if len(systems) < 4 else 20, legend)
    offsets = np.linspace(-0.28, 0.28, len(systems)) if len(systems) > 1 else [0.0]
    for key, values, offset in zip(legend, 100 * table.T, offsets, strict=True):
        axes.plot(values, np.arange(len(values)) + offset, key.marker, color=key.colour, markersize=5, clip_on=False)
    axes.set(xlim=(0, 100), xlabel="tracks of the class that are right, %")
    return as_svg(figure, "recall of each class")


@style()
def mean_ranks(ranks: Mapping[str, tuple[float, float, float]], over: str) -> Markup:
    """A row a system, best first: its mean rank, and low and high of it; a band marks the best one's interval."""
    figure, axes = rows(list(ranks), 28)
    best = next(iter(ranks.values()))
    axes.axvspan(best[1], best[2], color=ACCENT, alpha=0.1, linewidth=0)
    for k, (mean, low, high) in enumerate(ranks.values()):
        axes.plot([low, high], [k, k], color=ACCENT, linewidth=2)
        axes.plot([mean], [k], "o", color=ACCENT, markersize=7)
    axes.set_xlabel(f"mean rank over {over} ({len(ranks)} is the best possible)")
    return as_svg(figure, f"mean ranks over {over}")


@style()
def confusion(classes: Sequence[str], counts: np.ndarray, unanswered: np.ndarray, system: str) -> Markup:
    """Counts [shape=(n_classes, n_classes)], predictions by truth, shaded by their share of the truth's column.

    unanswered : of each class [shape=(n_classes,)] the tracks without a prediction: a row of their own, if any.
    """
    n = len(classes)
    names = [shorten(name, 110) for name in classes]
    row_names = [*names, *(["(no answer)"] if unanswered.any() else [])]
    digits = len(str(max(counts.max(), unanswered.max(), 1)))
    left, right, top = max(width(name) for name in row_names) + 28, 8.0, max(width(name) for name in names) + 30
    cell = float(np.clip((WIDTH - left - right) / n, max(_CELL[0], digits * _DIGIT * _SMALLEST_COUNT + 1), _CELL[1]))
    size = min(TEXT, (cell - 1) / (digits * _DIGIT))
    figure, page = canvas(max(left + n * cell + right, WIDTH), top + len(row_names) * cell + 46)

    shares = counts / np.maximum(counts.sum(axis=0), 1)
    colours = matplotlib.colormaps["Blues"]
    edges_x, edges_y = left + np.arange(n + 1) * cell, top + np.arange(len(row_names) + 1) * cell
    page.pcolormesh(edges_x, edges_y[: n + 1], np.ma.masked_equal(shares, 0), cmap=colours, vmin=0, vmax=1)
    page.vlines(edges_x, edges_y[0], edges_y[-1], color=LINE, linewidth=0.5)
    page.hlines(edges_y, edges_x[0], edges_x[-1], color=LINE, linewidth=0.5)
    middle: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size}
    for row, name in enumerate(row_names):
        y = edges_y[row] + cell / 2
        page.text(left - 6, y, name, ha="right", va="center_baseline")
        for column, count in enumerate(counts[row] if row < n else unanswered):
            if count:
                dark = row < n and shares[row, column] > 0.5
                page.text(edges_x[column] + cell / 2, y, str(count), color="white" if dark else INK, **middle)
    for x, name in zip(edges_x, names, strict=False):
        page.text(x + cell / 2, top - 6, name, rotation=90, ha="center", va="bottom")
    page.text(left, 10, "truth →", va="center_baseline", color=FAINT)
    page.text(8, top, "← predicted", rotation=90, ha="center", va="top", color=FAINT)
    _scale(page, left, edges_y[-1] + 12, colours)
    return as_svg(figure, f"confusion matrix of {system}")


@style()
def learning_curves(history: Mapping[str, Sequence[Mapping[str, np.ndarray]]], system: str) -> Markup:
    """Loss and accuracy by epoch.

    history : network -> the columns of each training: epoch, loss, accuracy and perhaps validation_loss,
        validation_accuracy.
    """
    legend = [Key(f"network {name}", COLOURS[k % len(COLOURS)]) for k, name in enumerate(history)]
    trainings = [columns for folds in history.values() for columns in folds]
    if any("validation_loss" in columns for columns in trainings):
        legend.append(Key("held-out tracks", FAINT, dash="--"))
    top, high = legend_height(legend) + 6, 120
    figure, page = canvas(WIDTH, top + 2 * high + 56)
    draw_legend(page, legend)
    for k, (what, factor, label) in enumerate((("loss", 1, "loss"), ("accuracy", 100, "accuracy, %"))):
        axes = axes_at(figure, 56, top + k * (high + 16), WIDTH - 72, high)
        for folds, key in zip(history.values(), legend, strict=False):
            for columns in folds:
                marker = "." if len(columns["epoch"]) == 1 else ""
                for name, dash in ((what, "-"), (f"validation_{what}", "--")):
                    if name in columns:
                        values = factor * columns[name]
                        axes.plot(columns["epoch"], values, dash, marker=marker, color=key.colour, linewidth=1.0)
        axes.grid(axis="y")
        axes.set_ylabel(label)
        axes.margins(x=0.01)
        if what == "loss" and all((columns["loss"] > 0).all() for columns in trainings):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.tick_params(labelbottom=bool(k))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    return as_svg(figure, f"learning curves of {system}")


@style()
def run_times(seconds: Mapping[str, Mapping[str, float]]) -> Markup:
    """A bar a system, made of the seconds of each kind of call: system -> call -> seconds."""
    calls = list(dict.fromkeys(call for times in seconds.values() for call in times))
    legend = [Key(call, COLOURS[k % len(COLOURS)], "s") for k, call in enumerate(calls)]
    longest = max(sum(times.values()) for times in seconds.values())
    unit, name = next(((u, n) for u, n in ((3600, "hours"), (60, "minutes")) if longest >= 2 * u), (1, "seconds"))
    figure, axes = rows(list(seconds), 28, legend)
    ends = np.zeros(len(seconds))
    for key in legend:
        lengths = np.array([times.get(key.name, 0.0) for times in seconds.values()]) / unit
        axes.barh(range(len(lengths)), lengths, 0.5, left=ends, color=key.colour, edgecolor="white", linewidth=0.5)
        ends += lengths
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{name}, all folds one after the other")
    return as_svg(figure, "run time of each system")


def spectrogram(frames: np.ndarray) -> str:
    """The picture of a clip's log10 band powers [shape=(n_frames, n_bands)] as a data address: dark is loud."""
    step = -(-len(frames) // _SPECTROGRAM_COLUMNS)
    firsts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames, firsts) / np.diff(firsts, append=len(frames))[:, None]
    loudest = float(columns.max())
    file = io.BytesIO()
    darkest = max(float(columns.min()), loudest - _DECADES)
    # A clip of one level has no range to map.
    matplotlib.image.imsave(
        file, columns.T[::-1], cmap="Greys", vmin=darkest, vmax=max(loudest, darkest + 1e-6), format="png"
    )
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _scale(page: Axes, left: float, top: float, colours: Colormap) -> None:
    """What the shades of a matrix mean."""
    shares = np.linspace(0, 1, 11)
    page.pcolormesh(left + 16 * np.arange(12), [top, top + 10], shares[None], cmap=colours, vmin=0, vmax=1)
    for k in (0, 5, 10):
        page.text(left + 16 * k + 8, top + 20, f"{10 * k} %", ha="center", va="center_baseline")
