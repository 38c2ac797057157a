"""The result of a classification, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirex_submission.protocol.answers import Answer
from mirex_submission.protocol.lists import Track

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Classification:
    """Result of a test list, line by line.

    Parameters
    ----------
    tracks : list of Track
        Path and predicted label of each line.
    classes : tuple of str
        Classes in the order of the columns of `probabilities`.
    probabilities : np.ndarray [shape=(n_tracks, n_classes), float64]
        Class probabilities of each line.
    unreadable : list of str
        Unreadable paths. They get the most frequent training label, and the shares of the classes in the training as
        probabilities.
    seconds : list of float
        Time of each line: for its features, if they were not stored, and its prediction.
    notes : list of str
        Note on the audio of each line, or why it is unreadable, with the code of the problem; or "".
    sets : list of tuple of str, optional
        With `confidence`, the set of labels of each line: all labels if it is unreadable, ("none",) if it is unlike all
        training tracks.
    """

    tracks: list[Track]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    unreadable: list[str]
    seconds: list[float]
    notes: list[str]
    sets: list[tuple[str, ...]] | None = None

    def answers(self) -> Iterator[Answer]:
        """Yield the answer of each line.

        Yields
        ------
        Answer
            Path, label, probabilities, seconds, note and set of labels.
        """
        sets: Sequence[tuple[str, ...] | None] = self.sets or [None] * len(self.tracks)
        for track, *others in zip(self.tracks, self.probabilities, self.seconds, self.notes, sets, strict=True):
            yield Answer(track.path, track.label, *others)

    def to_frame(self) -> Any:
        """Return a table with a row for each line.

        Returns
        -------
        pandas.DataFrame
            Columns path, label, readable, labels (the set of labels, only with `confidence`), and the probability of
            each class.
        """
        import pandas as pd

        unreadable = set(self.unreadable)
        rows = [(track.path, track.label, track.path not in unreadable) for track in self.tracks]
        frame = pd.DataFrame(rows, columns=["path", "label", "readable"])
        if self.sets is not None:
            frame["labels"] = self.sets
        columns = [f"{label} (class)" if label in frame else label for label in self.classes]
        return frame.join(pd.DataFrame(self.probabilities, columns=columns))
