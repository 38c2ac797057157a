"""The training set: frames of all tracks, segments, and the class of each."""

import numpy as np
import pytest

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header
from mirex_submission.training.dataset import pack
from mirex_submission.training.recipe import Recipe


@pytest.mark.parametrize("last", [1, 65_535, 65_536, 100_000])
def test_targets_of_any_number_of_classes(tmp_path, last):
    spec = FeatureSpec(11025, 4, 2)
    store = FeatureStore(tmp_path / "scratch", spec)
    paths = [str(tmp_path / f"{k}.wav") for k in range(2)]
    for path in paths:
        header = Header(path, AudioState(1, 1, 1), "ab", spec, n_frames=9, duration_s=1.0)
        store.write(header, np.zeros((9, 4), np.float32))
    packed = pack(tmp_path, store, paths, [0, last], Recipe(segments_per_track=3))
    assert packed.targets.tolist() == [0, 0, 0, last, last, last]
