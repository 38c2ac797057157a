"""Lidy and Schindler's MIREX 2016 parallel convolutional networks as a train/test classification submission.

From Python, `extract`, `train`, `classify` and `evaluate` do what the commands of the same names do, and `log_mel`
gives the features that the networks hear. Each loads its libraries when it is called. For scikit-learn there is
`mirex_submission.estimator.MirexClassifier`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirex_submission.runs.api import classify, evaluate, extract, train
from mirex_submission.version import __version__

if TYPE_CHECKING:
    from mirex_submission.features.clip import log_mel

__all__ = ["__version__", "classify", "evaluate", "extract", "log_mel", "train"]


def __getattr__(name: str) -> Any:
    if name == "log_mel":  # which loads NumPy
        from mirex_submission.features.clip import log_mel

        return log_mel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
