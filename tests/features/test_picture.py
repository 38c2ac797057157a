"""The picture of a clip: positions of segments, size, and any title or clip."""

import io
import json
import subprocess
import sys
import time
import warnings

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.features.picture import _end, draw, segment_rows
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.training.recipe import Recipe
from mirex_submission.training.segments import segment_starts

SPEC = FeatureSpec()
STARTS = np.array([0, 40, 7, 120])


def make_frames(n_frames, spec=SPEC):
    """Return random log-Mel frames."""
    return np.random.default_rng(3).uniform(-4, 1, (n_frames, spec.n_bands)).astype(np.float32)


def pixels(png):
    """Decode a PNG file to [height, width, 3], from 0 to 1."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return matplotlib.image.imread(io.BytesIO(png), format="png")[:, :, :3]


def bars(png):
    """Return rows and columns [n, 2] of the blue pixels, which show segments."""
    red, green, blue = np.moveaxis(pixels(png), 2, 0)
    return np.argwhere((blue > red + 0.15) & (green > red + 0.05))


def test_equal_input_gives_equal_bytes_and_other_input_other_bytes():
    png = draw(make_frames(300), STARTS, SPEC, title="a")
    assert draw(make_frames(300), STARTS[::-1].copy(), SPEC, title="a") == png
    others = [
        draw(make_frames(300)[::-1], STARTS, SPEC, title="a"),
        draw(make_frames(300), STARTS + 9, SPEC, title="a"),
        draw(make_frames(300), STARTS, SPEC, title="b"),
    ]
    assert png not in others and len(set(others)) == 3


@pytest.mark.parametrize("spec", [FeatureSpec(11025), FeatureSpec(44100, 80, 82), FeatureSpec(22050, 1, 1)])
def test_a_clip_of_one_segment_is_drawn_at_every_spec(spec):
    png = draw(make_frames(spec.n_frames, spec), np.array([0]), spec, title="a")
    height, width, _ = pixels(png).shape
    assert width == 800 and 480 <= height <= 640
    assert np.ptp(bars(png)[:, 1]) > 550  # the one bar is as long as the clip


def test_the_picture_grows_with_the_clip_and_the_rows_within_bounds():
    one_row, medium, long, many_rows = (
        pixels(draw(make_frames(n), starts, SPEC, title="a")).shape
        for n, starts in ((100, STARTS[:1]), (1200, STARTS), (20_000, STARTS), (100, np.zeros(100, int)))
    )
    assert one_row[1] == 800 < medium[1] < long[1] == 2000
    assert one_row[0] == 500 < medium[0] < many_rows[0] <= 640


def test_three_hours_take_seconds_and_no_second_copy_of_the_frames():
    code = """
import json, resource, sys
import numpy as np
from mirex_submission.features.picture import draw
from mirex_submission.features.spec import FeatureSpec
spec = FeatureSpec()
draw(np.zeros((80, 40), np.float32), np.array([0]), spec, title="a")
frames = np.zeros((310_000, 40), np.float32)
frames += np.linspace(-8, 1, 40, dtype=np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
png = draw(frames, np.arange(0, 309_000, spec.frames_between_segments), spec, title="a")
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"grown_mib": grown / 1024, "modules": [m for m in sys.modules if m.startswith("matplotlib")]}))
"""
    started_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - started_s < 60
    got = json.loads(done.stdout)
    assert got["grown_mib"] < 45  # the frames have 47
    assert "matplotlib.figure" in got["modules"]
    assert "matplotlib.pyplot" not in got["modules"]  # which has global state and wants a display


def test_sounds_and_segments_are_drawn_at_their_times():
    frames = np.full((800, 40), -4, np.float32)
    frames[100:110] = 1
    frames[600:610, 29:32] = 1
    png = draw(frames, np.array([0, 600, 790]), FeatureSpec(n_frames=10), title="")
    rows, columns = bars(png).T
    left, right = columns.min(), columns.max()  # from the first segment's begin to the last one's end
    image = pixels(png)[: rows.min() - 10, left:right]
    loud = np.argwhere((image.min(axis=2) > 0.7) & (image[:, :, 2] < 0.85))
    every_band, some_bands = (loud[(loud[:, 1] > a) & (loud[:, 1] < b)] for a, b in ((50, 250), (400, 800)))
    top, bottom = every_band[:, 0].min(), every_band[:, 0].max()
    assert every_band[:, 1].mean() / (right - left) == pytest.approx(105.5 / 801, abs=0.003)
    assert some_bands[:, 1].mean() / (right - left) == pytest.approx(605.5 / 801, abs=0.003)
    assert (bottom - some_bands[:, 0].mean()) / (bottom - top) == pytest.approx(30.5 / 40, abs=0.01)
    below = columns[(columns > left + 400) & (columns < left + 800)]
    assert below.mean() - left == pytest.approx(some_bands[:, 1].mean(), abs=2)


def test_a_clip_at_the_floor_is_drawn_in_one_colour():
    image = pixels(draw(np.full((80, 40), -10, np.float32), np.array([0]), SPEC, title="a"))
    colours, counts = np.unique(image[50:380, 120:600].reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) == 1 and counts[0] == 330 * 480


def test_silence_in_a_clip_does_not_reduce_the_contrast():
    frames = make_frames(300)
    shown = []
    for level in (-10, -6):  # both deeper than the colours reach
        frames[:30] = level
        shown.append(pixels(draw(frames, STARTS, SPEC, title="a"))[:380, 200:])
    np.testing.assert_allclose(*shown, rtol=0, atol=0.02)


@pytest.fixture(scope="module")
def plain():
    """Return the picture of a clip of equal cells with an ordinary title."""
    return pixels(draw(np.full((80, 40), -4, np.float32), np.array([0]), SPEC, title="a"))


@pytest.mark.parametrize(
    "title", ["$", r"$\frac{x$ \$", "a_b^c {%d}", "Grüße/東京 🎵.wav", "a\nb\tc\0\udcff", "/" * 400, "x" * 4000]
)
def test_no_title_breaks_the_picture_or_prints_anything(title, plain):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        odd = pixels(draw(np.full((80, 40), -4, np.float32), np.array([0]), SPEC, title=title))
    assert odd.shape == plain.shape
    assert np.abs(odd - plain)[30:].mean() < 0.05  # it stands above, and moves the rest by some pixels at most


def test_a_title_is_shown_unchanged_and_not_as_a_formula():
    titles = ("$x$", "x", r"\$x\$")
    assert len({draw(make_frames(80), np.array([0]), SPEC, title=title) for title in titles}) == 3


def test_a_long_title_keeps_its_last_parts():
    path = "/music/" + "long/" * 40 + "artist/album/01.wav"
    assert _end(path, 30) == "…/long/artist/album/01.wav"
    assert _end(path, len(path)) == path
    assert _end("x" * 50, 10) == "…" + "x" * 9


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=60),
    st.builds(FeatureSpec, st.sampled_from([11025, 44100]), st.just(40), st.integers(1, 100)),
)
def test_rows_have_every_segment_once_without_overlap_and_are_as_few_as_possible(starts, spec):
    rows = segment_rows(np.array(starts), spec)
    assert sorted(np.concatenate(rows).tolist()) == sorted(starts)
    for row in rows:
        assert (np.diff(row) * spec.hop >= spec.segment_samples).all()
    # No fewer will do: at the start of some segment, so many last.
    assert len(rows) == max(sum(0 <= (t - s) * spec.hop < spec.segment_samples for s in starts) for t in starts)


def test_segments_that_share_no_sample_are_in_one_row():
    starts = segment_starts(1000, "ab", SPEC, Recipe(segments="consecutive"))
    (row,) = segment_rows(starts, SPEC)
    np.testing.assert_array_equal(row, starts)
    assert len(segment_rows(np.array([0, SPEC.frames_between_segments - 1]), SPEC)) == 2
