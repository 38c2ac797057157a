"""A picture of one clip in one view: modulation energies by rate and scale, with a panel for each region.

The vector of any other view is drawn as a line.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from mirex_submission.features.modulation import Grid
from mirex_submission.features.modulation_views import GRIDS
from mirex_submission.features.spec import ViewSpec
from mirex_submission.system.drawing import plain_matplotlib
from mirex_submission.system.progress import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 100
_PANELS_A_ROW = 4


@plain_matplotlib()
def draw(vectors: np.ndarray, spec: ViewSpec, *, title: str) -> bytes:
    """Draw a clip as a PNG file; equal input gives equal bytes.

    Parameters
    ----------
    vectors : np.ndarray [shape=(n_windows, length)]
        Vectors of the windows; their mean is drawn.
    spec : ViewSpec
    title : str
        Text above the picture, such as the track's path.
    """
    from matplotlib.figure import Figure  # only here: it takes long to load

    vector, grid = vectors.mean(axis=0), GRIDS.get(spec.view)
    if grid is None:
        figure = Figure((10, 3), dpi=_DPI, layout="constrained")
        axes = figure.subplots()
        axes.plot(vector, linewidth=0.8)
        axes.set_xlabel("Number")
        axes.set_ylabel(spec.view)
    else:
        figure = _draw_energies(vector.reshape(grid.n_regions, -1, 2)[:, :, 0], grid)
        figure.supxlabel("Rate (Hz); below 0: downwards in frequency", fontsize=9)
        figure.supylabel("Scale (cycles a band)", fontsize=9)
    figure.suptitle(f"{printable(title)}\n{spec.view}", fontsize=10, parse_math=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()


def _draw_energies(means: np.ndarray, grid: Grid) -> Figure:
    """Draw the mean modulation energies [n_regions, n_filters], the lowest region first."""
    from matplotlib.figure import Figure

    rates = [*(-rate for rate in reversed(grid.rates_hz[1:])), *grid.rates_hz]
    n_rows = -(-grid.n_regions // _PANELS_A_ROW)
    figure = Figure((11, 2.4 * n_rows + 1), dpi=_DPI, layout="constrained")
    panels = figure.subplots(n_rows, _PANELS_A_ROW, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[grid.n_regions :]:
        panel.set_axis_off()
    shown = {"vmin": float(means.min()), "vmax": float(means.max()), "cmap": "viridis", "aspect": "auto"}
    for k, panel in enumerate(panels[: grid.n_regions]):
        image = np.full((len(grid.scales), len(rates)), np.nan)
        for (rate, scale), energy in zip(grid.filters, means[k], strict=True):
            image[grid.scales.index(scale), rates.index(rate)] = energy
        drawn = panel.imshow(image, origin="lower", **shown)
        panel.set_title(f"region {k + 1}", fontsize=8)
        panel.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates], fontsize=6, rotation=90)
        panel.set_yticks(range(len(grid.scales)), [f"{scale:.3g}" for scale in grid.scales], fontsize=6)
    figure.colorbar(drawn, ax=panels.tolist(), label="ln of the mean energy")
    return figure
