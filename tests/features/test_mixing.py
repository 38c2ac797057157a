"""The mean of the channels, by the compiled kernel and by NumPy."""

import numpy as np
import pytest

from mirex_submission.features import kernel
from mirex_submission.features.audio import mix


@pytest.fixture(params=["compiled", "NumPy"], autouse=True)
def way(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(kernel, "compiled", None)
    elif not kernel.compiled:
        pytest.skip("no compiler was found when this was installed")


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 255])
@pytest.mark.parametrize("n", [1, 2, 15, 1000])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_every_sample_is_the_mean_of_its_channels_at_full_scale_1(dtype, n, n_channels):
    block = np.random.default_rng(n).uniform(-1, 1, (n, n_channels))
    block = (block * 32767).astype(dtype) if dtype is np.int16 else block.astype(dtype)
    mono = np.full(n, np.nan, np.float32)
    assert mix(block, mono) == 0
    full_scale = 32768 if dtype is np.int16 else 1
    np.testing.assert_allclose(mono, block.astype(np.float64).mean(axis=1) / full_scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 2, 5])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38])
def test_invalid_samples_become_zero_and_are_counted(value, n_channels):
    block = np.full((37, n_channels), 0.5, np.float32)
    block[[0, 7, 36]] = value
    mono = np.empty(37, np.float32)
    assert mix(block, mono) == 3
    assert np.flatnonzero(mono == 0).tolist() == [0, 7, 36] and np.count_nonzero(mono == 0.5) == 34


def test_an_invalid_channel_makes_the_sample_invalid():
    mono = np.empty(2, np.float32)
    assert mix(np.array([[1, np.nan], [1, 0]], np.float32), mono) == 1
    assert mono.tolist() == [0, 0.5]


def test_float_files_scaled_like_integers_are_valid():
    mono = np.empty(2, np.float32)
    assert mix(np.array([[2.0**31, 2.0**31], [-(2.0**31), 0]], np.float32), mono) == 0
    assert mono.tolist() == [2.0**31, -(2.0**30)]


def test_an_empty_block_gives_an_empty_mean():
    assert mix(np.empty((0, 2), np.float32), np.empty(0, np.float32)) == 0


def test_the_kernel_refuses_sizes_that_do_not_agree():
    if kernel.compiled:
        for shape, n_channels, n in (((4, 2), 2, 5), ((4, 2), 3, 4), ((4, 2), 0, 4), ((4, 2), -2, 4)):
            with pytest.raises(ValueError, match="block"):
                kernel.compiled.mix(np.ones(shape, np.float32), False, n_channels, 1.0, 1.0, np.empty(n, np.float32))
