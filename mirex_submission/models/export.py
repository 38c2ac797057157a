"""`mirex-submission export`: a trained model for other programs, verified before it is put in place.

The networks are those of the bundle, built by the engine like those of a classification on Keras; what is exported is
run as its users would run it, on audio, and must give their probabilities.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import itertools
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from mirex_submission.errors import AudioError, MirexError, UsageError
from mirex_submission.features.audio import Recording
from mirex_submission.features.logmel import FLOOR, log_mel
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import Bundle
from mirex_submission.models.prediction import Predictor
from mirex_submission.networks.engine import Network, start
from mirex_submission.networks.epoch import cut
from mirex_submission.system.atomic import (
    check_writable,
    clear_leftovers,
    replace_folder,
    storage_error,
    temporary_folder,
    write_file,
)
from mirex_submission.system.installation import install_extra
from mirex_submission.system.runtime import versions
from mirex_submission.training.segments import segment_starts
from mirex_submission.version import __version__

if TYPE_CHECKING:
    from mirex_submission.networks.keras_network import KerasNetwork

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of every probability
SEGMENTS, WAVEFORM = "serving_default", "waveform"  # the signatures of a SavedModel
_MOST_TRACKS = 10  # of the training, to verify on


class _Example(NamedTuple):
    """One track to verify on: its samples, its segments, and the Keras networks' mean probabilities of each."""

    samples: np.ndarray
    segments: np.ndarray
    probabilities: np.ndarray


def export(
    folder: Path, file_format: str, output: str | None, *, audio_paths: Sequence[str] = (), threads: int
) -> Path:
    """Write the model in `folder` in another format; returns the path of what was written.

    file_format : "savedmodel", "onnx" or "tflite". output : "" or None for the folder's name with the format behind.
    audio_paths : what to verify the export on; else tracks of the training, one of each class, as far as they are
        still there; else a generated signal.

    Raises UsageError, ModelError, StorageError; AudioError for given audio that cannot be heard; MirexError, and writes
    nothing, if a probability of the export is further than TOLERANCE from that of the Keras networks.
    """
    bundle = bundles.load(folder)
    path = Path(output or f"{folder.name}.{file_format}").absolute()
    _check_call(file_format, path)
    said, waveforms = _waveforms(bundle, audio_paths)
    engine = start("cpu", threads=threads, seed=bundle.recipe.seed, engine="keras")
    networks = Predictor(folder, bundle, engine).networks
    log.info("%s", engine.description)

    from mirex_submission.models import formats, graphs  # TensorFlow, which is set up by now

    examples = [_example(samples, networks, bundle) for samples in waveforms]

    def verify(of_segments: Callable[[np.ndarray], np.ndarray]) -> None:
        found = [np.abs(of_segments(x.segments) - x.probabilities).max() for x in examples]
        _verify(found, f"{sum(len(x.segments) for x in examples)} segments of {said}", path)

    models = [cast("KerasNetwork", network).model for network in networks]
    of_segments = graphs.of_segments(models, bundle.spec)
    about = json.dumps(describe(bundle), ensure_ascii=False, indent=1) + "\n"
    try:
        with temporary_folder(path.parent) as beside:
            if file_format == "savedmodel":
                new = beside / path.name
                of_waveform = graphs.of_waveform(of_segments, len(bundle.classes), bundle.spec)
                formats.save(new, about, models, {SEGMENTS: of_segments, WAVEFORM: of_waveform})
                run = formats.saved_model(new)
                verify(functools.partial(run, SEGMENTS))
                found = [np.abs(run(WAVEFORM, x.samples) - x.probabilities.mean(axis=0)).max() for x in examples]
                _verify(found, f"the waveforms of {said}", path)
                replace_folder(new, path)
            elif file_format == "onnx":
                data = formats.to_onnx(of_segments, about)
                verify(formats.onnx_model(data))
                write_file(path, data)
            else:
                data = formats.to_tflite(of_segments, beside)
                verify(formats.tflite_model(data))
                write_file(f"{path}.json", about.encode())
                write_file(path, data)
    except OSError as error:
        raise storage_error(error, path) from error
    log.info("output: %s", path)
    return path


def _example(samples: np.ndarray, networks: Sequence[Network], bundle: Bundle) -> _Example:
    frames, spec = log_mel(samples, bundle.spec), bundle.spec
    consecutive = dataclasses.replace(bundle.recipe, segments="consecutive")
    segments = cut(frames, segment_starts(len(frames), "", spec, consecutive), spec.n_frames)
    by_network = np.stack([network.probabilities(segments) for network in networks])
    return _Example(samples, segments, by_network.mean(axis=0, dtype=np.float64))


def describe(bundle: Bundle) -> dict[str, object]:
    """What a user of the export must know: its classes in the order of the probabilities, its features, its origin."""
    spec = bundle.spec
    return {
        "program": f"mirex-submission {__version__}",
        "classes": list(bundle.classes),
        "log_mel": {"shape": ["segments", spec.n_bands, spec.n_frames], "dtype": "float32"},
        "features": {
            "rate_hz": spec.rate_hz,
            "window": spec.window,
            "hop": spec.hop,
            "n_bands": spec.n_bands,
            "n_frames": spec.n_frames,
            "segment_samples": spec.segment_samples,
            "floor": FLOOR,
            "scale": "log10 of band power, at least that of the floor; not standardised",
            "window_function": "periodic Hann, frames not padded",
            "filters": "triangles of unit area on Slaney's Mel scale from 0 Hz to half the rate, on the power spectrum",
        },
        "networks": {name: bundle.weights[name] for name in bundle.recipe.networks},
        "trained_with": bundle.versions,
        "exported_with": versions(),
    }


def _check_call(file_format: str, path: Path) -> None:
    """Raise now what would else be known after the conversion only."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise UsageError(f"export is done by TensorFlow, and not on KERAS_BACKEND={backend}: unset it")
    if file_format == "onnx":
        missing = [name for name in ("onnx", "onnxruntime", "tf2onnx") if not importlib.util.find_spec(name)]
        if missing:
            raise UsageError(f"--format onnx: not installed: {', '.join(missing)}: {install_extra('export')}")
    if file_format != "savedmodel":
        if path.suffix != f".{file_format}":
            raise UsageError(f"{path}: give --output a name that ends in .{file_format}")
        check_writable(path)
        return
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path}: a file, and a SavedModel is a folder: give another --output")
        if path.is_dir() and os.listdir(path) and not (path / "saved_model.pb").is_file():
            raise UsageError(f"{path}: holds what is no SavedModel and would be lost: give another --output")
        with temporary_folder(path.parent):
            pass
    except OSError as error:
        raise storage_error(error, path) from error
    clear_leftovers(path.parent, below=False)


def _waveforms(bundle: Bundle, audio_paths: Sequence[str]) -> tuple[str, list[np.ndarray]]:
    """What they are, for the log, and the samples of each, float32 at the working rate."""
    if audio_paths:
        return "the given audio", [_decoded(path, bundle.spec) for path in audio_paths]
    found: dict[str, np.ndarray] = {}
    for track in bundle.tracks:
        if len(found) < _MOST_TRACKS and track.label not in found and os.path.exists(track.path):
            try:
                found[track.label] = _decoded(track.path, bundle.spec)
            except AudioError as error:
                log.debug("%s", error)
    if found:
        return f"{len(found)} training tracks", list(found.values())
    return "a generated signal, for no training track is there any more", [_generated(bundle.spec)]


def _decoded(path: str, spec: FeatureSpec) -> np.ndarray:
    """The first block of a file, which is a clip whole, and of hours the first minute or two."""
    try:
        (samples,) = itertools.islice(Recording(path, rate_hz=spec.rate_hz), 1)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def _generated(spec: FeatureSpec) -> np.ndarray:
    """Two segments of a rising tone in noise that comes and goes."""
    time_s = np.arange(2 * spec.segment_samples) / spec.rate_hz
    noise = np.random.default_rng(0).normal(0, 0.1, len(time_s)) * np.square(np.sin(3 * time_s))
    return np.asarray(noise + 0.3 * np.sin(2 * np.pi * (100 + 150 * time_s) * time_s), np.float32)


def _verify(differences: Sequence[float], on: str, path: Path) -> None:
    worst = float(np.max(differences))
    if not worst <= TOLERANCE:  # nor NaN
        raise MirexError(
            f"{path}: not written: on {on} a probability is {worst:.1e} from the Keras networks', more than {TOLERANCE}"
        )
    log.info("verified on %s: at most %.1e from the probabilities of the Keras networks", on, worst)
