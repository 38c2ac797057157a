"""Export of a trained model to the formats of other programs, verified before the output is written.

The verification loads the exported model, runs it on audio as its users do, and compares the probabilities with those
of the Keras networks.
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
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from mirex_submission.errors import AudioError, MirexError, UsageError
from mirex_submission.features.audio import Recording
from mirex_submission.features.logmel import FLOOR, log_mel
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import Bundle
from mirex_submission.models.prediction import NetworkPredictor
from mirex_submission.networks.engine import Network, start
from mirex_submission.networks.epoch import cut
from mirex_submission.system.atomic import (
    check_writable,
    clear_leftovers,
    replace_folder,
    storage_error,
    temporary_folder,
    write_file,
    write_output,
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
_MOST_TRACKS = 10  # training tracks to verify on


class _Example(NamedTuple):
    """One track to verify on: its samples, its segments, and the Keras networks' mean probabilities of each segment."""

    samples: np.ndarray
    segments: np.ndarray
    probabilities: np.ndarray


class _Examples(NamedTuple):
    """All tracks to verify on, and where they come from, for the log."""

    source: str
    tracks: list[_Example]

    def verify_segments(self, run: Callable[[np.ndarray], np.ndarray], path: Path) -> None:
        """Raise MirexError where probabilities of segments differ."""
        differences = [np.abs(run(x.segments) - x.probabilities).max() for x in self.tracks]
        _verify(differences, f"{sum(len(x.segments) for x in self.tracks)} segments of {self.source}", path)

    def verify_waveforms(self, run: Callable[[np.ndarray], np.ndarray], path: Path) -> None:
        """Raise MirexError where probabilities of whole tracks differ."""
        differences = [np.abs(run(x.samples) - x.probabilities.mean(axis=0)).max() for x in self.tracks]
        _verify(differences, f"the waveforms of {self.source}", path)


def export(
    folder: Path, file_format: str, output: str | None, *, audio_paths: Sequence[str] = (), threads: int
) -> Path:
    """Write a model in another format.

    Parameters
    ----------
    folder : Path
        Folder of the model.
    file_format : {"savedmodel", "onnx", "tflite"}
        Format.
    output : str, optional
        Path; default: the name of the folder with the format as its suffix.
    audio_paths : sequence of str
        Audio to verify the export on. Default: one training track of each class, if they still exist, or else a
        generated signal.
    threads : int
        Threads of TensorFlow.

    Returns
    -------
    Path
        The file or folder that was written.

    Raises
    ------
    UsageError, ModelError, StorageError
        An argument is wrong, the model is damaged, or the output cannot be written.
    AudioError
        Given audio is unreadable.
    MirexError
        A probability differs by more than TOLERANCE from that of the Keras networks; nothing is written.
    """
    bundle = bundles.load(folder)
    if not isinstance(bundle, Bundle):
        raise UsageError(
            f"{folder}: a model of the recipe {bundle.recipe.name}: only networks can be exported; the files of this "
            "model are arrays and JSON, which NumPy can read (docs/recipes.md)",
            code="usage.other-recipe",
        )
    path = Path(output or f"{folder.name}.{file_format}").absolute()
    _check_call(file_format, path)
    source, waveforms = _waveforms(bundle, audio_paths)
    engine = start("cpu", threads=threads, seed=bundle.recipe.seed, engine="keras")
    networks = NetworkPredictor(folder, bundle, engine).networks
    log.info("%s", engine.description)
    examples = _Examples(source, [_example(samples, networks, bundle) for samples in waveforms])
    models = [cast("KerasNetwork", network).model for network in networks]
    try:
        with temporary_folder(path.parent) as beside:
            _write(file_format, path, beside, models, bundle, examples)
    except OSError as error:
        raise storage_error(error, path) from error
    log.info("output: %s", path)
    return path


def _write(
    file_format: str, path: Path, beside: Path, models: Sequence[Any], bundle: Bundle, examples: _Examples
) -> None:
    """Convert the networks, verify the result, and put it in place."""
    from mirex_submission.models import formats  # imports TensorFlow, which `start` has set up by now

    of_segments = formats.of_segments(models, bundle.spec)
    about = json.dumps(describe(bundle), ensure_ascii=False, indent=1) + "\n"
    if file_format == "savedmodel":
        new = beside / path.name
        of_waveform = formats.of_waveform(of_segments, len(bundle.classes), bundle.spec)
        formats.save(new, about, models, {SEGMENTS: of_segments, WAVEFORM: of_waveform})
        run = formats.saved_model(new)
        examples.verify_segments(functools.partial(run, SEGMENTS), path)
        examples.verify_waveforms(functools.partial(run, WAVEFORM), path)
        replace_folder(new, path)
    elif file_format == "onnx":
        data = formats.to_onnx(of_segments, about)
        examples.verify_segments(formats.onnx_model(data), path)
        write_output(path, data)
    else:
        data = formats.to_tflite(of_segments, beside)
        examples.verify_segments(formats.tflite_model(data), path)
        _write_both(path, data, about.encode())


def _write_both(path: Path, data: bytes, about: bytes) -> None:
    """Write a model and a JSON file beside it, both or neither. Raises OSError."""
    path = Path(os.path.realpath(path))
    with temporary_folder(path.parent) as folder:
        for name, content in ((path.name, data), (f"{path.name}.json", about)):
            write_file(folder / name, content)
        for name in (f"{path.name}.json", path.name):
            os.replace(folder / name, path.with_name(name))


def _example(samples: np.ndarray, networks: Sequence[Network], bundle: Bundle) -> _Example:
    frames, spec = log_mel(samples, bundle.spec), bundle.spec
    consecutive = dataclasses.replace(bundle.recipe, segments="consecutive")
    segments = cut(frames, segment_starts(len(frames), "", spec, consecutive), spec.n_frames)
    by_network = np.stack([network.probabilities(segments) for network in networks])
    return _Example(samples, segments, by_network.mean(axis=0, dtype=np.float64))


def describe(bundle: Bundle) -> dict[str, object]:
    """Describe a model for users of the export: classes in the order of the probabilities, features, origin."""
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
    """Check all that can be checked before the conversion. Raises UsageError or StorageError."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise UsageError(f"export needs TensorFlow, but KERAS_BACKEND={backend}: unset it", code="usage.export-backend")
    if file_format == "onnx":
        missing = [name for name in ("onnx", "onnxruntime", "tf2onnx") if not importlib.util.find_spec(name)]
        if missing:
            raise UsageError(
                f"--format onnx: not installed: {', '.join(missing)}: {install_extra('export')}",
                code="usage.export-extra",
            )
    if file_format != "savedmodel":
        if path.suffix != f".{file_format}":
            raise UsageError(f"{path}: give --output a name that ends in .{file_format}", code="usage.export-output")
        check_writable(path)
        return
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(
                f"{path}: a file, and a SavedModel is a folder: give another --output", code="usage.export-output"
            )
        if path.is_dir() and os.listdir(path) and not (path / "saved_model.pb").is_file():
            raise UsageError(
                f"{path}: not a SavedModel, and its files would be lost: give another --output",
                code="usage.export-output",
            )
        with temporary_folder(path.parent):
            pass
    except OSError as error:
        raise storage_error(error, path) from error
    clear_leftovers(path.parent, below=False)


def _waveforms(bundle: Bundle, audio_paths: Sequence[str]) -> tuple[str, list[np.ndarray]]:
    """Return a description for the log, and the samples of each track, float32 at the working rate."""
    if audio_paths:
        return "the given audio", [_decoded(path, bundle.spec) for path in audio_paths]
    by_label: dict[str, np.ndarray] = {}
    for track in bundle.tracks:
        if len(by_label) < _MOST_TRACKS and track.label not in by_label and os.path.exists(track.path):
            try:
                by_label[track.label] = _decoded(track.path, bundle.spec)
            except AudioError as error:
                log.debug("%s", error)
    if by_label:
        return f"{len(by_label)} training tracks", list(by_label.values())
    return "a generated signal, because no training track can be read any more", [_generated(bundle.spec)]


def _decoded(path: str, spec: FeatureSpec) -> np.ndarray:
    """Decode the first block of a file: a whole clip, or the first minute or two of a long file."""
    try:
        (samples,) = itertools.islice(Recording(path, rate_hz=spec.rate_hz), 1)
    except AudioError as error:
        raise AudioError(f"{path}: {error.text}", code=error.code) from error
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def _generated(spec: FeatureSpec) -> np.ndarray:
    """Generate two segments of a rising tone in noise of varying level."""
    time_s = np.arange(2 * spec.segment_samples) / spec.rate_hz
    noise = np.random.default_rng(0).normal(0, 0.1, len(time_s)) * np.square(np.sin(3 * time_s))
    return np.asarray(noise + 0.3 * np.sin(2 * np.pi * (100 + 150 * time_s) * time_s), np.float32)


def _verify(differences: Sequence[float], data: str, path: Path) -> None:
    largest = float(np.max(differences))
    if not largest <= TOLERANCE:  # true for NaN too
        raise MirexError(
            f"{path}: not written: on {data} a probability differs by {largest:.1e} from that of the Keras networks, "
            f"more than {TOLERANCE}",
            code="model.export-differs",
        )
    log.info("verified on %s: at most %.1e from the probabilities of the Keras networks", data, largest)
