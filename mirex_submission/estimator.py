"""The networks as a scikit-learn classifier of audio files: MirexClassifier().fit(paths, labels).predict(paths).

It calls `train` and `classify`: the same tracks, options and seed give what bin/train.sh and bin/classify.sh
give.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mirex_submission.errors import UsageError
from mirex_submission.features.list_sources import open_list
from mirex_submission.models.bundle import SUFFIX
from mirex_submission.protocol import lists
from mirex_submission.runs.classification import Classification
from mirex_submission.runs.classify import classify
from mirex_submission.runs.options import ClassificationOptions, FeatureOptions, RunOptions, TrainingOptions
from mirex_submission.runs.train import train
from mirex_submission.system.atomic import make_folder
from mirex_submission.system.inner import inner_folder
from mirex_submission.system.option import Options
from mirex_submission.training.recipe import AnyRecipe, Recipe, ViewRecipe, fields_of_others, recipe_class

OptionsType = TypeVar("OptionsType", bound=Options)
Paths: TypeAlias = "Sequence[str | os.PathLike[str]] | np.ndarray | str | os.PathLike[str]"


class MirexClassifier(ClassifierMixin, BaseEstimator):
    """The recipes of this package as an estimator; what is classified are paths of audio files.

    With the recipe "paper": parallel convolutional networks on log-Mel spectrograms. With "modulation": a support
    vector machine on views.

    Parameters
    ----------
    scratch : folder for features, which may be that of any other calls, at the same time too: each file is decoded
        once for all of them. None: a temporary folder of this process, removed when it ends.
    random_state : the seed of everything random, from 0 to 2^32 - 1; or a RandomState or None, which draw one.
    threads : of each fit and each prediction. With `n_jobs` of a search give 1.
    recipe : "paper" or "modulation".
    model, epochs, ..., patience : of the recipe "paper", as in Recipe.
    views, c, gamma, tune : of the recipe "modulation", as in ViewRecipe.
    rate, bands, frames, device, engine, max_bad, calibrate, strict : as in FeatureOptions, TrainingOptions and
        RunOptions.

    Attributes
    ----------
    classes_ : np.ndarray [shape=(n_classes,)], sorted.
    bundle_ : {file name: bytes}, the files of the trained model (docs/python.md): 6 MB a network. With them a fitted
        estimator is whole: it can be pickled, and predicts without the scratch folder that it was trained with.

    An unreadable track is left out of a training; a prediction gives it the most frequent label of the
    training, and as its probabilities the classes' shares in that. The log "mirex_submission" warns of it.
    """

    def __init__(
        self,
        *,
        scratch: str | os.PathLike[str] | None = None,
        recipe: str = Recipe.name,
        model: str | int = Recipe.model,
        epochs: int = Recipe.epochs,
        batch_size: int = Recipe.batch_size,
        learning_rate: float = Recipe.learning_rate,
        segments: str = Recipe.segments,
        segments_per_track: int = Recipe.segments_per_track,
        class_weights: str = Recipe.class_weights,
        vote: str = Recipe.vote,
        precision: str = Recipe.precision,
        patience: int = Recipe.patience,
        views: str | Sequence[str] = ViewRecipe.views,
        c: float = ViewRecipe.c,
        gamma: float | None = ViewRecipe.gamma,
        tune: bool = ViewRecipe.tune,
        rate: str | int = FeatureOptions.rate,
        bands: int = FeatureOptions.bands,
        frames: int = FeatureOptions.frames,
        device: str | None = RunOptions.device,
        engine: str = RunOptions.engine,
        max_bad: float = TrainingOptions.max_bad,
        calibrate: bool = TrainingOptions.calibrate,
        strict: bool = RunOptions.strict,
        threads: int = RunOptions.threads,
        random_state: int | np.random.RandomState | None = Recipe.seed,
    ) -> None:
        self.scratch = scratch
        self.recipe = recipe
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.segments = segments
        self.segments_per_track = segments_per_track
        self.class_weights = class_weights
        self.vote = vote
        self.precision = precision
        self.patience = patience
        self.views = views
        self.c = c
        self.gamma = gamma
        self.tune = tune
        self.rate = rate
        self.bands = bands
        self.frames = frames
        self.device = device
        self.engine = engine
        self.max_bad = max_bad
        self.calibrate = calibrate
        self.strict = strict
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Paths, y: ArrayLike | None = None, groups: ArrayLike | None = None) -> MirexClassifier:
        """Train on the audio files X with their labels y, both [shape=(n_tracks,)]; returns the estimator.

        X may also be the path of a training list, of a table, or of a folder for each class, without y.
        groups : as y, such as artists, of which `patience`, `calibrate`, calibration and `tune` never split one.

        Raises ValueError for X and y that do not go together, and the errors of mirex_submission.train: UsageError for
        a parameter, ListError for a path or a label that no list can hold, AudioError if too many tracks cannot be
        used.
        """
        if y is None and isinstance(X, (str, os.PathLike)):
            tracks = lists.read_labelled(open_list("X", X, labelled=True))
            X, y = [track.path for track in tracks], [track.label for track in tracks]
        labels, paths = _labels(y), _paths(X)
        check_consistent_length(paths, labels, groups)
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(f"one class ({str(classes[0])!r}): a classifier needs tracks of at least 2")
        given = isinstance(self.random_state, Integral)
        seed = self.random_state if given else check_random_state(self.random_state).randint(2**32, dtype=np.uint32)
        recipe, features = self._recipe(seed), self._options(FeatureOptions)
        of_networks = isinstance(recipe, Recipe)
        unused = groups is None or (of_networks and not self.patience and not self.calibrate)
        grouped = None if unused else list(zip(paths, np.asarray(groups), strict=True))
        with _model_folder(self.scratch) as (scratch, folder):
            train(
                scratch,
                list(zip(paths, labels, strict=True)),
                features=features,
                recipe=recipe,
                training=self._options(TrainingOptions, name=folder.name, groups=grouped, no_picture=of_networks),
                run=self._options(RunOptions),
            )
            files = [folder / "bundle.json", *folder.glob(f"*{SUFFIX}")]
            self.classes_, self.bundle_ = classes, {file.name: file.read_bytes() for file in files}
        return self

    def predict(self, X: Paths) -> np.ndarray:
        """The label of each audio file, [shape=(n_tracks,)]; by `vote`, which need not be the most probable one.

        Raises NotFittedError, ModelError for a damaged bundle_, and AudioError if more than half of the tracks (with
        `strict`, if any) are unreadable.
        """
        result = self._classify(X)
        number_of = {str(label): number for number, label in enumerate(self.classes_)}
        return self.classes_[[number_of[track.label] for track in result.tracks]]

    def predict_proba(self, X: Paths) -> np.ndarray:
        """Class probabilities [shape=(n_tracks, n_classes)] in the order of classes_: the mean of a track's segments.

        Raises as predict does.
        """
        result = self._classify(X)
        return result.probabilities[:, [result.classes.index(str(label)) for label in self.classes_]]

    def predict_set(self, X: Paths, confidence: float = 0.9) -> np.ndarray:
        """Which labels each set holds, bool [shape=(n_tracks, n_classes)], in the order of classes_.

        A set holds the true label with the probability `confidence`; it is empty for a track that is unlike all of the
        training. Needs `calibrate`, without which it raises ModelError; else it raises as predict does.
        """
        sets = self._classify(X, confidence=confidence).sets
        assert sets is not None
        return np.array([[str(label) in labels for label in self.classes_] for labels in sets])

    def _classify(self, X: Paths, **options: Any) -> Classification:
        """Classify audio files, or those of the list, table or folder whose path X is."""
        check_is_fitted(self)
        if isinstance(X, (str, os.PathLike)):
            X = lists.read_paths(open_list("X", X, labelled=False))
        with _model_folder(self.scratch) as (scratch, folder):
            for name, data in self.bundle_.items():
                (folder / name).write_bytes(data)
            named = ClassificationOptions(name=folder.name, **options)
            return classify(scratch, _paths(X), classification=named, run=self._options(RunOptions))

    def _recipe(self, seed: object) -> AnyRecipe:
        """The recipe of the parameters. Raises UsageError where one of another recipe is not at its default."""
        kind = recipe_class(self.recipe)
        for other, field in fields_of_others(kind):
            if getattr(self, field.name) != field.default:
                raise UsageError(
                    f"{field.name}: is of the recipe {other}, not of {kind.name}", code="usage.other-recipe"
                )
        return self._options(kind, seed=seed)

    def _options(self, options: type[OptionsType], **values: Any) -> OptionsType:
        """The options of one subject, from the parameters of the same names and the values."""
        names = {field.name for field in dataclasses.fields(options)} & self.get_params(deep=False).keys()
        return options(**{**{name: getattr(self, name) for name in names}, **values})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        return tags


@contextmanager
def _model_folder(scratch: str | os.PathLike[str] | None) -> Iterator[tuple[Path, Path]]:
    """A scratch folder, and in it a folder for a model that is nobody else's and is gone when the block ends."""
    scratch = Path(_own_scratch(os.getpid()).name if scratch is None else scratch)
    with tempfile.TemporaryDirectory(prefix="estimator-", dir=make_folder(inner_folder(scratch, "models"))) as folder:
        yield scratch, Path(folder)


@functools.cache
def _own_scratch(process: int) -> tempfile.TemporaryDirectory[str]:
    """One for all estimators of a process, for a search clones them."""
    return tempfile.TemporaryDirectory(prefix="mirex-submission-")


def _paths(X: Paths) -> list[str]:
    array = np.asarray(X, dtype=object)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"X of shape {array.shape}: give at least one path, as shape (n_tracks,)")
    for number, path in enumerate(array):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f"X[{number}] is {path!r}: give the path of an audio file")
    return [str(os.fspath(path)) for path in array]


def _labels(y: ArrayLike | None) -> np.ndarray:
    if y is None:
        raise ValueError("MirexClassifier requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels
