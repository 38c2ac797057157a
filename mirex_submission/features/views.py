"""Views: descriptors of a clip as one vector, for a classifier that uses no segments.

Four views are built in (modulation_views.py), and installed packages can add others: any function from a waveform to a
vector, such as an embedding, as a `View` with an entry point (docs/python.md).

A track longer than `spec.WINDOW_S` is cut into windows of this length, so that memory is bounded. The last window ends
at the end of the track, and all windows have the same weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features.spec import VIEW_RATES_HZ, WINDOW_S, ViewSpec
from mirex_submission.system.plugins import Plugins

OWN = ("mel-modulation", "vqt-modulation", "normalised-mel-modulation", "normalised-vqt-modulation")
PLUGINS = Plugins("mirex_submission.views", "view", own=OWN)


@dataclass(frozen=True)
class View:
    """A function from a clip to a vector.

    Parameters
    ----------
    compute : callable
        Function from samples (mono, float32, full scale 1.0, [shape=(n,)], n > 0) and their rate in Hz (one of
        VIEW_RATES_HZ) to a vector [shape=(length,)], or to a matrix [shape=(n_rows, length)], whose mean over the rows
        is used. It must return finite numbers for silence and for a clip of one sample, and equal numbers for equal
        samples.
    length : int
        Length of a vector.
    version : str
        Raise it whenever the same samples would give different values: stored vectors are then computed again.

    Raises
    ------
    UsageError
        `compute` is not callable, `length` is not a whole number above 0, or `version` is not a short name.

    Examples
    --------
    >>> from mirex_submission import View
    >>> levels = View(lambda samples, rate_hz: [abs(samples).mean(), abs(samples).max()], length=2)
    >>> levels.length, levels.version
    (2, '1')
    """

    compute: Callable[[np.ndarray, int], np.ndarray]
    length: int
    version: str = "1"

    def __post_init__(self) -> None:
        if not callable(self.compute):
            raise UsageError(f"compute={self.compute!r}: give a function", code="usage.view")
        ViewSpec("view", self.version, VIEW_RATES_HZ[0], self.length)  # checks both


def view(name: str) -> View:
    """Return the view of this name. Raises UsageError."""
    if name in OWN:
        from mirex_submission.features import modulation_views  # only here, because stored vectors do not need it

        return modulation_views.VIEWS[name]
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
        The clip's samples in blocks, as from `audio.Recording`.
    specs : sequence of ViewSpec
        The views, all at the rate of the samples.

    Returns
    -------
    list of np.ndarray [shape=(n_windows, length), float32]
        Vectors for each of `specs`.

    Raises
    ------
    AudioError
        A view's function fails.
    UsageError
        A view is not installed, or has another version or length.
    """
    functions = [_installed(spec).compute for spec in specs]
    rows: list[list[np.ndarray]] = [[] for _ in specs]
    for samples in _windows(blocks, WINDOW_S * specs[0].rate_hz):
        for spec, compute, vectors in zip(specs, functions, rows, strict=True):
            vectors.append(_vector(compute, samples, spec))
    return [np.stack(vectors) for vectors in rows]


def track_vector(vectors: np.ndarray) -> np.ndarray:
    """Return the mean of a track's windows [n_windows, length] in one view, float32 [length]."""
    return np.asarray(vectors.mean(axis=0, dtype=np.float64), np.float32)


def _installed(spec: ViewSpec) -> View:
    """Return the view of a spec. Raises UsageError if its version or length differs from the spec."""
    chosen = view(spec.view)
    if (chosen.version, chosen.length) != (spec.version, spec.length):
        raise UsageError(
            f"view {spec.view}: version {spec.version} of length {spec.length} is needed, but version "
            f"{chosen.version} of length {chosen.length} is installed: install the needed one, or train again",
            code="usage.view-version",
        )
    return chosen


def _vector(compute: Callable[[np.ndarray, int], np.ndarray], samples: np.ndarray, spec: ViewSpec) -> np.ndarray:
    """Compute the vector of a window [length].

    Raises AudioError if the view's function fails or returns an invalid vector; passes on its UsageError.
    """
    try:
        vectors = np.asarray(compute(samples.copy(), spec.rate_hz))  # a copy, because a function may change it
        is_real = np.issubdtype(vectors.dtype, np.floating) or np.issubdtype(vectors.dtype, np.integer)
    except UsageError:  # a requirement of the view is missing, for other tracks too
        raise
    except (Exception, SystemExit) as error:
        text = f"view {spec.view}: its function raised {type(error).__name__}: {error}"
        raise AudioError(text, code="features.view") from error
    if not is_real or vectors.ndim not in (1, 2) or vectors.shape[-1] != spec.length or not vectors.size:
        problem = f"an array of shape {vectors.shape} of {vectors.dtype} instead of vectors of {spec.length} numbers"
    else:
        with np.errstate(over="ignore"):  # values beyond float32 are refused below
            vector = np.asarray(vectors.reshape(-1, spec.length).mean(axis=0, dtype=np.float64), np.float32)
        if np.isfinite(vector).all():
            return vector
        problem = "numbers that are not finite"
    raise AudioError(f"view {spec.view}: its function returned {problem}", code="features.view")


def _windows(blocks: Iterable[np.ndarray], n: int) -> Iterator[np.ndarray]:
    """Yield windows of `n` samples, float32 with full scale 1.0; the last one ends at the end of the clip."""
    kept: list[np.ndarray] = []  # the previous window and all samples after it, for the last window
    n_new = n_kept = 0
    for block in blocks:
        kept.append(block)
        n_new, n_kept = n_new + len(block), n_kept + len(block)
        while n_new > n:  # not n_new == n, because a window at the end of the clip is the last one
            samples = np.concatenate(kept)
            start = n_kept - n_new
            yield as_float(samples[start : start + n])
            kept = [samples[start:]]
            n_new, n_kept = n_new - n, n_kept - start
    yield as_float(np.concatenate(kept)[-n:])


def as_float(samples: np.ndarray) -> np.ndarray:
    floats = samples.astype(np.float32)
    return floats * np.float32(2.0**-15) if samples.dtype == np.int16 else floats
