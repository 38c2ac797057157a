"""`train --dry-run`: the plan names what a training then does, and leaves nothing behind."""

import re

import pytest

from mirex_submission.networks.sizes import operations


def test_the_plan_has_the_sizes_of_the_training(corpus, run_script, tmp_path):
    call = ("train.sh", "--epochs", 3, "--segments-per-track", 7, "--model", "all", tmp_path / "s", corpus["train"])
    plan = run_script(call[0], "--dry-run", *call[1:])
    assert plan.returncode == 0, plan.stderr
    assert "tracks: 16 of 4 classes (4 'bells', 4 'chorale', 4 'techno', 4 'waltz')" in plan.stdout
    assert "0 tracks stored already, 16 to extract" in plan.stdout and "segments: 112 an epoch" in plan.stdout
    assert not [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    said = run_script(*call).stderr
    for model in "123":
        weights, steps = re.search(rf"model {model}: (\d+) weights, 3 epochs, (\d+) steps", plan.stdout).groups()
        assert re.search(rf"model {model}: 4 classes, 112 segments an epoch, 3 epochs of {int(steps) // 3} steps", said)
        assert int(re.search(rf"model {model}: .* (\d+) weights", said)[1]) == int(weights)
    again = run_script("train.sh", "--dry-run", *call[1:])
    assert "16 tracks stored already, 0 to extract" in again.stdout and "as the stored tracks have them" in again.stdout


def test_consecutive_segments_are_counted_from_the_clips_length(corpus, run_script, tmp_path):
    args = ("--segments", "consecutive", tmp_path / "s", corpus["train"])
    assert run_script("train.sh", "--epochs", 1, *args).returncode == 0
    plan = run_script("train.sh", "--dry-run", *args)
    assert "segments: 16 an epoch" in plan.stdout  # of 4 s: one


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
    found = operations(architecture, n_bands=40, n_frames=80, n_classes=10)
    assert found == (convolution + dense, convolution + kept + 3 * dense)
