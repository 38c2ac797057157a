"""A scikit-learn classifier of audio files: MirexClassifier().fit(paths, labels).predict(paths).

It calls `train` and `classify`: the same tracks, options and seed give the same results as bin/train.sh and
bin/classify.sh.
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
from mirex_submission.training.recipe import (
    AnyRecipe,
    Recipe,
    ViewRecipe,
    fields_of_others,
    recipe_class,
    refuse_fields_of_others,
)

OptionsType = TypeVar("OptionsType", bound=Options)
Paths: TypeAlias = "Sequence[str | os.PathLike[str]] | np.ndarray | str | os.PathLike[str]"


class MirexClassifier(ClassifierMixin, BaseEstimator):
    """Classify audio files with a recipe of this package, as an estimator of scikit-learn.

    The recipe "paper" trains parallel convolutional networks on log-Mel spectrograms. The recipe "modulation" trains a
    support vector machine on views. `fit` leaves unreadable tracks out. `predict` gives an unreadable track the most
    frequent training label, and `predict_proba` gives it the shares of the classes in the training. The logger
    "mirex_submission" warns of each unreadable track.

    Parameters
    ----------
    scratch : path, optional
        Folder for features. Several runs may share it, even at the same time: each file is decoded only once. None: a
        temporary folder, which is removed when this process ends.
    recipe : {"paper", "modulation"}
        Recipe of the model.
    model, epochs, batch_size, learning_rate : str, int, int, float
        Network and its training by the recipe "paper", as in Recipe.
    segments, segments_per_track, class_weights : str, int, str
        Segments of a training by the recipe "paper", as in Recipe.
    vote, precision, patience : str, str, int
        Vote of the segments, precision and early stopping of the recipe "paper", as in Recipe.
    views, c, gamma, tune : str or sequence of str, float, float, bool
        Settings of the recipe "modulation", as in ViewRecipe.
    rate, bands, frames : str or int, int, int
        Sizes of the features, as in FeatureOptions.
    device, engine : str, str
        Device and engine of the networks, as in RunOptions.
    max_bad, calibrate : float, bool
        Most unreadable training tracks in percent, and whether to calibrate the model, as in TrainingOptions.
    strict : bool
        Whether a single unreadable track is an error, as in RunOptions.
    threads : int
        Threads of each fit and each prediction. Give 1 if a search of scikit-learn has `n_jobs`.
    random_state : int, RandomState or None
        Random seed, from 0 to 2^32 - 1. With a RandomState or None, the seed is drawn at random.

    Attributes
    ----------
    classes_ : np.ndarray [shape=(n_classes,)]
        The sorted labels.
    bundle_ : dict of str to bytes
        The files of the trained model by name: 6 MB for each network. A fitted estimator holds its whole model: you can
        pickle it, and it predicts without the scratch folder of its training.

    Examples
    --------

    >>> from mirex_submission import MirexClassifier
    >>> MirexClassifier(recipe="modulation", c=10.0)
    MirexClassifier(c=10.0, recipe='modulation')
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
        """Train on audio files and their labels.

        Parameters
        ----------
        X : sequence of paths [shape=(n_tracks,)], or path
            Audio files; or, without y, a training list, a table, or a folder with one subfolder for each class.
        y : array-like [shape=(n_tracks,)], optional
            Labels.
        groups : array-like [shape=(n_tracks,)], optional
            Groups of the tracks, such as artists. Tracks of one group are held out together by `patience`, `calibrate`
            and `tune`, and when the recipe "modulation" estimates probabilities.

        Returns
        -------
        MirexClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            X and y do not match.
        UsageError
            A parameter has a wrong value.
        ListError
            A path or label has a character that a list cannot hold, such as a line end.
        AudioError
            Too many tracks are unreadable.
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
        """Predict the label of each audio file.

        Parameters
        ----------
        X : sequence of paths [shape=(n_tracks,)], or path
            Audio files; or a list, a table, or a folder of them.

        Returns
        -------
        np.ndarray [shape=(n_tracks,)]
            Labels by `vote`; they can differ from the most probable class.

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        ModelError
            The model in `bundle_` is damaged.
        AudioError
            More than half of the tracks are unreadable; with `strict`, any.
        """
        result = self._classify(X)
        number_of = {str(label): number for number, label in enumerate(self.classes_)}
        return self.classes_[[number_of[track.label] for track in result.tracks]]

    def predict_proba(self, X: Paths) -> np.ndarray:
        """Predict the probability of each class for each audio file.

        Parameters
        ----------
        X : sequence of paths [shape=(n_tracks,)], or path
            Audio files; or a list, a table, or a folder of them.

        Returns
        -------
        np.ndarray [shape=(n_tracks, n_classes)]
            Probabilities in the order of `classes_`. Networks give the mean over the segments of a track.

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        ModelError
            The model in `bundle_` is damaged.
        AudioError
            More than half of the tracks are unreadable; with `strict`, any.
        """
        result = self._classify(X)
        probabilities = result.probabilities[:, [result.classes.index(str(label)) for label in self.classes_]]
        # Rows of networks add up to 1 only in float32, which scikit-learn's losses refuse.
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))

    def predict_set(self, X: Paths, confidence: float = 0.9) -> np.ndarray:
        """Predict a set of labels for each audio file.

        Parameters
        ----------
        X : sequence of paths [shape=(n_tracks,)], or path
            Audio files; or a list, a table, or a folder of them.
        confidence : float
            Probability that a set holds the true label.

        Returns
        -------
        np.ndarray [shape=(n_tracks, n_classes), bool]
            Whether each set holds each class, in the order of `classes_`. The set of a track that differs from all
            training tracks is empty.

        Raises
        ------
        NotFittedError
            The estimator is not fitted.
        ModelError
            The estimator was fitted without `calibrate`, or the model in `bundle_` is damaged.
        AudioError
            More than half of the tracks are unreadable; with `strict`, any.
        """
        sets = self._classify(X, confidence=confidence).sets
        assert sets is not None
        return np.array([[str(label) in labels for label in self.classes_] for labels in sets])

    def _classify(self, X: Paths, **options: Any) -> Classification:
        """Classify audio files, or those of a list, table or folder if X is a path."""
        check_is_fitted(self)
        if isinstance(X, (str, os.PathLike)):
            X = lists.read_paths(open_list("X", X, labelled=False))
        with _model_folder(self.scratch) as (scratch, folder):
            for name, data in self.bundle_.items():
                (folder / name).write_bytes(data)
            named = ClassificationOptions(name=folder.name, **options)
            return classify(scratch, _paths(X), classification=named, run=self._options(RunOptions))

    def _recipe(self, seed: object) -> AnyRecipe:
        """Return the recipe of the parameters. Raises UsageError if a parameter of another recipe is changed."""
        kind = recipe_class(self.recipe)
        others = fields_of_others(kind)
        refuse_fields_of_others(kind, [field.name for _, field in others if getattr(self, field.name) != field.default])
        return self._options(kind, seed=seed)

    def _options(self, options: type[OptionsType], **values: Any) -> OptionsType:
        """Make an option dataclass from the parameters of the same names and from the values."""
        names = {field.name for field in dataclasses.fields(options)} & self.get_params(deep=False).keys()
        return options(**{**{name: getattr(self, name) for name in names}, **values})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        return tags


@contextmanager
def _model_folder(scratch: str | os.PathLike[str] | None) -> Iterator[tuple[Path, Path]]:
    """Yield a scratch folder, and in it a new folder for a model, which is removed when the block ends."""
    scratch = Path(_own_scratch(os.getpid()).name if scratch is None else scratch)
    with tempfile.TemporaryDirectory(prefix="estimator-", dir=make_folder(inner_folder(scratch, "models"))) as folder:
        yield scratch, Path(folder)


@functools.cache
def _own_scratch(process: int) -> tempfile.TemporaryDirectory[str]:
    """Return the temporary scratch folder of a process; the clones that a search makes share it."""
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
