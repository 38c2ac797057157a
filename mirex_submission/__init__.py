"""Classify music by genre, mood or composer, as in the train/test tasks of MIREX.

The recipe "paper" is the submission of Lidy and Schindler to MIREX 2016: parallel convolutional networks on log-Mel
spectrograms. The recipe "modulation" is a support vector machine on modulation spectra.

Functions, which do what the commands of the same names do:

- `extract`: compute the features of tracks and store them in a scratch folder
- `train`: train a model on labelled tracks
- `classify`: predict the label of each track
- `evaluate`: compute the figures of MIREX for outputs of systems
- `log_mel`: compute the features of one track or waveform

Options of these functions, all frozen dataclasses:

- `Recipe`, `ViewRecipe`: settings that decide a model of networks or of views
- `TrainingOptions`, `ClassificationOptions`, `ExtractionOptions`, `EvaluateOptions`: one for each function
- `FeatureOptions`: sizes of the features
- `RunOptions`: threads, device and strictness
- `TableOptions`, `TrackTable`: columns of a table in a file, or in a pandas DataFrame

Classes:

- `MirexClassifier`: estimator for scikit-learn
- `View`: features that an installed package adds

The errors are in `mirex_submission.errors`. A first example::

    from mirex_submission import Recipe, classify, train

    train("scratch", "train.txt", recipe=Recipe(epochs=10))
    result = classify("scratch", "test.txt", "output.txt")
    print(result.tracks[0].path, result.tracks[0].label)

Importing this package imports nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"]:  # `python -m` puts the current folder first: nothing may be imported from there
    _first = sys.path.pop(0)
    from mirex_submission.system.import_path import leave_out_current_folder

    sys.path.insert(0, _first)
    leave_out_current_folder()

import importlib
from typing import TYPE_CHECKING, Any

from mirex_submission.version import __version__

if TYPE_CHECKING:
    from mirex_submission.estimator import MirexClassifier
    from mirex_submission.evaluation.judging.publish import evaluate_systems as evaluate
    from mirex_submission.evaluation.options import EvaluateOptions
    from mirex_submission.features.clip import log_mel
    from mirex_submission.features.views import View
    from mirex_submission.protocol.in_memory import TrackTable
    from mirex_submission.protocol.tables import TableOptions
    from mirex_submission.runs.classify import classify
    from mirex_submission.runs.extract import extract
    from mirex_submission.runs.options import (
        ClassificationOptions,
        ExtractionOptions,
        FeatureOptions,
        RunOptions,
        TrainingOptions,
    )
    from mirex_submission.runs.train import train
    from mirex_submission.training.recipe import Recipe, ViewRecipe

_MODULES = {
    "MirexClassifier": "estimator",
    "EvaluateOptions": "evaluation.options",
    "evaluate": "evaluation.judging.publish:evaluate_systems",
    "log_mel": "features.clip",
    "TrackTable": "protocol.in_memory",
    "TableOptions": "protocol.tables",
    "classify": "runs.classify",
    "extract": "runs.extract",
    **dict.fromkeys(
        ("ClassificationOptions", "ExtractionOptions", "FeatureOptions", "RunOptions", "TrainingOptions"),
        "runs.options",
    ),
    "train": "runs.train",
    **dict.fromkeys(("Recipe", "ViewRecipe"), "training.recipe"),
    "View": "features.views",
}
__all__ = [
    "ClassificationOptions",
    "EvaluateOptions",
    "ExtractionOptions",
    "FeatureOptions",
    "MirexClassifier",
    "Recipe",
    "RunOptions",
    "TableOptions",
    "TrackTable",
    "TrainingOptions",
    "View",
    "ViewRecipe",
    "__version__",
    "classify",
    "evaluate",
    "extract",
    "log_mel",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _MODULES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), own_name or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
