"""The resources of a model that challenges ask for: its size, its operations, and its training data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from mirex_submission.errors import AudioError
from mirex_submission.features import logmel, modulation_views
from mirex_submission.features.audio import read_header
from mirex_submission.features.store import FeatureStore
from mirex_submission.features.views import OWN
from mirex_submission.models import card
from mirex_submission.models.bundle import AnyBundle, Bundle, TrainedTrack, ViewBundle, load_classifier, load_weights
from mirex_submission.networks.sizes import ARCHITECTURES, multiply_accumulates
from mirex_submission.training.segments import n_segments

CLIP_S = 30  # length of the clip for which operations are counted and time is measured
_FEATURE_NOTE = "n log2(n) for each Fourier transform of n samples, and matrix products; decoding is not counted"


def describe(folder: Path, bundle: AnyBundle) -> dict[str, Any]:
    """Describe a model and its training data, for a JSON file. Raises ModelError where weights are damaged."""
    of_kind = _networks(folder, bundle) if isinstance(bundle, Bundle) else _classifier(folder, bundle)
    return {
        "recipe": bundle.recipe.name,
        "rate_hz": bundle.specs[0].rate_hz,
        **of_kind,
        "training_data": {
            "tracks": len(bundle.tracks),
            **_hours(folder, bundle),
            "classes": dict(Counter(track.label for track in bundle.tracks)),
            "hashes": {"list_sha256": card.list_hash(bundle), "audio_sha256": card.audio_hash(bundle)},
        },
        "weights_xxh3_128": {name: file.partition(".")[0] for name, file in bundle.weights.items()},
        "trained_with": bundle.versions,
    }


def _networks(folder: Path, bundle: Bundle) -> dict[str, Any]:
    spec, recipe = bundle.spec, bundle.recipe
    parameters = {
        name: sum(w.size for key, w in load_weights(folder, bundle, name).items() if not key.startswith("standardise"))
        for name in recipe.networks
    }
    of_log_mel = logmel.multiply_accumulates(spec) * spec.rate_hz // spec.hop
    counted = None
    if set(recipe.networks) <= set(ARCHITECTURES):
        shape = {"n_bands": spec.n_bands, "n_frames": spec.n_frames, "n_classes": len(bundle.classes)}
        a_segment = sum(multiply_accumulates(name, **shape) for name in recipe.networks)
        counted = a_segment * n_segments(spec.rows_in(CLIP_S), spec, recipe) // CLIP_S
    return {
        "networks": list(recipe.networks),
        "parameters": sum(parameters.values()),
        "parameters_of_networks": parameters,
        "multiply_accumulates_per_second_of_audio": counted,
        "multiply_accumulates_note": (
            f"of the networks, every output of every layer, for the segments of a clip of {CLIP_S} s; null: not known"
        ),
        "feature_multiply_accumulates_per_second_of_audio": of_log_mel,
        "feature_multiply_accumulates_note": _FEATURE_NOTE,
    }


def _classifier(folder: Path, bundle: ViewBundle) -> dict[str, Any]:
    machine = load_classifier(folder, bundle)
    arrays = machine.arrays()
    components = sum(arrays[f"{spec.view}/components"].size for spec in bundle.specs)
    a_track = components + machine.vectors.size + machine.vectors.shape[0] * len(bundle.classes)
    of_views = None
    if set(bundle.recipe.views) <= set(OWN):
        counts = [
            modulation_views.multiply_accumulates(spec.view, spec.rate_hz, CLIP_S * spec.rate_hz)
            for spec in bundle.specs
        ]
        of_views = sum(counts) // CLIP_S
    return {
        "views": list(bundle.recipe.views),
        "parameters": sum(array.size for array in arrays.values()),
        "multiply_accumulates_per_second_of_audio": a_track // CLIP_S,
        "multiply_accumulates_note": f"of projection and classifier, for a clip of {CLIP_S} s",
        "feature_multiply_accumulates_per_second_of_audio": of_views,
        "feature_multiply_accumulates_note": _FEATURE_NOTE,
    }


def _hours(folder: Path, bundle: AnyBundle) -> dict[str, Any]:
    """Sum the durations of the training tracks, as far as stored features or the audio files still give them."""
    scratch = folder.parent.parent if folder.parent.name == "models" else folder.parent
    store = FeatureStore(scratch, bundle.specs[0])
    durations = [seconds for track in bundle.tracks if (seconds := _duration(track, store)) is not None]
    hours = round(sum(durations) / 3600, 4) if durations else None
    return {"hours": hours, "hours_are_of_tracks": len(durations)}


def _duration(track: TrainedTrack, store: FeatureStore[Any]) -> float | None:
    stored = store.fresh(track.path, content_decides=False)
    if stored:
        return stored.duration_s
    try:
        return read_header(track.path).duration_s
    except AudioError:
        return None
