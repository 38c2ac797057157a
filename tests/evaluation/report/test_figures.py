"""The report's figures: legible with few and with many classes, and long names fit."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from mirex_submission.evaluation.report import figures as plots
from mirex_submission.evaluation.report.figures import MOST_CLASSES, WIDTH, most_confused, shorten

TEXT = r'<text style="font-size: ([\d.]+)px[^>]*?x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)<'


def texts(figure):
    """Return (x, y, font size, text) of each text of a figure."""
    return [(float(x), float(y), float(size), text.strip()) for size, x, y, text in re.findall(TEXT, figure)]


def width(text, size):
    """Return the width of a text in DejaVu Sans, in pixels."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(family="DejaVu Sans", size=size), False)[0]


def names(figure):
    return [text for *_, text in texts(figure)]


@pytest.mark.parametrize(
    ("n_classes", "largest"), [(2, 7000), (10, 400), pytest.param(50, 99, marks=pytest.mark.slow), (50, 999)]
)
def test_counts_of_2_to_50_classes_can_be_read_in_their_cells(n_classes, largest):
    classes = [f"genre number {k}" for k in range(n_classes)]
    counts = np.full((n_classes, n_classes), largest)
    figure = plots.confusion(classes, counts, np.zeros(n_classes, int), "A")
    shown = [(x, size, text) for x, _, size, text in texts(figure) if text == str(largest)]
    assert len(shown) == n_classes**2
    columns = sorted({round(x) for x, _, _ in shown})
    pitch = (columns[-1] - columns[0]) / (n_classes - 1)
    assert len(columns) == n_classes
    assert min(size for _, size, _ in shown) >= 8
    assert max(width(text, size) for _, size, text in shown) <= pitch
    assert names(figure).count(shorten(classes[-1], 16)) == 2
    assert float(re.search(r'viewBox="0 0 ([\d.]+)', figure)[1]) <= WIDTH + 4 or n_classes > 20


def test_a_matrix_is_shaded_by_the_column_and_shows_no_zeros():
    # 3 of 4 tracks of the first class are correct, 1 of 400 of the second: similar counts, different shares.
    figure = plots.confusion(["a", "b"], np.array([[3, 399], [1, 1]]), np.array([0, 2]), "A")
    ink = {count: "#ffffff" in style for style, count in re.findall(r'<text style="([^"]*)"[^>]*>(\d+)</text>', figure)}
    assert ink == {"3": True, "399": True, "1": False, "2": False}
    assert "0" not in names(figure) and "(no prediction)" in names(figure)


def test_the_most_confused_pairs_of_500_classes_are_drawn_within_seconds():
    n = 500
    counts = np.eye(n, dtype=int) * 9
    counts[3, 7], counts[499, 0] = 5, 4
    began_s = time.process_time()
    shown = names(plots.confusion([f"class{k}" for k in range(n)], counts, np.zeros(n, int), "A"))
    rows = names(plots.recalls([f"class{k}" for k in range(n)], np.full((n, 2), 0.5), ["A", "B"]))
    assert time.process_time() - began_s < 20
    assert [text for text in shown if text.startswith("class")] == ["class7 → class3", "class0 → class499"]
    assert len([text for text in rows if text.startswith("class")]) == MOST_CLASSES and rows.count("class499") == 1


def test_the_most_frequent_confusions_are_named_in_order():
    assert most_confused(np.array([[9, 1, 0], [2, 9, 2], [0, 0, 9]]), 9) == [(2, 1, 0), (2, 1, 2), (1, 0, 1)]
    assert most_confused(np.eye(3, dtype=int), 9) == []


def test_no_two_systems_share_colour_and_marker():
    looks = [plots._look(k) for k in range(60)]
    assert len({(look["color"], look["marker"]) for look in looks}) == 60


def test_systems_stand_in_their_rows_with_their_intervals():
    figure = plots.accuracies([("best", 0.9, (0.8, 0.95), [0.85, 0.95]), ("_worst", 0.5, (0.4, 0.6), [0.5])])
    by_name = {text: y for _, y, _, text in texts(figure)}
    assert by_name["best"] < by_name["_worst"]


@pytest.mark.parametrize(("seconds", "unit"), [(90, "seconds"), (600, "minutes"), (90_000, "hours")])
def test_run_times_are_drawn_in_a_suitable_unit(seconds, unit):
    figure = plots.run_times({"A": {"train": seconds, "classify": 1.0}, "B": {"classify": 2.0}})
    assert any(text.startswith(unit) for text in names(figure)) and {"train", "classify"} <= set(names(figure))


def test_learning_curves_of_one_epoch_and_of_a_diverged_training_are_drawn():
    one = {"epoch": np.array([1.0]), "loss": np.array([0.0]), "accuracy": np.array([1.0])}
    diverged = {"epoch": np.arange(1.0, 4), "loss": np.array([1, np.inf, np.nan]), "accuracy": np.array([0.5, 0.5, 0])}
    figure = plots.learning_curves({"1": [one], "<b>": [diverged]}, "A")
    assert {"network 1", "network &lt;b&gt;"} <= set(names(figure))


@pytest.mark.parametrize("frames", [np.zeros((1, 40)), np.random.default_rng(0).normal(size=(5000, 40))])
def test_a_spectrogram_is_small_for_short_and_long_clips(frames):
    address = plots.spectrogram(frames.astype(np.float32))
    assert address.startswith("data:image/png;base64,") and len(address) < 60_000


def test_a_long_name_keeps_both_ends_and_fits():
    short = shorten("parallel_network_trained_with_fresh_segments_1")
    assert short.startswith("parallel") and short.endswith("ts_1") and "…" in short
    assert len(short) == 22 and width(short, 11) <= 150
    assert shorten("GT1") == "GT1"


@pytest.mark.filterwarnings("ignore:Glyph")
def test_ideographs_that_the_font_lacks_get_enough_room():
    short = shorten("発酵する音楽のとても長い名前と種類")
    assert len(short.strip()) == 11 and short.strip().startswith("発") and short.endswith("類")
    assert width(short, 11) >= 11 * 11  # a square each


DRAW = """
import sys, numpy as np
from mirex_submission.evaluation.report import figures
print(figures.confusion(["x", "y"], np.array([[3, 1], [2, 4]]), np.zeros(2, int), "A"))
print(figures.learning_curves({"1": [{n: np.arange(1.0, 4) for n in ("epoch", "loss", "accuracy")}]}, "A"))
print(figures.spectrogram(np.eye(40, dtype=np.float32)))
"""


def test_a_matplotlibrc_changes_nothing(tmp_path):
    (tmp_path / "matplotlib").mkdir()
    drawn = []
    for text in ("", "text.usetex: True\nfont.size: 30\nsvg.fonttype: path\nimage.cmap: jet\nimage.origin: lower\n"):
        for path in ("matplotlibrc", "matplotlib/matplotlibrc"):
            (tmp_path / path).write_text(text)
        environment = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "matplotlib"), "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            [sys.executable, "-c", DRAW], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        drawn.append(done.stdout)
    assert drawn[0] == drawn[1] and "<text" in drawn[0]
