"""The trained model in the scratch folder: what the later call must find, whole or not at all.

`bundle.json` is the model: it names the weight files by the hash of their bytes, and renaming it into place is the
one moment at which a new model replaces the old. Architectures are rebuilt by our own code from their names, and
weights are plain HDF5 arrays: loading a bundle runs nothing that it holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mirex_submission.errors import MirexError, ModelError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models.architectures import build
from mirex_submission.models.recipe import Recipe
from mirex_submission.system.atomic import digest, make_folder, storage_error, temporary_file, write_file

if TYPE_CHECKING:
    import keras

FORMAT = 1
_RETRAIN = "train again with bin/train.sh"


@dataclass(frozen=True)
class TrainedTrack:
    """One track of the training: its full path, its label, the hash of its content."""

    path: str
    label: str
    content: str


@dataclass(frozen=True)
class Bundle:
    """What a prediction needs. `weights` maps a network ("1", "2", "3") to the name of its weights file."""

    classes: tuple[str, ...]
    spec: FeatureSpec
    recipe: Recipe
    tracks: tuple[TrainedTrack, ...]
    weights: dict[str, str]
    versions: dict[str, str]
    history: dict[str, list[dict[str, float]]]

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
                raise UsageError(f"{folder}: another training is running here: wait, or give --name") from None
            yield
    except OSError as error:
        raise storage_error(error, folder) from error


def save_weights(folder: Path, model: keras.Model) -> str:
    """Store a network's weights under the hash of their bytes; returns the file's name."""
    with temporary_file(folder, suffix=".weights.h5") as path:  # Keras insists on the ending
        try:
            model.save_weights(path)
            data = path.read_bytes()
        except OSError as error:
            raise storage_error(error, path) from error
    name = f"{digest(data)}.weights.h5"
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
    write_file(folder / "bundle.json", f"{digest(body.encode())}\n{body}\n".encode())
    for old in folder.glob("*.weights.h5"):
        if old.name not in named:
            with contextlib.suppress(OSError):  # a leftover is harmless
                old.unlink()


def load(folder: Path) -> Bundle:
    """Read and verify the bundle in `folder`. Raises ModelError."""
    try:
        found, _, body = (folder / "bundle.json").read_bytes().decode().partition("\n")
    except FileNotFoundError:
        raise ModelError(f"{folder}: no trained model here: {_RETRAIN} on this scratch folder first") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}/bundle.json: cannot be read ({error}): {_RETRAIN}") from error
    body = body.removesuffix("\n")
    if found != digest(body.encode()):
        raise ModelError(f"{folder}/bundle.json: damaged: {_RETRAIN}")
    fields = json.loads(body)
    if fields.pop("format", None) != FORMAT:
        raise ModelError(f"{folder}/bundle.json: written by another version of this program: {_RETRAIN}")
    try:
        return Bundle(
            classes=tuple(fields["classes"]),
            spec=FeatureSpec(**fields["spec"]),
            recipe=Recipe(**fields["recipe"]),
            tracks=tuple(TrainedTrack(**track) for track in fields["tracks"]),
            weights=dict(fields["weights"]),
            versions=dict(fields["versions"]),
            history=dict(fields["history"]),
        )
    except (KeyError, TypeError, ValueError, MirexError) as error:
        raise ModelError(f"{folder}/bundle.json: not understood ({error}): {_RETRAIN}") from error


def load_network(folder: Path, bundle: Bundle, architecture: str) -> keras.Model:
    """Rebuild a network and give it its verified weights. Raises ModelError."""
    name = bundle.weights.get(architecture, "")
    path = folder / name
    try:
        if not re.fullmatch(r"[0-9a-f]+\.weights\.h5", name) or digest(path.read_bytes()) != name.partition(".")[0]:
            raise ModelError(f"{path}: damaged: {_RETRAIN}")
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): {_RETRAIN}") from error
    model = build(
        architecture,
        n_bands=bundle.spec.n_bands,
        n_frames=bundle.spec.n_frames,
        n_classes=len(bundle.classes),
        seed=bundle.recipe.seed,
    )
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"{path}: not the weights of model {architecture} ({error}): {_RETRAIN}") from error
    return model
