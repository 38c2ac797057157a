"""Find shortcuts: features that are not music but predict the label on the same folds.

If such a feature predicts the label of the test tracks, a system can have learned it instead of the music. On the
training tracks of each fold, a decision tree is trained for each single feature, and a forest for all features
together. "All together" means all features of the audio files, which are the input of a system. Names of files and
folders and the modification date are tested too, but a system would have to cheat to use them, so they only give notes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

import numpy as np
from msgspec import UNSET
from msgspec.structs import asdict

from mirex_submission.evaluation.audit.file_features import FileFeatures, file_features
from mirex_submission.evaluation.audit.records import Problem, Shortcut
from mirex_submission.evaluation.audit.task import AuditTask, AuditTrack, truths_of
from mirex_submission.evaluation.judging.evaluate import judge
from mirex_submission.evaluation.judging.metrics import CONFIDENCE, accuracy_interval
from mirex_submission.features.scan import scan
from mirex_submission.protocol.outputs import class_key
from mirex_submission.system.progress import Progress
from mirex_submission.system.unicode_forms import nfc
from mirex_submission.system.workers import Workers

ALL = "all"
NAMES = ("path tokens", "name tokens", "modification date")
_N_TREES = 50
_MOST_SAMPLES = 2000  # training tracks per tree; limits the time
_LEAVES = 5  # about the maximum number of leaves of a tree per class
_MOST_TOKENS = 100
_ALONE = 0.01  # probability of a false alarm by any single feature


def shortcuts(task: AuditTask, *, seed: int = 0) -> tuple[list[Shortcut], list[Problem]]:
    """Predict the labels from features that are not music, and compare with chance and with the best system.

    Parameters
    ----------
    task : AuditTask
        The task. Unreadable tracks and test tracks without a label are left out.
    seed : int
        Random seed.

    Returns
    -------
    (list of Shortcut, list of Problem)
        All features together, then single features, highest accuracy first; and a problem for each whose interval is
        above chance. Both are empty if there is nothing to predict.
    """
    files = [file for file, track in task.tracks.items() if track.label]
    scanned = Progress("file features", len(files), unit="tracks").over(
        scan(file_features, files, Workers(task.threads))
    )
    return shortcuts_of({one.item: one.result for one in scanned if one.result is not None}, task, seed=seed)


def shortcuts_of(
    measured: Mapping[str, FileFeatures], task: AuditTask, *, seed: int = 0
) -> tuple[list[Shortcut], list[Problem]]:
    """Do the same as `shortcuts` with given features of the files; files without features are left out."""
    tracks = [track for file, track in task.tracks.items() if track.label and file in measured]
    folds = _indices(task, tracks)
    labels, truth = np.unique([track.label for track in tracks], return_inverse=True)
    if len(labels) < 2 or not any(len(test) for _, test in folds):
        return [], []
    columns = columns_of(tracks, [measured[track.file] for track in tracks])
    clusters = np.unique([track.group or track.file for track in tracks], return_inverse=True)[1]
    trials = _Trials(folds, truth, clusters, seed)
    progress = Progress("shortcuts", len(columns), unit="features")
    right = {}
    for feature, matrix in columns.items():
        right[feature] = trials.right(matrix, n_trees=_N_TREES if feature == ALL else 1)
        progress.advance()
    progress.close()
    return _compare_with_chance(task, tracks, trials, right)


def _indices(task: AuditTask, tracks: Sequence[AuditTrack]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the indices in `tracks` of the training and of the test tracks of each fold."""
    number = {track.file: k for k, track in enumerate(tracks)}

    def known(side: Sequence[AuditTrack]) -> np.ndarray:
        return np.array([number[track.file] for track in side if track.file in number], np.intp)

    return [(known(fold.train), known(fold.test)) for fold in task.folds]


def columns_of(tracks: Sequence[AuditTrack], measured: Sequence[FileFeatures]) -> dict[str, np.ndarray]:
    """Arrange features as columns for prediction.

    Parameters
    ----------
    tracks : sequence of AuditTrack
        The tracks.
    measured : sequence of FileFeatures
        The features of each track.

    Returns
    -------
    dict of str to np.ndarray [shape=(n_tracks, n_columns), float32]
        The columns of each feature, "all" first, including features that are equal for all tracks.
    """
    rows = [asdict(of_file) for of_file in measured]
    columns = {}
    for name in FileFeatures.__struct_fields__:
        values = [row[name] for row in rows]
        matrix = _one_hot(values) if isinstance(values[0], str) else np.array(values, np.float32)[:, None]
        columns[name.replace("_", " ").replace("dc ", "DC ")] = matrix
    date = columns.pop("modification date")
    paths = [PurePath(nfc(track.file)) for track in tracks]
    return {
        ALL: np.concatenate(list(columns.values()), axis=1),
        **columns,
        # Also whole names of folders: in `jazz_rock/jazz`, the single words are in the paths of several classes.
        "path tokens": _token_columns(
            [[*_words(str(path.parent)), *(f"/{part}" for part in path.parent.parts)] for path in paths]
        ),
        "name tokens": np.concatenate(
            [_token_columns([_words(path.stem) for path in paths]), _numbers([path.stem for path in paths])], axis=1
        ),
        "modification date": date,
    }


def _one_hot(values: Sequence[str]) -> np.ndarray:
    return _token_columns([[value] for value in values])


def _token_columns(tokens: Sequence[Iterable[str]]) -> np.ndarray:
    """Return a 0/1 matrix of the most frequent tokens of each track, without tokens of a single track or of all."""
    counts = Counter(token for of_track in tokens for token in set(of_track))
    several = [
        token for token, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if 1 < n < len(tokens)
    ]
    number = {token: k for k, token in enumerate(several[:_MOST_TOKENS])}
    matrix = np.zeros((len(tokens), max(1, len(number))), np.float32)
    for row, of_track in zip(matrix, tokens, strict=True):
        row[[number[token] for token in set(of_track) & number.keys()]] = 1
    return matrix


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+", text.casefold())


def _numbers(stems: Sequence[str]) -> np.ndarray:
    """Return the length of each name and the last number in it, or -1."""
    all_numbers = [re.findall(r"\d{1,15}", stem) for stem in stems]
    last = [int(numbers[-1]) if numbers else -1 for numbers in all_numbers]
    return np.array([[len(stem), number] for stem, number in zip(stems, last, strict=True)], np.float32)


class _Trials:
    """Predictions for the test tracks of all folds, fold after fold.

    Parameters
    ----------
    folds : list of (np.ndarray, np.ndarray)
        Indices of the training and of the test tracks.
    truth, clusters : np.ndarray [shape=(n_tracks,), dtype=int]
        Class of each track, and its cluster: its group, or the track itself.
    seed : int
        Random seed.
    """

    def __init__(
        self, folds: Sequence[tuple[np.ndarray, np.ndarray]], truth: np.ndarray, clusters: np.ndarray, seed: int
    ) -> None:
        self._folds = [(train, test) for train, test in folds if len(train) and len(test)]
        self._truth, self._seed, self._n_classes = truth, seed, 1 + int(truth.max())
        tested = np.concatenate([test for _, test in self._folds])
        self._clusters = clusters[tested]
        frequent = [np.bincount(truth[train]).argmax() for train, _ in self._folds]
        of_training = np.concatenate(
            [truth[test] == label for label, (_, test) in zip(frequent, self._folds, strict=True)]
        )
        of_tests = truth[tested] == np.bincount(truth[tested]).argmax()
        # If folds are balanced, the most frequent training label is the less frequent label of the test.
        self.chance: np.ndarray = max(of_training, of_tests, key=np.mean)
        self.n_tests = len(tested)

    def right(self, matrix: np.ndarray, *, n_trees: int) -> np.ndarray:
        """Predict from columns [shape=(n_tracks, n_columns)]; return bool [shape=(n_tests,)], True if correct."""
        if (matrix == matrix[0]).all():
            return self.chance
        return np.concatenate([self._right(matrix, train, test, n_trees) for train, test in self._folds])

    def _right(self, matrix: np.ndarray, train: np.ndarray, test: np.ndarray, n_trees: int) -> np.ndarray:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.tree import DecisionTreeClassifier

        n_samples = min(len(train), _MOST_SAMPLES)
        options = {"min_samples_leaf": max(2, n_samples // (_LEAVES * self._n_classes)), "random_state": self._seed}
        if n_trees == 1:
            model = DecisionTreeClassifier(**options)
        else:
            model = RandomForestClassifier(n_trees, max_features=0.5, max_samples=n_samples, **options)
        model.fit(matrix[train], self._truth[train])
        return np.asarray(model.predict(matrix[test]) == self._truth[test])

    def interval(self, right: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Estimate the interval of an accuracy over whole groups."""
        return accuracy_interval(right, self._clusters, seed=self._seed, confidence=confidence)


def _compare_with_chance(
    task: AuditTask, tracks: Sequence[AuditTrack], trials: _Trials, right: Mapping[str, np.ndarray]
) -> tuple[list[Shortcut], list[Problem]]:
    """Compare each accuracy with chance; single features have wider intervals, as some of many exceed it by luck."""
    chance = float(trials.chance.mean())
    alone = 1 - _ALONE / (len(right) - 1)
    best_system, best_accuracy = _best_system(task) or (UNSET, UNSET)
    order = sorted(right, key=lambda feature: (feature != ALL, -right[feature].mean()))
    made, problems = [], []
    for feature in order:
        shortcut = Shortcut(
            feature=feature,
            accuracy=float(right[feature].mean()),
            interval=trials.interval(right[feature]),
            chance=chance,
            chance_interval=trials.interval(trials.chance),
            n_tests=trials.n_tests,
            best_system=best_system,
            best_accuracy=best_accuracy,
        )
        made.append(shortcut)
        low, _ = shortcut.interval if feature == ALL else trials.interval(right[feature], alone)
        if low > chance:
            problems.append(_problem(shortcut, tracks))
    return made, problems


def _best_system(task: AuditTask) -> tuple[str, float] | None:
    """Return name and accuracy of the best system, or None if there are no outputs or labels."""
    if not task.systems or not all(track.label for fold in task.folds for track in fold.test):
        return None
    outputs = {name: list(of_folds) for name, of_folds in task.systems.items()}
    systems = judge(truths_of(task.folds), outputs).systems
    n_tests = sum(len(fold.test) for fold in task.folds)
    accuracy, name = max((float(np.trace(system.overall.confusion)) / n_tests, system.name) for system in systems)
    return name, accuracy


def _problem(shortcut: Shortcut, tracks: Sequence[AuditTrack]) -> Problem:
    """Make the problem of a shortcut that is better than chance."""
    low, high = shortcut.interval
    figures = f"{shortcut.accuracy:.1%} of {shortcut.n_tests:,} test tracks ({low:.1%} to {high:.1%}; chance: "
    figures += f"{shortcut.chance:.1%}"
    if isinstance(shortcut.best_system, str):
        figures += f"; best system, {shortcut.best_system}: {shortcut.best_accuracy:.1%}"
    figures += ")"
    if shortcut.feature in NAMES:
        text = (
            f"the {shortcut.feature} alone predicts the label of {figures}{_spelled_labels(shortcut.feature, tracks)}"
        )
        text += (
            ": no problem for a system that reads only the audio, but give other systems files with neutral names and "
            "the same date"
        )
        return Problem(code="audit.label-in-name", severity="note", message=text, feature=shortcut.feature)
    if shortcut.feature == ALL:
        text = f"all features of the files together, without the music, predict the label of {figures}: scores may "
        text += "reflect how the files were made: see which single features predict it, and give all tracks the same "
        text += "format, rate, level and length"
    else:
        text = f"the {shortcut.feature} alone predicts the label of {figures}: if it is not part of the music, make "
        text += "it equal in all classes"
    return Problem(code="audit.shortcut", severity="warning", message=text, feature=shortcut.feature)


def _spelled_labels(feature: str, tracks: Sequence[AuditTrack]) -> str:
    """Return a text with the number of tracks whose label is in their file name or in the name of a folder."""
    n = 0
    for track in tracks:
        path = PurePath(nfc(track.file))
        words = path.parent.parts if feature == "path tokens" else _words(path.stem)
        n += class_key(track.label) in {class_key(word) for word in words}
    return f"; the label itself is in the names of {n:,} of {len(tracks):,} tracks" if n else ""
