"""The functions of a submission that the organisers' scripts of DCASE 2025, task 1, call.

References
----------
.. [1] F. Schmid and others, "DCASE2025, task 1, inference package", README.md and evaluate_submission.py.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mirex_submission.features.extraction import compute
from mirex_submission.features.store import Header
from mirex_submission.models import bundle as bundles
from mirex_submission.models.bundle import AnyBundle
from mirex_submission.models.prediction import Predictor
from mirex_submission.runs.classify import start_predictor
from mirex_submission.runs.inference import predict as predict_tracks
from mirex_submission.runs.options import RunOptions

_RUN = RunOptions(device="cpu")


@dataclass(frozen=True, eq=False)
class Model:
    """A model in memory. A call with an input of `load_inputs` returns the logarithms of the class probabilities."""

    bundle: AnyBundle
    predictor: Predictor

    def __call__(self, features: Input) -> Any:
        with threadpool_limits(1, "blas"):  # as in `classify`: the number of threads decides the last bits
            return _logits(self.predictor.predict(features.parts)[1])


@dataclass(frozen=True, eq=False)
class Input:
    """The features of one track, one part for each kind of features that the model needs."""

    parts: list[tuple[Header, np.ndarray]]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first part, [n_rows, n_columns]."""
        return self.parts[0][1].shape


def predict(
    file_paths: Sequence[str],
    device_ids: Sequence[str],
    model_file_path: str | None = None,
    use_cuda: bool = False,
    *,
    default: str,
) -> tuple[list[Any], list[str]]:
    """Predict the classes of audio files.

    Parameters
    ----------
    file_paths : sequence of str
    device_ids : sequence of str
        Recording device of each file; the model is the same for all.
    model_file_path : str, optional
        Folder of another model than `default`.
    use_cuda : bool
        Ignored: predictions are computed on a CPU.
    default : str
        Folder of the model.

    Returns
    -------
    (list, list of str)
        Logarithms of the class probabilities of each file, tensors if PyTorch is loaded, else arrays; and the classes.
    """
    if len(file_paths) != len(device_ids):
        raise ValueError(f"{len(file_paths)} files, but {len(device_ids)} devices")
    result = predict_tracks(model_file_path or default, list(file_paths), run=_RUN)
    return [_logits(row) for row in result.probabilities], list(result.classes)


def load_model(model_file_path: str | None = None, *, default: str) -> Model:
    """Load the model."""
    folder = Path(model_file_path or default)
    bundle = bundles.load(folder)
    return Model(bundle, start_predictor(folder, bundle, _RUN))


def load_inputs(file_paths: Sequence[str], device_ids: Sequence[str], model: Model) -> list[Input]:
    """Compute the features of audio files. Raises AudioError where one is unreadable."""
    return [Input(compute(path, model.bundle.specs)) for path in file_paths]


def get_model_for_device(model: Model, device_id: str) -> Model:
    """Return the model for a recording device, which is the same for all devices."""
    return model


def _logits(probabilities: np.ndarray) -> Any:
    with np.errstate(divide="ignore"):  # log(0) is -inf, which softmax turns into 0 again
        logits = np.log(probabilities)
    torch = sys.modules.get("torch")
    return logits if torch is None else torch.from_numpy(logits)
