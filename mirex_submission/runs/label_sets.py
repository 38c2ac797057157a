"""The sets of labels of `classify --confidence`, made with the calibration of a model."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mirex_submission.errors import ModelError, coded
from mirex_submission.features.store import Header
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import AnyBundle
from mirex_submission.models.conformal import SetRule
from mirex_submission.models.likeness import descriptor
from mirex_submission.protocol.answers import NONE
from mirex_submission.runs.options import ClassificationOptions

log = logging.getLogger(__name__)


class LabelSets:
    """The sets of labels that hold the truth with a given probability."""

    def __init__(self, folder: Path, model: AnyBundle, confidence: float) -> None:
        """Make the rule of the sets from the calibration of a model. Raises ModelError."""
        calibration = model.calibration
        assert calibration
        self._model, self._calibration = model, calibration
        self._likeness = bundles.load_likeness(folder, model)
        groups = [track.group for track in calibration.tracks]
        self._rule = SetRule.fit(
            [track.score for track in calibration.tracks],
            groups,
            [*self._likeness.distances, *(track.distance for track in calibration.tracks)],
            [*self._likeness.groups, *groups],
            confidence,
        )
        _warn(self._rule, confidence, len(set(groups)))

    def of(
        self, features: Sequence[tuple[Header, np.ndarray]], chosen: int, probabilities: np.ndarray
    ) -> tuple[str, ...]:
        """Return the labels of a track's set, in the order of the classes.

        Parameters
        ----------
        features : sequence of (Header, np.ndarray)
            Features as for a predictor.
        chosen : int
            The predicted class.
        probabilities : np.ndarray [shape=(n_classes,)]
            Probabilities from the predictor.
        """
        distance = self._likeness.distance(descriptor(self._model.specs, features))
        held = self._rule.choose(self._calibration.untempered(probabilities), chosen, distance)
        return tuple(label for label, is_held in zip(self._model.classes, held, strict=True) if is_held) or (NONE,)


def label_sets(scratch: Path, classification: ClassificationOptions, model: AnyBundle) -> LabelSets | None:
    """Return the sets for these options, or None without `confidence`. Raises ModelError."""
    if classification.confidence is None:
        return None
    return LabelSets(bundles.folder_of(scratch, classification.name), model, classification.confidence)


def check_calibrated(scratch: Path, classification: ClassificationOptions, model: AnyBundle) -> None:
    """Check that a model can give the sets that the options ask for. Raises ModelError."""
    if classification.confidence is None:
        return
    folder = bundles.folder_of(scratch, classification.name)
    if not model.calibration:
        recipe = "" if model.recipe.name == "paper" else f" --recipe {model.recipe.name}"
        name = f" --name {classification.name}" if classification.name else ""
        command = f"bin/train.sh{recipe}{name} --calibrate {shlex.quote(str(scratch))} TRAINLIST"
        raise ModelError(
            f"{folder}: --confidence needs a calibrated model: train again with {command}", code="model.not-calibrated"
        )


def _warn(rule: SetRule, confidence: float, n_groups: int) -> None:
    """Warn if there are too few held-out groups for this confidence."""
    if math.isinf(rule.highest_score):
        highest = math.floor(1000 * n_groups / (n_groups + 1)) / 1000
        text = f"{n_groups} held-out groups of tracks allow no confidence above {highest:g}: each set holds all labels"
        text = f"{text}: lower --confidence, or train with more tracks or groups"
        log.warning("%s", coded(text, code="model.few-groups"))
    elif math.isinf(rule.farthest):
        text = (
            f"{n_groups} held-out groups of tracks are too few to detect tracks that are unlike the training with "
            f"--confidence {confidence:g}: no set is {NONE!r}"
        )
        text = f"{text}: lower --confidence, or train with more tracks or groups"
        log.warning("%s", coded(text, code="model.few-groups"))
