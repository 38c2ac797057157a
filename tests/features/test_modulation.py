"""Modulation energies equal their definition, and a ripple has its energy at its rate and scale."""

import numpy as np
import pytest
from modulation_definition import by_definition

from mirex_submission.features.modulation import Grid, modulation_energies

FRAME_RATE_HZ = 40.0
GRID = Grid((0, 0.5, 2, 8, 16), (0, 1 / 16, 1 / 4, 0.4), n_regions=4)


@pytest.mark.parametrize("n_frames", [150, 301, 900])
def test_modulation_energies_equal_their_definition(n_frames):
    levels = np.random.default_rng(n_frames).uniform(0, 8, (24, n_frames)).astype(np.float32)
    levels += 3 * np.sin(np.arange(24)[:, None] * 0.4 + np.arange(n_frames) * 0.3).astype(np.float32)
    ours = modulation_energies(levels, FRAME_RATE_HZ, GRID)
    assert ours.shape == (4, len(GRID.filters), 2) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, by_definition(levels, FRAME_RATE_HZ, GRID), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("rate_hz", "scale"), [(2, 1 / 16), (-2, 1 / 16), (8, 1 / 4), (-8, 1 / 4)])
def test_a_ripple_has_most_energy_at_its_rate_and_scale(rate_hz, scale):
    bands, frames = np.arange(64)[:, None], np.arange(800)
    levels = 1 + np.cos(2 * np.pi * (scale * bands + rate_hz * frames / FRAME_RATE_HZ)).astype(np.float32)
    means = modulation_energies(levels.astype(np.float32), FRAME_RATE_HZ, GRID)[..., 0].mean(axis=0)
    moving = [k for k, (rate, s) in enumerate(GRID.filters) if rate and s]
    assert GRID.filters[max(moving, key=lambda k: means[k])] == (rate_hz, scale)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 17])
def test_a_map_of_few_frames_has_finite_energies(n_frames):
    levels = np.random.default_rng(0).uniform(0, 5, (24, n_frames)).astype(np.float32)
    assert np.isfinite(modulation_energies(levels, FRAME_RATE_HZ, GRID)).all()


def test_a_constant_map_has_no_deviation():
    levels = np.tile(np.linspace(0, 5, 24, dtype=np.float32)[:, None], 400)
    means, deviations = modulation_energies(levels, FRAME_RATE_HZ, GRID).transpose(2, 1, 0)
    assert means[0].max() > 1 and (deviations < -11).all()
