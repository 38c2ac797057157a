"""Modulation energies by their definition, in float64: sums over all bands and frames, without FFT."""

import numpy as np
import scipy.fft


def gaussian(x, centre, deviation):
    return np.exp(-(((x - centre) / deviation) ** 2) / 2)


def by_definition(levels, frame_rate_hz, grid):
    """Apply each filter to the padded map, at the frames that are kept."""
    padded, before = np.asarray(levels, float), []
    for axis, margin in ((0, 32), (1, 64)):
        n = levels.shape[axis]
        more = scipy.fft.next_fast_len(n + margin) - n
        before.append(more // 2)
        margins = [(0, 0), (0, 0)]
        margins[axis] = more // 2, more - more // 2
        padded = np.pad(padded, margins, mode="reflect")
    (n_bands, n_frames), (size, length) = levels.shape, padded.shape
    f = np.arange(size) - size // 2
    spectrum = np.exp(-2j * np.pi * np.outer(f, np.arange(size)) / size) @ padded
    bands = np.arange(before[0], before[0] + n_bands)
    energies = []
    for rate, scale in grid.filters:
        deviation = 0.35 * abs(rate) or 0.12
        t = np.arange(-((length - 1) // 2), (length - 1) // 2 + 1)
        hz = t * frame_rate_hz / length
        t, hz = t[np.abs(hz - rate) <= 3 * deviation], hz[np.abs(hz - rate) <= 3 * deviation]
        # The output has as many frames as the filter has bins, evenly over the padded map; frames of the map count.
        places = np.arange(len(t)) * length / len(t)
        inside = places[(places >= before[1]) & (places < before[1] + n_frames)]
        whole = spectrum @ np.exp(-2j * np.pi * np.outer(np.arange(length), t) / length)
        # A downward rate has a negative scale.
        gains = gaussian(f[:, None] / size, scale, 0.35 * scale or 0.012) * gaussian(hz, rate, deviation)
        y = np.exp(2j * np.pi * np.outer(bands, f) / size) @ (whole * gains) / size
        modulus = np.abs(y @ np.exp(2j * np.pi * np.outer(t, inside) / length)) / length
        energies.append(
            [x.reshape(grid.n_regions, -1).mean(axis=1) for x in (modulus.mean(axis=1), modulus.std(axis=1))]
        )
    return np.log(np.array(energies).transpose(2, 0, 1) + 1e-5)
