"""The compiled kernel: it is built, it equals the definition by librosa, and it refuses sizes that do not agree."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from mirex_submission.features import kernel
from mirex_submission.features.logmel import FLOOR, librosa_band_powers, method
from mirex_submission.features.spec import FeatureSpec, MelSpec

COMPILER = [*os.environ.get("CC", "gcc").split(), "--version"]  # CC=/bin/false stands for a machine without one
HAS_COMPILER = bool(shutil.which(COMPILER[0])) and subprocess.run(COMPILER, capture_output=True).returncode == 0
compiled = pytest.mark.skipif(not kernel.compiled, reason="no compiler was found when this was installed")


@pytest.mark.skipif(
    not (HAS_COMPILER and Path(sysconfig.get_path("include"), "Python.h").exists()), reason="needs a compiler"
)
def test_the_kernel_is_built_where_there_is_a_compiler():
    assert kernel.compiled and kernel.LANES[0] == 4
    assert method() == f"compiled kernel, {kernel.LANES[-1]} at a time"


@compiled
@pytest.mark.parametrize("lanes", kernel.LANES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(
    "spec",
    [*(FeatureSpec(rate_hz).mel for rate_hz in (11025, 22050, 44100)), MelSpec(22050, 1024, 256, 96, 20.0)],
    ids=lambda spec: f"{spec.rate_hz}-{spec.window}",
)
def test_the_kernel_equals_librosa_to_1e_4_in_log10_units(spec, dtype, lanes):
    rate_hz, n = spec.rate_hz, 3 * spec.rate_hz
    tones = np.sin(2 * np.pi * np.cumsum(np.linspace(50, rate_hz / 2.5, n)) / rate_hz)
    samples = np.linspace(0.001, 0.6, n) * tones + 0.01 * np.random.default_rng(3).uniform(-1, 1, n)
    samples = (samples * 2**15).astype(dtype) if dtype is np.int16 else samples.astype(dtype)
    ours, expected = (
        np.log10(np.maximum(powers, FLOOR))
        for powers in (kernel.band_powers(samples, spec, lanes=lanes), librosa_band_powers(samples, spec))
    )
    assert ours.dtype == expected.dtype == np.float32 and ours.shape == expected.shape
    assert (expected > expected.max(axis=1, keepdims=True) - 7).all()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@compiled
@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
def test_all_widths_of_vectors_agree_within_rounding(rate_hz):
    samples = np.random.default_rng(3).uniform(-1, 1, 3 * rate_hz).astype(np.float32)
    powers = [kernel.band_powers(samples, FeatureSpec(rate_hz).mel, lanes=lanes) for lanes in kernel.LANES]
    for power in powers:
        np.testing.assert_allclose(power, powers[0], rtol=1e-5)
    if kernel.LANES == (4, 8, 16):  # both fuse multiplications and additions
        np.testing.assert_array_equal(powers[1], powers[2])


def arguments(**changed):
    """Return arguments of the kernel for 4 frames of 32 samples and 2 bands."""
    valid = {
        "samples": np.ones(32 + 3 * 16, np.float32), "is_int16": False, "hop": 16, "weights": np.ones(32, np.float32),
        "roots": np.exp(-2j * np.pi * np.arange(32) / 32).astype(np.complex64),
        "slopes": np.array([0, 5, 10, 17], np.int32), "falling": np.ones(17, np.float32),
        "rising": np.ones(17, np.float32), "out": np.zeros((4, 2), np.float32), "lanes": 4,
    }  # fmt: skip
    return list({**valid, **changed}.values())


@compiled
def test_the_smallest_window_equals_a_result_computed_by_hand():
    frame_power = 32.0**2  # of ones: all in bin 0, which is on the first slope, so rising in band 0
    args = arguments()
    kernel.compiled.band_powers(*args)
    np.testing.assert_allclose(args[8], [[frame_power, 0]] * 4, atol=1e-9)


@compiled
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samples": np.ones(79, np.float32)}, "more frames than"),
        ({"samples": np.ones(0, np.float32)}, "more frames than"),
        ({"samples": np.ones(79, np.int16), "is_int16": True}, "more frames than"),
        ({"hop": 17}, "more frames than"),
        ({"hop": 2**62}, "hop"),
        ({"hop": 0}, "hop"),
        ({"hop": -1}, "hop"),
        ({"hop": 2**63 - 1, "out": np.zeros((1, 2), np.float32)}, "hop"),
        ({"weights": np.ones(0, np.float32)}, "window"),
        ({"weights": np.ones(16, np.float32)}, "window"),
        ({"weights": np.ones(33, np.float32)}, "window"),
        ({"weights": np.ones(160, np.float32)}, "window"),
        ({"weights": np.ones(64, np.float32)}, "roots"),
        ({"roots": np.ones(31, np.complex64)}, "roots"),
        ({"slopes": np.array([0, 5, 10, 18], np.int32)}, "slopes"),
        ({"slopes": np.array([-1, 5, 10, 17], np.int32)}, "slopes"),
        ({"slopes": np.array([0, 10, 5, 17], np.int32)}, "order"),
        ({"slopes": np.array([0, 17], np.int32)}, "slopes"),
        ({"slopes": np.zeros(0, np.int32)}, "slopes"),
        ({"falling": np.ones(16, np.float32)}, "falling"),
        ({"rising": np.ones(18, np.float32)}, "rising"),
        ({"lanes": 5}, "lanes"),
    ],
)
def test_sizes_that_do_not_agree_are_refused(changed, words):
    with pytest.raises(ValueError, match=words):
        kernel.compiled.band_powers(*arguments(**changed))


@compiled
def test_an_array_that_is_not_contiguous_is_refused():
    with pytest.raises((ValueError, BufferError), match="contiguous"):
        kernel.compiled.band_powers(*arguments(samples=np.ones(160, np.float32)[::2]))
