"""`train --dry-run` prints the sizes of the training and writes nothing."""

import re

import numpy as np
import pytest
import soundfile
from command_line import call

from mirex_submission.networks.sizes import operations


@pytest.fixture
def train_list(tmp_path):
    """Six clips of noise, of 4 s, in two classes."""
    lines = []
    for k in range(6):
        path = tmp_path / f"{k}.wav"
        soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, 4 * 22050), 22050)
        lines.append(f"{path}\t{'ab'[k % 2]}\n")
    (tmp_path / "train.txt").write_text("".join(lines))
    return tmp_path / "train.txt"


def test_the_plan_has_the_sizes_of_the_training(train_list, tmp_path):
    options = ("--epochs", 2, "--segments-per-track", 9, "--batch-size", 20, "--model", "all", "--no-picture")
    plan = call("train", "--dry-run", *options, tmp_path / "s", train_list)
    assert plan.status == 0, plan.stderr
    assert not [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert re.search("6 of 2 classes .*3 'a', 3 'b'", plan.stdout)
    assert re.search(r"0 tracks stored already, 6 to extract\nsegments: 54 an epoch", plan.stdout)
    assert call("train", *options, tmp_path / "s", train_list).status == 0
    saved = []
    for path in (tmp_path / "s/model").glob("*.npz"):
        with np.load(path) as weights:
            saved.append(sum(weights[name].size for name in weights.files if not name.startswith("standardise")))
    planned = [re.search(rf"model {model}: (\d+) weights, 2 epochs, 6 steps of 20", plan.stdout)[1] for model in "123"]
    assert sorted(map(int, planned)) == sorted(saved)
    again = call("train", "--dry-run", *options, tmp_path / "s", train_list)
    assert "6 tracks stored already, 0 to extract" in again.stdout


def test_the_length_of_the_clips_decides_the_number_of_consecutive_segments(train_list, tmp_path):
    plan = call("train", "--dry-run", "--segments", "consecutive", tmp_path / "s", train_list)
    assert "segments: 6 an epoch" in plan.stdout  # a clip of 4 s has one


@pytest.mark.parametrize(
    ("architecture", "convolution", "kept", "merged"),
    [
        ("1", 2 * 120 * 30 * 31 * 60, 2 * 120 * 30 * 31 * 3, 31 * 3 * 30),
        (
            "2",
            2 * 210 * 32 * 27 * 51 + 2 * 32 * 32 * 30 * 73,
            2 * 210 * 32 * 27 * 3 + 2 * 32 * 32 * 2 * 73,
            27 * 3 * 32 + 2 * 73 * 32,
        ),
        (
            "3",
            2 * 120 * 30 * 31 * 60 + 2 * 340 * 30 * 31 * 40,
            2 * 120 * 30 * 31 * 3 + 2 * 340 * 30 * 31 * 2,
            31 * 3 * 30 + 31 * 2 * 30,
        ),
    ],
)
def test_operations_derived_by_hand(architecture, convolution, kept, merged):
    dense = 2 * (merged * 200 + 200 * 10)
    counts = operations(architecture, n_bands=40, n_frames=80, n_classes=10)
    assert counts == (convolution + dense, convolution + kept + 3 * dense)
