"""Shares of one list, extracted side by side into one folder: together what one call stores, and nothing twice."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from project import PROJECT

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore, content_hash
from mirex_submission.runs import submission
from mirex_submission.system.workers import Workers

SPEC = FeatureSpec(rate_hz=11025)
N_TRACKS = 10


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Tracks of which most ask for a working rate of 11025 Hz, and the third for another."""
    folder = tmp_path_factory.mktemp("tracks")
    paths = [str(folder / f"{k:02}.wav") for k in range(N_TRACKS)]
    for k, path in enumerate(paths):
        rate_hz = 22050 if k == 2 else 11025
        soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, rate_hz + 50 * k), rate_hz)
    return paths


def stored(scratch):
    return {p.relative_to(scratch): p.read_bytes() for p in (scratch / "features").rglob("*") if p.is_file()}


def stamps(scratch):
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (scratch / "features").rglob("*") if p.is_file()}


def start(scratch, listed, *options):
    command = [str(PROJECT / "bin/extractFeatures.sh"), *options, str(scratch), str(listed)]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    """What they said on stderr, once all have ended well."""
    said = [process.communicate(timeout=300) for process in processes]
    for process, (stdout, stderr) in zip(processes, said, strict=True):
        assert (process.returncode, stdout) == (0, ""), stderr
    return [stderr for _, stderr in said]


def test_three_shards_side_by_side_store_byte_for_byte_what_one_call_stores(tracks, tmp_path):
    listed = tmp_path / "list.txt"
    lines = [*tracks, tracks[0]]  # one track is listed twice
    listed.write_text("".join(f"{path}\n" for path in lines))
    together, alone = tmp_path / "together", tmp_path / "alone"
    said = finish(*(start(together, listed, "--shard", f"{k}/3") for k in (1, 2, 3)))
    spec = submission.choose_spec(alone, lines, rate="auto", n_bands=40, n_frames=80, threads=1, whole_task=True)
    submission.extract(alone, lines, spec, Workers(1))
    assert stored(together) == stored(alone)
    assert len(list(together.rglob("*.logmel"))) == N_TRACKS
    assert [int(re.search(r"(\d+) new, 0 stored before", text)[1]) for text in said] == [4, 3, 3]

    before = stamps(together)
    (again,) = finish(start(together, listed, "--shard", "2/3", "--verify"))
    assert "3 tracks ready (0 new, 3 stored before)" in again
    assert stamps(together) == before


@pytest.mark.parametrize("n", [1, 3, N_TRACKS, N_TRACKS + 7])
def test_every_track_is_in_exactly_one_shard(tracks, tmp_path, n):
    shares = [submission.extract(tmp_path, tracks, SPEC, Workers(1), shard=(k, n)) for k in range(1, n + 1)]
    assert sorted(path for share in shares for path in share) == tracks
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    store = FeatureStore(tmp_path, SPEC)
    assert all(store.read(path)[0].content == content_hash(path) for path in tracks)


def test_a_shard_does_its_share_only(tracks, tmp_path):
    submission.extract(tmp_path, tracks, SPEC, Workers(1), shard=(2, 3))
    store = FeatureStore(tmp_path, SPEC)
    assert [path for path in tracks if store.fresh(path)] == tracks[1::3]


def test_the_shares_do_not_depend_on_what_is_stored_already(tracks, tmp_path):
    """Another shard's progress must not move a track into a shard that has passed it."""
    submission.extract(tmp_path, tracks[:5], SPEC, Workers(1))
    records = submission.extract(tmp_path, tracks, SPEC, Workers(1), shard=(3, 3))
    assert list(records) == tracks[2::3]
