"""What all figures of the report share: one style, measures in pixels of the page, and text that cannot run over.

A figure is an SVG element for a page of HTML, whose text stays text: it takes the page's font, and can be found and
copied. All text is measured with DejaVu Sans, the widest of the fonts that a browser is likely to take instead.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mirex_submission.system.progress import printable

WIDTH = 432  # pixels: what a narrow window shows without shrinking, and a wide one twice side by side
TEXT = 12.0  # font sizes, in pixels
SMALL = 11.0
INK, FAINT, LINE, BAND, ACCENT = "#222222", "#6b6b6b", "#d9d9d9", "#f4f4f4", "#0072b2"
# Okabe and Ito's colours that a colour-blind reader tells apart, without yellow, which white paper swallows.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LONGEST_NAME = 150.0  # pixels
_ROW_OF_LEGEND = 17.0
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` of a label is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": SMALL,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.labelsize": SMALL,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.2,
}


class Key(NamedTuple):
    """How one of several things is drawn wherever it is, and what the legend calls it."""

    name: str
    colour: str
    marker: str = ""
    dash: str = "-"


def keys(names: Sequence[str]) -> list[Key]:
    """A colour and a shape each: no two of 63 names share both."""
    return [Key(name, COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for k, name in enumerate(names)]


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures; decorates what draws one."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A script that DejaVu Sans lacks is drawn by the browser, with a font that has it.
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
        yield


def width(text: str, size: float = SMALL) -> float:
    """How wide a line of text can get, in pixels."""
    narrow = "".join(c for c in text if unicodedata.east_asian_width(c) not in "WF")
    measured = text_to_path.get_text_width_height_descent(narrow, FontProperties(size=size), False)[0]
    return float(measured) + (len(text) - len(narrow)) * size  # a character of East Asia is a square


def shorten(text: str, room: float = _LONGEST_NAME, size: float = SMALL) -> str:
    """The text on one line, without its middle where there is no room for it: what begins alike often ends apart."""
    text = printable(text)
    text = text if len(text) <= 100 else f"{text[:50]}…{text[-49:]}"
    kept = len(text)
    short = text
    while kept > 1 and width(short, size) > room:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def canvas(wide: float, high: float) -> tuple[Figure, Axes]:
    """An empty figure, and axes over all of it that count its pixels from the top left corner."""
    figure = Figure((wide / 72, high / 72), dpi=72)
    page = figure.add_axes((0, 0, 1, 1))
    page.set(xlim=(0, wide), ylim=(high, 0))
    page.axis("off")
    return figure, page


def axes_at(figure: Figure, left: float, top: float, wide: float, high: float) -> Axes:
    """Axes at a place of a figure in pixels, with none of the frame that says nothing."""
    figure_wide, figure_high = figure.get_size_inches() * 72
    box = (left / figure_wide, 1 - (top + high) / figure_high, wide / figure_wide, high / figure_high)
    axes = figure.add_axes(box)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def rows(names: Sequence[str], pitch: float, legend: Sequence[Key] = ()) -> tuple[Figure, Axes]:
    """A chart with a named row each, numbered from 0 at the top, with room below for an axis and its label."""
    shown = [shorten(name) for name in names]
    left = max(width(name) for name in shown) + 12
    top = legend_height(legend) + 4
    figure, page = canvas(WIDTH, top + pitch * len(names) + 40)
    draw_legend(page, legend)
    axes = axes_at(figure, left, top, WIDTH - left - 18, pitch * len(names))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), shown)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for k in range(len(names)):
        if k % 2:
            axes.axhspan(k - 0.5, k + 0.5, color=BAND, linewidth=0, zorder=0)
    return figure, axes


def legend_height(legend: Sequence[Key]) -> float:
    return _ROW_OF_LEGEND * -(-len(legend) // 2) + (6 if legend else 0)


def draw_legend(page: Axes, legend: Sequence[Key]) -> None:
    """Two columns of keys at the top of a figure. Matplotlib's own legend leaves out what begins with `_`."""
    for k, key in enumerate(legend):
        x, y = 6 + (k % 2) * WIDTH / 2, _ROW_OF_LEGEND * (k // 2 + 0.5)
        if key.marker:
            page.plot([x + 7], [y], key.marker, color=key.colour, markersize=6)
        else:
            page.plot([x, x + 14], [y, y], key.dash, color=key.colour)
        page.text(x + 20, y, shorten(key.name, WIDTH / 2 - 34), va="center_baseline")


def as_svg(figure: Figure, label: str) -> Markup:
    """The figure as an element of a page, which readers of the screen are told is what `label` says."""
    file = io.StringIO()
    # Where two figures of a page had an element of one id, the first's would be drawn in both.
    with matplotlib.rc_context({"svg.hashsalt": label}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Type", "Date", "Creator", "Format")))
    head, _, drawing = file.getvalue().partition("</defs>")
    if "<style" not in head:
        raise AssertionError("matplotlib's SVG begins in another way")
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    wide, high = figure.get_size_inches() * 72
    size = f'viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" height="{high:.0f}"'
    return Markup(f'<svg {size} role="img" aria-label="{escape(printable(label))}">{drawing}')
