"""Explanation of a prediction for one clip: probabilities over time, the regions that decide, and similar tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError
from mirex_submission.features import audio, extraction, scan
from mirex_submission.features.logmel import log_mel
from mirex_submission.features.spec import WINDOW_S, FeatureSpec, Spec
from mirex_submission.features.views import as_float
from mirex_submission.models.bundle import AnyBundle
from mirex_submission.models.neighbours import Neighbours, nearest
from mirex_submission.models.occlusion import Occlusion, Regions, n_predictions, occlude
from mirex_submission.models.prediction import NetworkPredictor, ViewPredictor
from mirex_submission.models.saliency import saliency
from mirex_submission.models.waveform_model import Features, Pieces, WaveformModel
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import Workers

MOST_S = WINDOW_S  # a longer track is explained by its first two minutes


@dataclass(frozen=True, eq=False)
class Explanation:
    """One clip explained.

    Parameters
    ----------
    path : str
        Path as the caller gave it.
    recipe : str
        Name of the model's recipe.
    classes : tuple of str
    probabilities : np.ndarray [shape=(n_classes,)]
        Class probabilities of the samples.
    predicted : int
        The predicted class, which is explained.
    trained_as : str or None
        Label of the clip in the training list; None if the model was not trained on it.
    duration_s : float
        Duration of the track; `samples` may be its beginning only.
    note : str
        Problem of the audio, or "".
    samples : np.ndarray [shape=(n,), float32]
    marked_samples : np.ndarray [shape=(n,), float32]
        The marked regions alone, as samples.
    spec : FeatureSpec
        Features of `frames`.
    frames : np.ndarray [shape=(n_frames, n_bands)]
        log-Mel spectrogram of the samples.
    pieces : Pieces
        Class probabilities over time.
    occlusion : Occlusion
    saliency : np.ndarray [shape=(n_frames, n_bands)], or None
        Importance by gradients; None unless Keras computes the networks.
    neighbours : Neighbours
    """

    path: str
    recipe: str
    classes: tuple[str, ...]
    probabilities: np.ndarray
    predicted: int
    trained_as: str | None
    duration_s: float
    note: str
    samples: np.ndarray
    marked_samples: np.ndarray
    spec: FeatureSpec
    frames: np.ndarray
    pieces: Pieces
    occlusion: Occlusion
    saliency: np.ndarray | None
    neighbours: Neighbours

    @property
    def label(self) -> str:
        """The predicted class."""
        return self.classes[self.predicted]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes and their probabilities, likeliest first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.classes[k], float(self.probabilities[k])) for k in order]


def explain_clip(
    path: str,
    scratch: Path,
    folder: Path,
    bundle: AnyBundle,
    predictor: NetworkPredictor | ViewPredictor,
    *,
    threads: int = 1,
    limit_s: float = Workers.limit_s,
) -> Explanation:
    """Explain a model's prediction for one audio file.

    Parameters
    ----------
    path : str
    scratch, folder : Path
        Scratch folder, and the folder of the model in it.
    bundle, predictor : AnyBundle, Predictor
        The model.
    threads : int
        Number of predictions in parallel, for a model that has no threads of its own.
    limit_s : float
        Most seconds for decoding the file and computing its features.

    Raises
    ------
    AudioError
        The file is unreadable, empty, silent, or too short.
    """
    specs = bundle.specs
    computed = features_of(path, specs, limit_s)
    with scan.without_output():
        first = audio.decode(path, rate_hz=specs[0].rate_hz, most_s=MOST_S)
    headers = [header for header, _ in computed]
    model = WaveformModel(bundle, predictor, headers)
    samples = as_float(first.samples)
    if len(samples) < model.least_s * first.rate_hz:
        text = f"{path}: lasts {len(samples) / first.rate_hz:.2f} s: an explanation needs {model.least_s:.2f} s or more"
        raise AudioError(text, code="audio.too-short")
    features = model.features(samples)
    predicted, probabilities = predictor.predict(features)
    regions = Regions(samples, first.rate_hz)
    progress = Progress("explanation", n_predictions(regions), unit="predictions")
    occlusion = occlude(
        regions,
        lambda altered: float(model.predict(altered)[1][predicted]),
        threads=1 if model.has_own_threads else threads,
        advance=progress.advance,
    )
    progress.close()
    spec = specs[0] if isinstance(specs[0], FeatureSpec) else FeatureSpec(first.rate_hz)
    labels = {track.content: track.label for track in bundle.tracks}
    return Explanation(
        path=path,
        recipe=bundle.recipe.name,
        classes=bundle.classes,
        probabilities=probabilities,
        predicted=predicted,
        trained_as=labels.get(headers[0].content),
        duration_s=headers[0].duration_s,
        note=headers[0].note,
        samples=samples,
        marked_samples=samples - regions.without(occlusion.marked),
        spec=spec,
        frames=log_mel(samples, spec),
        pieces=model.pieces(samples),
        occlusion=occlusion,
        saliency=saliency(predictor, features, predicted) if isinstance(predictor, NetworkPredictor) else None,
        neighbours=nearest(scratch, folder, bundle, predictor, computed),
    )


def features_of(path: str, specs: Sequence[Spec], limit_s: float = Workers.limit_s) -> Features:
    """Decode one track and compute its features for each spec. Raises AudioError with the path."""
    try:
        with scan.time_limit(limit_s):
            return extraction.compute(path, specs)
    except AudioError as error:
        raise AudioError(f"{path}: {error.text}", code=error.code) from error
