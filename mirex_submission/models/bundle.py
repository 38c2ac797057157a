"""The trained model in the scratch folder: what the later call must find, whole or not at all.

`bundle.json` is the model: it names the weight files by the hash of their bytes, and renaming it into place is the
one moment at which a new model replaces the old. Networks are rebuilt from their names, by our own code or an installed
package's, and weights are plain arrays: loading a bundle runs nothing that it holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import MirexError, ModelError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks import registry as networks
from mirex_submission.networks.sizes import ARCHITECTURES, Weights, weight_shapes
from mirex_submission.networks.weights import from_bytes, to_bytes
from mirex_submission.system.atomic import (
    digest,
    make_folder,
    seal,
    storage_error,
    unseal,
    write_file,
)
from mirex_submission.training.recipe import Recipe

log = logging.getLogger(__name__)

FORMAT = 2
SUFFIX = ".weights.npz"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of Lustre, NFS and FUSE, as they may be mounted
_RETRAIN = "train again with bin/train.sh"


@dataclass(frozen=True, slots=True)
class TrainedTrack:
    """One track of the training: its full path, its label, the hash of its content."""

    path: str
    label: str
    content: str


@dataclass(frozen=True)
class Bundle:
    """What a prediction needs, and what a later training goes on from.

    weights : network ("1", "2", "3", or an added one) -> the name of its weights file. keys : network -> what its
    training was made from (checkpoint.key_of). history : network -> loss and accuracy of each epoch. engine : what
    computed it. packages : added network -> the name and version of the package that it is of.
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

    @property
    def class_shares(self) -> np.ndarray:
        """The share of each class in the training tracks, [shape=(n_classes,)]."""
        labels = [track.label for track in self.tracks]
        return np.array([labels.count(label) for label in self.classes]) / len(labels)


def folder_of(scratch: str | Path, name: str | None) -> Path:
    """Where the model of this name lives: `model/`, or `models/<name>/`."""
    return Path(scratch) / "models" / name if name else Path(scratch) / "model"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a model's folder to one training at a time. The system drops the lock of a process that was killed."""
    make_folder(folder)
    try:
        with open(folder / ".lock", "w") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{folder}: another training is running here: wait, or give another --name") from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                said = "%s: this file system has no locks (%s): never run two trainings of one --name at once"
                log.warning(said, folder, error.strerror)
            yield
    except OSError as error:
        raise storage_error(error, folder) from error


def save_weights(folder: Path, weights: Weights) -> str:
    """Store a network's weights under the hash of their bytes; returns the file's name."""
    data = to_bytes(weights)
    name = f"{digest(data)}{SUFFIX}"
    write_file(folder / name, data)
    return name


def save(folder: Path, bundle: Bundle) -> None:
    """Make `bundle` the model of this folder, then drop the weights of models before the last.

    Those of the last stay for a classification that has begun with it.
    """
    make_folder(folder)
    named = set(bundle.weights.values())
    with contextlib.suppress(ModelError):
        named.update(load(folder).weights.values())
    body = json.dumps({"format": FORMAT, **dataclasses.asdict(bundle)}, ensure_ascii=False, indent=1)
    # The full path of a relative one may lead through folders whose names are no UTF-8; json.loads takes it back.
    write_file(folder / "bundle.json", seal(f"{body}\n".encode("utf-8", "surrogatepass")))
    for old in folder.glob(f"*{SUFFIX}"):
        if old.name not in named:
            with contextlib.suppress(OSError):  # a leftover is harmless
                old.unlink()


def load(folder: Path) -> Bundle:
    """Read and verify the bundle in `folder`. Raises ModelError, also where the package that adds its network is not
    installed."""
    try:
        body = unseal((folder / "bundle.json").read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: no trained model here: {_RETRAIN} on this scratch folder first") from None
    except OSError as error:
        raise ModelError(f"{folder}/bundle.json: {_unread(error)}") from error
    if body is None:
        raise ModelError(f"{folder}/bundle.json: damaged: {_RETRAIN}")
    try:
        fields = dict(json.loads(body))
        if fields.get("format") != FORMAT:
            raise ModelError(f"{folder}/bundle.json: written by another version of this program: {_RETRAIN}")
        bundle = Bundle(
            classes=tuple(fields["classes"]),
            spec=FeatureSpec(**fields["spec"]),
            recipe=Recipe(**fields["recipe"]),
            tracks=tuple(TrainedTrack(**track) for track in fields["tracks"]),
            weights=dict(fields["weights"]),
            keys=dict(fields["keys"]),
            versions=dict(fields["versions"]),
            engine=str(fields["engine"]),
            history=dict(fields["history"]),
            packages={network: (str(p), str(v)) for network, (p, v) in fields.get("packages", {}).items()},
        )
        if any(
            not isinstance(bundle.weights[n], str) or n not in bundle.keys or not isinstance(bundle.history[n], list)
            for n in bundle.recipe.networks
        ):
            raise ValueError("incomplete")
        if not _is_of_our_types(bundle):
            raise ValueError("fields of other types than ours")
        if not set(bundle.recipe.networks) <= {*ARCHITECTURES, *bundle.packages}:
            raise ValueError("a network of no package")
        if not bundle.classes or sorted({track.label for track in bundle.tracks}) != sorted(bundle.classes):
            raise ValueError("classes that are not those of its tracks")
        if any(re.search(r"^\s*$|[\t\r\n]", label) for label in bundle.classes):
            raise ValueError("a class that no list can hold")
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, MirexError) as error:
        raise ModelError(f"{folder}/bundle.json: not understood ({error}): {_RETRAIN}") from error
    for network in set(bundle.recipe.networks) - set(ARCHITECTURES):
        _check_installed(folder, network, *bundle.packages[network])
    return bundle


def _unread(error: OSError) -> str:
    advice = f"let this user read it, or {_RETRAIN}" if isinstance(error, PermissionError) else _RETRAIN
    return f"cannot be read ({error.strerror}): {advice}"


def _is_of_our_types(bundle: Bundle) -> bool:
    """Whether what a prediction or a training computes with is what `save` writes: JSON may hold anything."""
    numbers = {int: (int,), float: (int, float), str: (str,)}  # no bool, which Python takes for a number
    recipe, epochs = bundle.recipe, [epoch for network in bundle.recipe.networks for epoch in bundle.history[network]]
    return (
        all(type(getattr(recipe, f.name)) in numbers[type(f.default)] for f in dataclasses.fields(recipe))
        and all(type(text) is str for track in bundle.tracks for text in (track.path, track.label, track.content))
        and all(type(epoch) is dict and {"loss", "accuracy"} <= epoch.keys() for epoch in epochs)
        and all(type(figure) is float for epoch in epochs for figure in epoch.values())
    )


def _check_installed(folder: Path, network: str, package: str, version: str) -> None:
    try:
        found = networks.package_of(network)[0]
    except UsageError as error:
        said = f"is of the package {package} {version}: install it into {sys.prefix}, or {_RETRAIN}"
        raise ModelError(f"{folder}: {error}; this one {said}") from error
    if found != package:
        raise ModelError(f"{folder}: model {network} is of the package {package}, and here {found} adds it: {_RETRAIN}")


def load_weights(folder: Path, bundle: Bundle, architecture: str) -> Weights:
    """The verified weights of one network. Raises ModelError."""
    name = bundle.weights.get(architecture, "")
    path = folder / name
    try:
        data = path.read_bytes() if re.fullmatch(rf"[0-9a-f]+{re.escape(SUFFIX)}", name) else b""
    except OSError as error:
        raise ModelError(f"{path}: {_unread(error)}") from error
    if digest(data) != name.partition(".")[0]:
        raise ModelError(f"{path}: damaged: {_RETRAIN}")
    try:
        weights = from_bytes(data)
    except ValueError as error:
        raise ModelError(f"{path}: {error}: {_RETRAIN}") from error
    spec, n_classes = bundle.spec, len(bundle.classes)
    shapes = {name: weight.shape for name, weight in weights.items()}
    if architecture in ARCHITECTURES:
        expected = weight_shapes(architecture, n_bands=spec.n_bands, n_frames=spec.n_frames, n_classes=n_classes)
    else:  # the others are compared when its package has built it
        of_bands = dict.fromkeys(("standardise/mean", "standardise/std"), (spec.n_bands,))
        expected = {**shapes, **of_bands, "class_probabilities/bias": (n_classes,)}
    if shapes != expected:
        raise ModelError(f"{path}: not the weights of model {architecture}: {_RETRAIN}")
    return weights
