"""The Recipe: every choice of a training, frozen. Its defaults are the paper's; nothing else decides a training."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from mirex_submission.errors import UsageError

MODELS = ("1", "2", "3", "all")  # of the paper; installed packages add others (networks.py)
SEGMENT_CHOICES = ("random", "consecutive", "fresh")
CLASS_WEIGHTS = ("none", "balanced")
VOTES = ("mean", "majority")
PRECISIONS = ("float32", "auto")
MODEL_NAME = r"\w[\w.-]*"  # how models, folds and systems may be named
MAX_SEGMENTS = 100_000  # of a track; more are a slip, and would fill the memory


def is_model(name: object) -> bool:
    """Whether a model can have this name: one of MODELS, or a letter first and then letters, digits, '_', '.', '-'."""
    return name in MODELS or (isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name)))


@dataclass(frozen=True)
class Recipe:
    """model : "1", "2" or "3", or "all": the three, their probabilities averaged; or the name of a network that a
        package adds, installed or not.
    epochs, batch_size, learning_rate : of plain SGD with a constant rate on categorical cross-entropy.
    segments : "random" draws segments_per_track start frames a track; "fresh" draws others in every epoch;
        "consecutive" takes those that share no sample.
    class_weights : "balanced" weighs a segment's loss by the inverse of its class's share of the segments.
    vote : a track's class by the mean of its segments' probabilities, or by the majority of its segments' classes.
    precision : of the training; "auto" computes in bfloat16 between the input and the logits where a GPU can.
    patience : 0, or after how many epochs without a lower loss on held-out tracks a training ends (holdout.py).
    seed : of initial weights, segments, order and dropout.
    """

    model: str = "2"
    epochs: int = 150
    batch_size: int = 40
    learning_rate: float = 0.02
    segments: str = "random"
    segments_per_track: int = 30
    class_weights: str = "none"
    vote: str = "mean"
    precision: str = "float32"
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not is_model(self.model):
            said = f"choose one of {', '.join(MODELS)}, or a network that a package adds"
            raise UsageError(f"model {self.model!r}: {said}: its name begins with a letter")
        for name, choices in (
            ("segments", SEGMENT_CHOICES),
            ("class_weights", CLASS_WEIGHTS),
            ("vote", VOTES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(choices)}")
        for name in ("epochs", "batch_size", "segments_per_track"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.segments_per_track > MAX_SEGMENTS:
            raise UsageError(f"segments_per_track {self.segments_per_track}: at most {MAX_SEGMENTS}")
        if self.patience < 0:
            raise UsageError(f"patience {self.patience}: must be at least 0")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"learning_rate {self.learning_rate}: must be a number above 0")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed {self.seed}: must be from 0 to {2**32 - 1}")

    @property
    def networks(self) -> tuple[str, ...]:
        """The architectures that this recipe trains."""
        return ("1", "2", "3") if self.model == "all" else (self.model,)

    @property
    def of_one_epoch(self) -> dict[str, object]:
        """What decides the weights after an epoch, from those before it."""
        without = ("model", "epochs", "vote", "patience")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in without}
