"""Checkpoints of a training on disk: stored after whole epochs, atomic and verified. The last two are kept.

SGD has no state but the weights, and all random numbers of an epoch are drawn anew from the seed. So a training resumes
from the weights and the number of epochs, and is bit-identical to one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec

from mirex_submission.errors import StorageError, coded
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.sizes import Weights
from mirex_submission.networks.weights import from_bytes
from mirex_submission.system.arrays import to_bytes
from mirex_submission.system.atomic import digest, seal, write_file
from mirex_submission.system.inner import read_sealed
from mirex_submission.training.history import EpochFigures
from mirex_submission.training.recipe import Recipe

log = logging.getLogger(__name__)

KEPT = 2
_FILE = re.compile(r"[0-9a-f]+-\d{6,}\.checkpoint")
_MOST_BYTES_BESIDE = 1 << 27  # beside the weights: the history of a million epochs
_BEST = "best/"


@dataclass
class Checkpoint:
    """Weights after len(history) epochs.

    Parameters
    ----------
    weights : Weights
        Weights after the last epoch.
    history : list of dict
        Figures of each epoch, see `training.history`.
    best : Weights, optional
        Weights of the epoch with the lowest loss on held-out tracks, where there are any.
    """

    weights: Weights
    history: list[dict[str, float]] = field(default_factory=list)
    best: Weights | None = None

    @property
    def best_epoch(self) -> int:
        """Return the first epoch with the lowest loss on held-out tracks, from 0."""
        losses = [epoch["validation_loss"] for epoch in self.history]
        return losses.index(min(losses))

    def is_done(self, recipe: Recipe) -> bool:
        """Return whether the training with this recipe ends here."""
        return len(self.history) >= self._last_epoch(recipe)

    def is_past(self, recipe: Recipe) -> bool:
        """Return whether a training with this recipe would have ended earlier."""
        return len(self.history) > self._last_epoch(recipe)

    def _last_epoch(self, recipe: Recipe) -> int:
        """Return the number of epochs after which the training ends, as far as the history shows."""
        lowest, n_since = math.inf, 0
        for k, epoch in enumerate(self.history[: recipe.epochs] if recipe.patience else ()):
            n_since = 0 if epoch["validation_loss"] < lowest else n_since + 1
            lowest = min(lowest, epoch["validation_loss"])
            if n_since >= recipe.patience:
                return k + 1
        return recipe.epochs


def key_of(
    architecture: str,
    contents: Sequence[str],
    labels: Sequence[str],
    held_out: Iterable[bool],
    spec: FeatureSpec,
    recipe: Recipe,
) -> str:
    """Return the key of a training: a hash of everything that decides its weights, except the time of its end.

    Parameters
    ----------
    architecture : str
        Name of the network, or the identity of an added one.
    contents, labels, held_out : sequences
        For each track in the order of the list: content hash, label, and whether it is held out.
    spec, recipe : FeatureSpec, Recipe
        Features and settings.
    """
    parts = [architecture, list(contents), list(labels), list(map(int, held_out)), spec.id, recipe.of_one_epoch]
    return digest(json.dumps(parts).encode())


class Checkpoints:
    """The checkpoints of one training in a folder.

    Parameters
    ----------
    folder : Path
        Folder of the model.
    key : str
        See `key_of`.
    shapes : mapping
        Shapes of the network's weights.
    """

    def __init__(self, folder: Path, key: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder, self.key, self._shapes = folder, key, dict(shapes)

    def save(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint, keep the previous one, and delete all others.

        If it cannot be stored, the training continues with a warning: at its end the disk may have room for the model.
        """
        best = {f"{_BEST}{name}": value for name, value in (checkpoint.best or {}).items()}
        n_epochs = len(checkpoint.history)
        body = json.dumps(checkpoint.history).encode() + b"\n" + to_bytes({**checkpoint.weights, **best})
        new = self.folder / f"{self.key}-{n_epochs:06d}.checkpoint"
        try:
            write_file(new, seal(body))
        except StorageError as error:
            text = f"the checkpoint after epoch {n_epochs} is not stored: {error.text}"
            log.warning("%s", coded(text, code="training.checkpoint-not-stored"))
            return
        files = self._files()
        # Checkpoints of later epochs are from an abandoned training. The folder may have been deleted in the meantime.
        at = files.index(new) if new in files else 0
        _delete(files[:at] + files[at + KEPT :])

    def load(self, recipe: Recipe) -> Checkpoint | None:
        """Load the newest checkpoint that is undamaged and not past the end of a training with this recipe."""
        for file in self._files():
            try:
                checkpoint = self._read(file)
                n_epochs, is_past = len(checkpoint.history), checkpoint.is_past(recipe)
            except (OSError, ValueError, KeyError, RecursionError):
                log.warning("%s", coded(f"{file}: damaged checkpoint ignored", code="training.checkpoint-damaged"))
                continue
            if not is_past:
                return checkpoint
            log.info("%s: not used: a checkpoint after %d epochs, and the training ends earlier", file, n_epochs)
        return None

    def _read(self, file: Path) -> Checkpoint:
        """Read a checkpoint. Raises OSError, or ValueError if the file is not a checkpoint of this training."""
        n_weights = sum(map(math.prod, self._shapes.values()))
        sealed = read_sealed(file, most_bytes=2 * n_weights * 4 + _MOST_BYTES_BESIDE)
        line, _, body = (sealed or b"").partition(b"\n")
        history = cast("list[dict[str, float]]", msgspec.json.decode(line, type=list[EpochFigures]))
        weights = from_bytes(body)
        best = {name.removeprefix(_BEST): weights.pop(name) for name in list(weights) if name.startswith(_BEST)}
        for arrays in (weights, best) if best else (weights,):
            if {name: weight.shape for name, weight in arrays.items()} != self._shapes:
                raise ValueError("the weights of another network")
        return Checkpoint(weights, history, best or None)

    def clear(self, *, but: int = 0) -> None:
        """Delete all checkpoints of this training except the newest `but` ones."""
        _delete(self._files()[but:])

    def _files(self) -> list[Path]:
        """Return the files, newest first."""
        return sorted((file for file in _files_in(self.folder) if file.name.startswith(f"{self.key}-")), reverse=True)


def clear_checkpoints(folder: Path, *, but: Collection[str] = ()) -> None:
    """Delete the checkpoints of all trainings in a folder, except those with these keys."""
    _delete(file for file in _files_in(folder) if file.name.partition("-")[0] not in but)


def _files_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, which may hold other files with this suffix."""
    return [file for file in folder.glob("*.checkpoint") if _FILE.fullmatch(file.name)]


def _delete(files: Iterable[Path]) -> None:
    for file in files:
        with contextlib.suppress(OSError):  # a leftover does no harm
            file.unlink()
