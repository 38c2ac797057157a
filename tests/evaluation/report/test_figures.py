"""The report's figures: legible with few and with many classes, and no name runs over."""

import re

import numpy as np
import pytest

from mirex_submission.evaluation.report import figures as plots
from mirex_submission.evaluation.report.drawing import MARKERS, WIDTH, keys, shorten, width


def texts(figure):
    """(x, y, font size, text) of each text of a figure, where it stands."""
    found = re.findall(r'<text style="font-size: ([\d.]+)px[^>]*?x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)<', figure)
    return [(float(x), float(y), float(size), text) for size, x, y, text in found]


@pytest.mark.parametrize(("n_classes", "largest"), [(2, 7000), (10, 400), (50, 99), (50, 999)])
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
    assert figure.count(f">{classes[-1]}</text>") == 2
    assert re.search(r'viewBox="0 0 (\d+)', figure)[1] == str(WIDTH) or n_classes > 20


def test_a_matrix_is_shaded_by_the_column_and_shows_no_zeros():
    # 3 of 4 tracks of the first class are right, 1 of 400 of the second: alike small counts, unlike shares.
    figure = plots.confusion(["a", "b"], np.array([[3, 399], [1, 1]]), np.array([0, 2]), "A")
    ink = {count: "#ffffff" in style for style, count in re.findall(r'<text style="([^"]*)"[^>]*>(\d+)</text>', figure)}
    assert ink == {"3": True, "399": True, "1": False, "2": False}
    assert "0" not in [text for *_, text in texts(figure)] and "(no answer)" in figure


def test_no_two_systems_look_alike():
    drawn = keys([str(k) for k in range(60)])
    assert len({(key.colour, key.marker) for key in drawn}) == 60 and {key.marker for key in drawn} == set(MARKERS)


def test_systems_stand_in_their_rows_with_their_intervals():
    figure = plots.accuracies([("best", 0.9, (0.8, 0.95), [0.85, 0.95]), ("_worst", 0.5, (0.4, 0.6), [0.5])])
    by_name = {text: y for _, y, _, text in texts(figure)}
    assert by_name["best"] < by_name["_worst"]


@pytest.mark.parametrize(("seconds", "unit"), [(90, "seconds"), (600, "minutes"), (90_000, "hours")])
def test_run_times_are_in_a_unit_that_can_be_read(seconds, unit):
    figure = plots.run_times({"A": {"train": seconds, "classify": 1.0}, "B": {"classify": 2.0}})
    assert f"{unit}, all folds" in figure and ">train</text>" in figure and ">classify</text>" in figure


def test_learning_curves_of_one_epoch_and_of_a_diverged_training_are_drawn():
    one = {"epoch": np.array([1.0]), "loss": np.array([0.0]), "accuracy": np.array([1.0])}
    diverged = {"epoch": np.arange(1.0, 4), "loss": np.array([1, np.inf, np.nan]), "accuracy": np.array([0.5, 0.5, 0])}
    figure = plots.learning_curves({"1": [one], "<b>": [diverged]}, "A")
    assert ">network &lt;b&gt;</text>" in figure


@pytest.mark.parametrize("frames", [np.zeros((1, 40)), np.random.default_rng(0).normal(size=(5000, 40))])
def test_a_spectrogram_is_small_whatever_the_clip(frames):
    address = plots.spectrogram(frames.astype(np.float32))
    assert address.startswith("data:image/png;base64,") and len(address) < 60_000


def test_a_long_name_keeps_both_ends_and_fits():
    short = shorten("parallel_network_trained_with_fresh_segments_1")
    assert short.startswith("parallel") and short.endswith("ts_1") and "…" in short
    assert width(short) <= 150
    assert shorten("GT1") == "GT1"
