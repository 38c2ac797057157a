"""The features of one track, wherever they are: in a file, in a scratch folder, or only in the audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features import audio, extraction
from mirex_submission.features.spec import WORKING_RATES_HZ, FeatureSpec, own_working_rate
from mirex_submission.features.store import SUFFIX, FeatureStore, Header, read_file


def find_features(
    track: str, scratch: Path | None, *, rate: str, n_bands: int, n_frames: int
) -> tuple[Header, np.ndarray, str]:
    """Header and frames of one track, and where they come from: "stored in ..." or "computed now".

    track : a stored feature file; or audio, whose features are looked up in the scratch folder and else computed.
    rate : working rate in Hz, or "auto": whichever is stored, else the audio's own.

    Raises AudioError for a stored file that is damaged and for audio that cannot be heard, UsageError if features at
    several rates are stored.
    """
    if track.endswith(SUFFIX):
        stored = read_file(Path(track))
        if stored is None:
            raise AudioError(f"{track}: missing, damaged, or no stored features")
        return *stored, f"stored in {track}"
    rates = WORKING_RATES_HZ if rate == "auto" else (int(rate),)
    if scratch:
        stores = [FeatureStore(scratch, FeatureSpec(rate_hz, n_bands, n_frames)) for rate_hz in rates]
        found = [(store, store.read(track)) for store in stores if store.fresh(track)]
        if len(found) > 1:
            raise UsageError(f"{track}: stored at {', '.join(str(s.spec.rate_hz) for s, _ in found)} Hz: give --rate")
        for store, stored in found:
            if stored:
                return *stored, f"stored in {store.file_of(track)}"
    try:
        rate_hz = own_working_rate(audio.native_rate(track)) if rate == "auto" else int(rate)
        return *extraction.compute(track, FeatureSpec(rate_hz, n_bands, n_frames)), "computed now"
    except AudioError as error:
        raise AudioError(f"{track}: {error}") from error
    except OSError as error:
        raise AudioError(f"{track}: cannot be read: {error.strerror or error}") from error
