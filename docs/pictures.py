#!/usr/bin/env python3
"""Draw the pictures of the documents: `docs/pictures.py [REPORT.html]` writes docs/pictures/.

overview.png  audio, log-Mel frames, the parallel pipelines of model 2, and label: from a synthetic clip
report.png    the top of a report's page, if one is given; needs Chromium
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import soundfile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from synthetic_corpus import write_corpus  # noqa: E402

from mirex_submission import classify, train  # noqa: E402
from mirex_submission.features.logmel import log_mel_of_blocks  # noqa: E402
from mirex_submission.features.spec import FeatureSpec  # noqa: E402

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle  # noqa: E402

RATE_HZ, SECONDS = 22050, 6.0
BLUE, ORANGE, GREY = "#1f5fa8", "#c8641b", "#555555"


def draw_overview(path):
    """Draw how a track of a synthetic corpus becomes a label, by a model of the others."""
    spec = FeatureSpec(RATE_HZ)
    with tempfile.TemporaryDirectory() as folder:
        lists = write_corpus(folder, n_clips=9, seconds=SECONDS)
        track = lists["test"].read_text().splitlines()[4]
        train(f"{folder}/scratch", lists["train"], epochs=8)
        answer = classify(f"{folder}/scratch", [track])
        samples, _ = soundfile.read(track, dtype="float32")
    frames = log_mel_of_blocks([np.round(32767 * samples / abs(samples).max()).astype(np.int16)], spec)
    figure = plt.figure(figsize=(12, 3.4), dpi=110)
    draw_audio(figure.add_axes((0.015, 0.2, 0.17, 0.52)), samples)
    draw_frames(figure.add_axes((0.235, 0.2, 0.2, 0.52)), frames, spec)
    draw_pipelines(figure.add_axes((0.485, 0.06, 0.27, 0.8)))
    draw_label(
        figure.add_axes((0.87, 0.2, 0.115, 0.52)), dict(zip(answer.classes, answer.probabilities[0], strict=True))
    )
    for x in (0.188, 0.442, 0.762):
        arrow = FancyArrowPatch((x, 0.46), (x + 0.036, 0.46), arrowstyle="-|>", mutation_scale=16, color=GREY)
        figure.add_artist(arrow)
    for x, title in ((0.1, "audio"), (0.335, "log-Mel frames"), (0.62, "parallel convolutions"), (0.91, "label")):
        figure.text(x, 0.9, title, ha="center", fontsize=13, weight="bold")
    figure.savefig(path, metadata={"Software": None})


def draw_audio(axes, samples):
    """Draw the waveform."""
    axes.plot(np.arange(len(samples)) / RATE_HZ, samples, lw=0.3, color=BLUE)
    axes.set(xlim=(0, SECONDS), yticks=[], xlabel="seconds")
    axes.spines[["top", "left", "right"]].set_visible(False)


def draw_frames(axes, frames, spec):
    """Draw the frames, and the segment that a network sees."""
    axes.imshow(frames.T, origin="lower", aspect="auto", cmap="magma")
    start = 40
    axes.add_patch(Rectangle((start, -0.5), spec.n_frames, spec.n_bands, fill=False, ec="white", lw=2))
    axes.text(start + spec.n_frames / 2, spec.n_bands - 5, "a segment", color="white", ha="center", fontsize=9)
    axes.set(xticks=[], yticks=[], xlabel=f"{spec.n_bands} Mel bands; a segment is {spec.n_frames} frames")


def draw_pipelines(axes):
    """Draw model 2: filters over frequency beside filters over time."""
    axes.set(xlim=(0, 10), ylim=(0, 10))
    axes.axis("off")
    rows = (
        (6.3, BLUE, "32 filters of 14\nbands x 15 frames", "pool over\n17 frames"),
        (2.4, ORANGE, "32 filters of 4\nbands x 8 frames", "pool over\n15 bands"),
    )
    for y, color, filters, pooling in rows:
        box(axes, 0.1, y, 3.7, 2.2, color, filters)
        box(axes, 4.4, y, 2.3, 2.2, color, pooling)
        arrow(axes, (3.8, y + 1.1), (4.4, y + 1.1), color)
        arrow(axes, (6.7, y + 1.1), (8.2, 5.5), color)
    axes.text(0.1, 8.8, "over frequency", color=BLUE, fontsize=9)
    axes.text(0.1, 1.55, "over time", color=ORANGE, fontsize=9)
    box(axes, 8.1, 4.4, 1.8, 2.2, GREY, "200\nunits")


def box(axes, x, y, width, height, color, text):
    """Draw a box with a text."""
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.05", fc="white", ec=color, lw=1.6))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5, color=color)


def arrow(axes, start, end, color):
    """Draw an arrow from one point to another."""
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=color, shrinkA=2, shrinkB=2))


def draw_label(axes, probabilities):
    """Draw class probabilities."""
    best = max(probabilities, key=probabilities.get)
    colors = [ORANGE if name == best else "#bbbbbb" for name in probabilities]
    axes.barh(list(probabilities), list(probabilities.values()), color=colors)
    axes.set(xlim=(0, 1), xticks=[0, 1], xlabel="mean probability")
    axes.tick_params(length=0, labelsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def draw_report(page, path):
    """Draw the top of a report as a browser shows it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        raise SystemExit("docs/pictures.py: no Chromium on the PATH: install it to draw report.png")
    with tempfile.TemporaryDirectory() as home:
        command = [browser, "--headless=new", "--no-sandbox", f"--user-data-dir={home}", "--window-size=1100,900"]
        command += ["--hide-scrollbars", f"--screenshot={path}", Path(page).resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)


def main():
    (HERE / "pictures").mkdir(exist_ok=True)
    draw_overview(HERE / "pictures" / "overview.png")
    for page in sys.argv[1:2]:
        draw_report(page, HERE / "pictures" / "report.png")


if __name__ == "__main__":
    main()
