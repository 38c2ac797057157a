"""The trained model in its folder, replaced atomically.

`bundle.json` names the files of weights by the hash of their bytes. A new model replaces the old one at the moment in
which its `bundle.json` is renamed. This package or an installed one builds networks from their names, and weights are
plain arrays, so that loading a model runs no code from its files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from mirex_submission.errors import MirexError, ModelError, UsageError, coded, reason_of
from mirex_submission.features.spec import FeatureSpec, Spec, ViewSpec
from mirex_submission.features.views import OWN, PLUGINS
from mirex_submission.models import likeness
from mirex_submission.models.calibration import Calibration
from mirex_submission.models.likeness import LIKENESS, Likeness
from mirex_submission.networks import registry
from mirex_submission.networks.sizes import ARCHITECTURES, Weights, weight_shapes
from mirex_submission.networks.weights import from_bytes
from mirex_submission.system import arrays
from mirex_submission.system.atomic import (
    digest,
    make_folder,
    seal,
    storage_error,
    write_file,
)
from mirex_submission.system.inner import inner_folder, open_inner, read_inner, read_sealed
from mirex_submission.system.plugins import Plugins
from mirex_submission.training import kernel_machine
from mirex_submission.training.history import EpochFigures
from mirex_submission.training.kernel_machine import KernelMachine
from mirex_submission.training.recipe import Recipe, ViewRecipe

log = logging.getLogger(__name__)

FORMAT = 2
SUFFIX = ".weights.npz"
_WEIGHTS = re.compile(rf"[0-9a-f]{{32}}{re.escape(SUFFIX)}")
_MOST_BYTES = 1 << 30  # enough for a bundle of millions of tracks, and for the weights of the largest networks
CLASSIFIER = "classifier"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # Lustre, NFS and FUSE can be mounted without locks
_RETRAIN = "train again with bin/train.sh"


@dataclass(frozen=True, slots=True)
class TrainedTrack:
    """A track of the training: full path, label, hash of the audio file."""

    path: str
    label: str
    content: str


class _OfTracks:
    """Classes and training tracks, which models of all kinds have."""

    classes: tuple[str, ...]
    tracks: tuple[TrainedTrack, ...]

    @property
    def class_shares(self) -> np.ndarray:
        """Return the share of each class in the training tracks, [n_classes]."""
        labels = [track.label for track in self.tracks]
        return np.array([labels.count(label) for label in self.classes]) / len(labels)


@dataclass(frozen=True)
class Bundle(_OfTracks):
    """A model of networks: everything that a prediction needs, and the keys by which a training recognises it.

    Parameters
    ----------
    classes : tuple of str
        Labels in the order of the probabilities.
    spec, recipe : FeatureSpec, Recipe
        Features and settings of the training.
    tracks : tuple of TrainedTrack
        Tracks of the training.
    weights, keys : dict
        For each network the name of its file of weights, and the key of its training (`checkpoint.key_of`).
    versions : dict
        Versions of Python and the packages that trained the model.
    engine : str
        Description of the engine that trained the model.
    history : dict
        For each network the figures of each epoch.
    packages : dict
        For each added network the name and version of its package.
    calibration : Calibration, optional
        Result of `train --calibrate`; then `weights` also has the file of the tracks to compare with.
    """

    classes: tuple[str, ...]
    spec: FeatureSpec
    recipe: Recipe
    tracks: tuple[TrainedTrack, ...]
    weights: dict[str, str]
    keys: dict[str, str]
    versions: dict[str, str]
    engine: str
    history: dict[str, list[dict[str, float]]]
    packages: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Features that a prediction needs."""
        return (self.spec,)


@dataclass(frozen=True)
class ViewBundle(_OfTracks):
    """A model of views: everything that a prediction needs.

    Parameters
    ----------
    classes : tuple of str
        Labels in the order of the probabilities.
    specs : tuple of ViewSpec
        Views, in the order in which the classifier joins them.
    recipe : ViewRecipe
        Settings of the training.
    tracks : tuple of TrainedTrack
        Tracks of the training.
    weights, keys : dict
        For "classifier" the name of the file of its arrays, and the key of its training (`view_fitting`).
    versions : dict
        Versions of Python and the packages that trained the model.
    engine : str
        Description of the classifier.
    chosen : dict
        Values of c and gamma that the training used.
    packages : dict
        For each added view the name and version of its package.
    calibration : Calibration, optional
        As in Bundle.
    """

    classes: tuple[str, ...]
    specs: tuple[ViewSpec, ...]
    recipe: ViewRecipe
    tracks: tuple[TrainedTrack, ...]
    weights: dict[str, str]
    keys: dict[str, str]
    versions: dict[str, str]
    engine: str
    chosen: dict[str, float]
    packages: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None


AnyBundle: TypeAlias = Bundle | ViewBundle


def folder_of(scratch: str | Path, name: str | None) -> Path:
    """Return the folder of the model of this name: `model/`, or `models/<name>/`. Raises StorageError."""
    return inner_folder(scratch, "models", name) if name else inner_folder(scratch, "model")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a model's folder for one training. The system releases the lock of a process that was killed."""
    make_folder(folder)
    try:
        with open(open_inner(folder / ".lock", os.O_RDWR | os.O_CREAT), "rb") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{folder}: another training is running here: wait, or give another --name", code="usage.locked"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                text = f"{folder}: this file system has no locks ({error.strerror})"
                text = f"{text}: never run two trainings of one --name at once"
                log.warning("%s", coded(text, code="disk.no-locks"))
            yield
    except OSError as error:
        raise storage_error(error, error.filename or folder) from error


def save_weights(folder: Path, weights: Mapping[str, np.ndarray]) -> str:
    """Store the arrays of a network or classifier under the hash of their bytes; return the file's name."""
    data = arrays.to_bytes(weights)
    name = f"{digest(data)}{SUFFIX}"
    write_file(folder / name, data)
    return name


def save(folder: Path, bundle: AnyBundle) -> None:
    """Make `bundle` the model of this folder, then delete the weights of older models.

    The weights of the previous model stay, because a classification that started with it may still read them.
    """
    make_folder(folder)
    named = set(bundle.weights.values())
    with contextlib.suppress(ModelError):
        named.update(load(folder).weights.values())
    fields = dataclasses.asdict(bundle)
    if not bundle.calibration:
        del fields["calibration"]
    body = json.dumps({"format": FORMAT, **fields}, ensure_ascii=False, indent=1)
    # Full paths may have folders whose names are not UTF-8; json.loads reads their surrogates back.
    write_file(folder / "bundle.json", seal(f"{body}\n".encode("utf-8", "surrogatepass")))
    for old in folder.glob(f"*{SUFFIX}"):
        if _WEIGHTS.fullmatch(old.name) and old.name not in named:
            with contextlib.suppress(OSError):  # a leftover does no harm
                old.unlink()


def load(folder: Path) -> AnyBundle:
    """Read and verify the model in a folder.

    Raises
    ------
    ModelError
        There is no model, it is damaged or of another version, or a package that it needs is not installed.
    """
    try:
        body = read_sealed(folder / "bundle.json", most_bytes=_MOST_BYTES)
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: no trained model here: {_RETRAIN} on this scratch folder first", code="model.missing"
        ) from None
    except OSError as error:
        raise ModelError(f"{folder}/bundle.json: {_unreadable(error)}", code="model.unreadable") from error
    if body is None:
        raise ModelError(f"{folder}/bundle.json: damaged: {_RETRAIN}", code="model.damaged")
    try:
        record = msgspec.convert(json.loads(body), dict[str, Any])  # json takes the surrogates that `save` writes
        if record.get("format") != FORMAT:
            raise ModelError(
                f"{folder}/bundle.json: written by another version of this program: {_RETRAIN}",
                code="model.other-version",
            )
        kind: type[AnyBundle] = ViewBundle if "specs" in record else Bundle
        bundle: AnyBundle = msgspec.convert(record, kind)
        if isinstance(bundle, Bundle):
            msgspec.convert(record["history"], dict[str, list[EpochFigures]])
        _check_consistent(bundle)
    except ModelError:
        raise
    except (ValueError, RecursionError, MirexError) as error:
        raise ModelError(f"{folder}/bundle.json: invalid ({error}): {_RETRAIN}", code="model.damaged") from error
    if isinstance(bundle, Bundle):
        for network in set(bundle.recipe.networks) - set(ARCHITECTURES):
            _check_installed(folder, registry.NETWORKS, network, *bundle.packages[network])
    else:
        for view in set(bundle.recipe.views) - set(OWN):
            _check_installed(folder, PLUGINS, view, *bundle.packages[view])
    return bundle


def _check_consistent(bundle: AnyBundle) -> None:
    """Raise ValueError where fields contradict each other."""
    if isinstance(bundle, Bundle):
        networks = set(bundle.recipe.networks)
        if not networks <= bundle.weights.keys() & bundle.keys.keys() & bundle.history.keys():
            raise ValueError("a network has no weights, key or history")
        if not networks <= {*ARCHITECTURES, *bundle.packages}:
            raise ValueError("a network has no package")
    elif tuple(spec.view for spec in bundle.specs) != bundle.recipe.views:
        raise ValueError("its views are not those of its recipe")
    elif not set(bundle.recipe.views) <= {*OWN, *bundle.packages} or CLASSIFIER not in bundle.weights:
        raise ValueError("a view has no package, or the classifier is missing")
    if not bundle.classes or sorted({track.label for track in bundle.tracks}) != sorted(bundle.classes):
        raise ValueError("its classes are not those of its tracks")
    if any(re.search(r"^\s*$|[\t\r\n]", label) for label in bundle.classes):
        raise ValueError("a class is empty, or has a tab or a line break")
    if bundle.calibration:
        bundle.calibration.check()
        if LIKENESS not in bundle.weights:
            raise ValueError("its calibration has no tracks to compare with")


def _unreadable(error: OSError) -> str:
    advice = f"let this user read it, or {_RETRAIN}" if isinstance(error, PermissionError) else _RETRAIN
    return f"cannot be read ({reason_of(error)}): {advice}"


def _check_installed(folder: Path, plugins: Plugins, name: str, package: str, version: str) -> None:
    try:
        installed = plugins.package_of(name)[0]
    except UsageError as error:
        advice = f"this model needs the package {package} {version}: install it into {sys.prefix}, or {_RETRAIN}"
        raise ModelError(f"{folder}: {error.text}; {advice}", code="model.package") from error
    if installed != package:
        raise ModelError(
            f"{folder}: {plugins.kind} {name} came from the package {package}, but here {installed} adds it: "
            f"{_RETRAIN}",
            code="model.package",
        )


def load_weights(folder: Path, bundle: Bundle, architecture: str) -> Weights:
    """Read and verify the weights of one network. Raises ModelError."""
    path, data = _read_weights(folder, bundle, architecture)
    try:
        weights = from_bytes(data)
    except ValueError as error:
        raise ModelError(f"{path}: {error}: {_RETRAIN}", code="model.damaged") from error
    spec, n_classes = bundle.spec, len(bundle.classes)
    shapes = {name: weight.shape for name, weight in weights.items()}
    if architecture in ARCHITECTURES:
        expected = weight_shapes(architecture, n_bands=spec.n_bands, n_frames=spec.n_frames, n_classes=n_classes)
    else:  # the engine compares the other weights when the package has built its network
        standardisation = dict.fromkeys(("standardise/mean", "standardise/std"), (spec.n_bands,))
        expected = {**shapes, **standardisation, "class_probabilities/bias": (n_classes,)}
    if shapes != expected:
        raise ModelError(f"{path}: not the weights of model {architecture}: {_RETRAIN}", code="model.other-weights")
    return weights


def load_classifier(folder: Path, bundle: ViewBundle) -> KernelMachine:
    """Read and verify the classifier of views. Raises ModelError."""
    path, data = _read_weights(folder, bundle, CLASSIFIER)
    try:
        lengths = {spec.view: spec.length for spec in bundle.specs}
        return kernel_machine.of_arrays(arrays.from_bytes(data), lengths, len(bundle.classes))
    except ValueError as error:
        raise ModelError(f"{path}: {error}: {_RETRAIN}", code="model.other-weights") from error


def load_likeness(folder: Path, bundle: AnyBundle) -> Likeness:
    """Read and verify the training tracks to compare with, which a calibrated model has. Raises ModelError."""
    path, data = _read_weights(folder, bundle, LIKENESS)
    try:
        return likeness.of_arrays(arrays.from_bytes(data))
    except ValueError as error:
        raise ModelError(f"{path}: {error}: {_RETRAIN}", code="model.other-weights") from error


def _read_weights(folder: Path, bundle: AnyBundle, key: str) -> tuple[Path, bytes]:
    """Read a file of weights and verify its hash. Raises ModelError."""
    name = bundle.weights.get(key, "")
    path = folder / name
    try:
        data = read_inner(path, most_bytes=_MOST_BYTES, starts=b"PK") if _WEIGHTS.fullmatch(name) else b""
    except OSError as error:
        raise ModelError(f"{path}: {_unreadable(error)}", code="model.unreadable") from error
    if digest(data) != name.partition(".")[0]:
        raise ModelError(f"{path}: damaged: {_RETRAIN}", code="model.damaged")
    return path, data
