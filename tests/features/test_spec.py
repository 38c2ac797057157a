"""FeatureSpec: the paper's sizes in proportion to the rate, and the rule for other and mixed rates."""

import dataclasses
import math
from fractions import Fraction

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.features.spec import FeatureSpec, own_working_rate, working_rate


@pytest.mark.parametrize(
    ("rate_hz", "window", "segment_samples"), [(11025, 768, 31104), (22050, 1536, 62208), (44100, 3072, 124416)]
)
def test_sizes_scale_with_the_rate(rate_hz, window, segment_samples):
    spec = FeatureSpec(rate_hz=rate_hz)
    assert (spec.n_bands, spec.n_frames) == (40, 80)
    assert (spec.window, spec.hop) == (window, window // 2)
    assert spec.segment_samples == segment_samples
    assert segment_samples == window + 79 * window // 2  # 80 frames without centring


def test_other_numbers_of_frames_change_the_segment_only():
    spec = FeatureSpec(rate_hz=44100, n_bands=80, n_frames=82)
    assert (spec.window, spec.hop, spec.segment_samples) == (3072, 1536, 3072 + 81 * 1536)


@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
@pytest.mark.parametrize("n_frames", [1, 80, 82])
def test_consecutive_segments_share_no_sample_and_waste_none(rate_hz, n_frames):
    spec = FeatureSpec(rate_hz=rate_hz, n_frames=n_frames)
    assert spec.frames_between_segments * spec.hop == spec.segment_samples


def test_spec_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match="rate_hz"):
        FeatureSpec().rate_hz = 44100


def test_the_id_is_a_folder_name_and_differs_between_specs():
    specs = [
        FeatureSpec(),
        *(FeatureSpec(**{name: value}) for name, value in [("rate_hz", 11025), ("n_bands", 80), ("n_frames", 82)]),
    ]
    assert len({spec.id for spec in specs}) == len(specs) == 4
    assert all(spec.id and "/" not in spec.id and not spec.id.startswith(".") for spec in specs)


@pytest.mark.parametrize("rate_hz", [0, -22050, 8000, 22051, 48000])
def test_other_working_rates_are_refused(rate_hz):
    with pytest.raises(UsageError, match=r"11025, 22050, 44100 \[usage.feature-rate\]$"):
        FeatureSpec(rate_hz=rate_hz)


@pytest.mark.parametrize("sizes", [{"n_bands": 0}, {"n_frames": 0}, {"n_bands": -1}])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(UsageError, match=r"\[usage.feature-size\]$"):
        FeatureSpec(**sizes)


@pytest.mark.parametrize(
    ("native_hz", "working_hz"),
    [
        (8000, 11025), (11025, 11025), (11026, 22050), (16000, 22050), (22050, 22050), (22051, 44100),
        (32000, 44100), (44100, 44100), (44101, 44100), (48000, 44100), (96000, 44100), (192000, 44100),
    ],
)  # fmt: skip
def test_other_rates_use_the_next_higher_working_rate_or_44100(native_hz, working_hz):
    assert own_working_rate(native_hz) == working_hz
    assert working_rate([native_hz]) == working_hz


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({44100: 95, 22050: 5}, 44100),
        ({44100: 94, 22050: 6}, 22050),
        ({22050: 95, 11025: 5}, 22050),
        ({44100: 50, 22050: 45, 8000: 5}, 22050),  # what reaches 44.1 kHz reaches 22.05 kHz too
        ({44100: 50, 22050: 44, 8000: 6}, 11025),
        ({48000: 60, 32000: 40}, 44100),
        ({44100: 1, 11025: 1}, 11025),
    ],
)
def test_mixed_rates_use_the_highest_that_95_percent_reach(counts, expected):
    rates = [rate for rate, n in counts.items() for _ in range(n)]
    assert working_rate(rates) == working_rate(rates[::-1]) == expected


def test_95_percent_is_exact_for_every_number_of_files():
    for n in range(1, 401):
        needed = math.ceil(Fraction(95, 100) * n)
        assert working_rate([44100] * needed + [22050] * (n - needed)) == 44100, n
        assert working_rate([44100] * (needed - 1) + [22050] * (n - needed + 1)) == 22050, n


def test_a_task_without_readable_files_has_the_usual_rate_of_mirex():
    assert working_rate([]) == 22050


@pytest.mark.parametrize("sizes", [{"n_bands": 10**6}, {"n_frames": 10**8}, {"n_bands": 40.0}, {"n_frames": True}])
def test_absurdly_large_sizes_are_refused(sizes):
    with pytest.raises(UsageError, match=r"\[usage.feature-size\]$"):
        FeatureSpec(**sizes)
