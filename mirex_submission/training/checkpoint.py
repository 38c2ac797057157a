"""A training's state after whole epochs, on disk: verified, whole or not at all, the last two of them.

SGD has no memory but the weights, and everything random is drawn anew for each epoch from the seed; so the weights and
the number of epochs are all that a training needs to go on and end in the bits of one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirex_submission.errors import StorageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.networks.sizes import Weights
from mirex_submission.networks.weights import from_bytes, to_bytes
from mirex_submission.system.atomic import digest, seal, unseal, write_file
from mirex_submission.training.recipe import Recipe

log = logging.getLogger(__name__)

KEPT = 2
_BEST = "best/"


@dataclass
class State:
    """Weights after len(history) epochs, and the loss and accuracy of each.

    best : the weights of the epoch with the lowest loss on held-out tracks, where there are any.
    """

    weights: Weights
    history: list[dict[str, float]] = field(default_factory=list)
    best: Weights | None = None

    @property
    def best_epoch(self) -> int:
        """The first one with the lowest loss on held-out tracks, from 0."""
        losses = [epoch["validation_loss"] for epoch in self.history]
        return losses.index(min(losses))

    def is_done(self, recipe: Recipe) -> bool:
        return len(self.history) >= self._last_epoch(recipe)

    def is_past(self, recipe: Recipe) -> bool:
        """Whether a training with this recipe would have ended earlier."""
        return len(self.history) > self._last_epoch(recipe)

    def _last_epoch(self, recipe: Recipe) -> int:
        """After how many epochs the training ends, as far as the history tells."""
        lowest, since = math.inf, 0
        for k, epoch in enumerate(self.history[: recipe.epochs] if recipe.patience else ()):
            since = 0 if epoch["validation_loss"] < lowest else since + 1
            lowest = min(lowest, epoch["validation_loss"])
            if since >= recipe.patience:
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
    """Names what a network's training is made from; when it is to end is no part of it.

    contents, labels, held_out : of the tracks, in the order of the list.
    """
    parts = [architecture, list(contents), list(labels), list(map(int, held_out)), spec.id, recipe.of_one_epoch]
    return digest(json.dumps(parts).encode())


class Checkpoints:
    """The states of one training in a folder."""

    def __init__(self, folder: Path, key: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """shapes : of the network's weights."""
        self.folder, self.key, self._shapes = folder, key, dict(shapes)

    def save(self, state: State) -> None:
        """Keep it and the one before; those of more epochs were given up.

        Where the disk does not take it the training goes on without: its end shows whether a model has room.
        """
        best = {f"{_BEST}{name}": value for name, value in (state.best or {}).items()}
        body = json.dumps(state.history).encode() + b"\n" + to_bytes({**state.weights, **best})
        new = self.folder / f"{self.key}-{len(state.history):06d}.checkpoint"
        try:
            write_file(new, seal(body))
        except StorageError as error:
            log.warning("the state after epoch %d is not kept: %s", len(state.history), error)
            return
        files = self._files()
        at = files.index(new) if new in files else 0  # the folder may have vanished since
        for other in files[:at] + files[at + KEPT :]:
            with contextlib.suppress(OSError):  # a leftover is harmless
                other.unlink()

    def load(self, recipe: Recipe) -> State | None:
        """The last state that is whole, and on the way of a training with this recipe."""
        for file in self._files():
            try:
                state = self._read(file)
                is_past = state.is_past(recipe)
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                log.warning("%s: a damaged state of the training is passed over", file)
                continue
            if not is_past:
                return state
            log.info("%s: a state after %d epochs is not used", file, len(state.history))
        return None

    def _read(self, file: Path) -> State:
        """Raises OSError or another error for what is no state of this training."""
        line, _, weights = (unseal(file.read_bytes()) or b"").partition(b"\n")
        history, arrays = json.loads(line), from_bytes(weights)
        best = {name.removeprefix(_BEST): arrays.pop(name) for name in list(arrays) if name.startswith(_BEST)}
        for found in (arrays, best) if best else (arrays,):
            if {name: weight.shape for name, weight in found.items()} != self._shapes:
                raise ValueError("the weights of another network")
        if not all(type(figure) is float for epoch in history for figure in (epoch["loss"], *epoch.values())):
            raise ValueError("no history")
        return State(arrays, list(history), best or None)

    def clear(self, *, but: int = 0) -> None:
        """Delete them, but for the last so many."""
        for file in self._files()[but:]:
            with contextlib.suppress(OSError):  # a leftover is harmless
                file.unlink()

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(f"{self.key}-*.checkpoint"), reverse=True)


def clear_checkpoints(folder: Path, *, but: Collection[str] = ()) -> None:
    """Delete the states of every training in a folder, but of those with these keys."""
    for file in folder.glob("*.checkpoint"):
        if file.name.partition("-")[0] not in but:
            with contextlib.suppress(OSError):  # a leftover is harmless
                file.unlink()
