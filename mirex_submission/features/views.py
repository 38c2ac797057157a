"""Views: descriptors of a clip as one vector, from which a classifier without segments learns.

Two are built in (modulation_views.py), and installed packages add others: any function from a waveform to a vector,
such as an embedding, as a `View` under an entry point (docs/views.md).

A track longer than `spec.WINDOW_S` is cut into windows of that length, the last of which ends where the track ends, so
that memory is bounded; all windows count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.errors import AudioError
from mirex_submission.features.spec import WINDOW_S, ViewSpec
from mirex_submission.system.plugins import Plugins

OWN = ("mel-modulation", "vqt-modulation")
PLUGINS = Plugins("mirex_submission.views", "view", own=OWN)


@dataclass(frozen=True)
class View:
    """A function from a clip to a vector.

    Parameters
    ----------
    compute : callable
        From samples (mono, float32, full scale 1.0, [shape=(n,)], n > 0) and their rate in Hz (one of VIEW_RATES_HZ) to
        a vector [shape=(length,)], or to a matrix [shape=(n_rows, length)] whose mean over the rows stands for the
        clip. It has to give finite numbers for silence and for a clip of one sample, and the same for the same samples.
    length : int
        Length of a vector.
    version : str
        Raise it whenever the same samples would give other numbers: stored vectors are then made again.
    """

    compute: Callable[[np.ndarray, int], np.ndarray]
    length: int
    version: str = "1"


def view(name: str) -> View:
    """Return the view of this name. Raises UsageError."""
    if name in OWN:
        from mirex_submission.features import modulation_views  # only here: stored vectors are read without it

        return {"mel-modulation": modulation_views.MEL, "vqt-modulation": modulation_views.VQT}[name]
    registered = PLUGINS.load(name)
    if not isinstance(registered, View):
        raise PLUGINS.refused(name, "a mirex_submission.View")
    return registered


def view_spec(name: str, rate_hz: int) -> ViewSpec:
    """Return the spec of a view's vectors at a working rate. Raises UsageError."""
    chosen = view(name)
    return ViewSpec(name, chosen.version, rate_hz, chosen.length)


def vectors_of_blocks(blocks: Iterable[np.ndarray], specs: Sequence[ViewSpec]) -> list[np.ndarray]:
    """Compute the vectors of a clip in several views.

    Parameters
    ----------
    blocks : iterable of np.ndarray
        The clip's samples in blocks, as `audio.Recording` gives them.
    specs : sequence of ViewSpec
        The views, all at the rate of the samples.

    Returns
    -------
    list of np.ndarray [shape=(n_windows, length), float32]
        For each of `specs`.

    Raises
    ------
    AudioError
        A view's function fails.
    UsageError
        There is no such view.
    """
    functions = [view(spec.view).compute for spec in specs]
    rows: list[list[np.ndarray]] = [[] for _ in specs]
    for samples in _windows(blocks, WINDOW_S * specs[0].rate_hz):
        for spec, compute, of_view in zip(specs, functions, rows, strict=True):
            of_view.append(_checked(compute(samples, spec.rate_hz), spec))
    return [np.stack(of_view) for of_view in rows]


def track_vector(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of a track's windows [n_windows, length] in one view, float32 [length]."""
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), np.float32)


def _checked(vectors: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """Return the vector of a window [length]. Raises AudioError where the view's function did not give one."""
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim not in (1, 2) or vectors.shape[-1] != spec.length or not vectors.size:
        problem = f"an array of shape {vectors.shape} instead of vectors of {spec.length} numbers"
    elif not np.isfinite(vectors).all():
        problem = "numbers that are not finite"
    else:
        return vectors.mean(axis=0) if vectors.ndim == 2 else vectors
    raise AudioError(f"view {spec.view}: its function gave {problem}", code="features.view")


def _windows(blocks: Iterable[np.ndarray], n: int) -> Iterator[np.ndarray]:
    """Yield windows of `n` samples, float32 with full scale 1.0; the last one ends with the clip, and may be alone."""
    kept: list[np.ndarray] = []  # since the last window, and that window, which the last one of all may need
    n_new = n_kept = 0
    for block in blocks:
        kept.append(block)
        n_new, n_kept = n_new + len(block), n_kept + len(block)
        while n_new > n:  # at least one sample after it: what ends here is for the last window
            samples = np.concatenate(kept)
            start = n_kept - n_new
            yield _as_float(samples[start : start + n])
            kept = [samples[start:]]
            n_new, n_kept = n_new - n, n_kept - start
    yield _as_float(np.concatenate(kept)[-n:])


def _as_float(samples: np.ndarray) -> np.ndarray:
    floats = samples.astype(np.float32)
    return floats * np.float32(2.0**-15) if samples.dtype == np.int16 else floats
