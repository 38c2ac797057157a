"""Extraction: stored tracks of one run and of shards, and the number of tracks that may be unreadable."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from project import PROJECT

from mirex_submission import ExtractionOptions, FeatureOptions, RunOptions, extract
from mirex_submission.errors import AudioError, StorageError, UsageError
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore, content_hash
from mirex_submission.runs.scratch import choose_specs
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec(rate_hz=11025)
RATE = FeatureOptions(rate=11025)
RUN = RunOptions(threads=1, no_check=True)
N_TRACKS = 10


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Tracks with a sampling rate of 11025 Hz; only the third has 22050 Hz."""
    folder = tmp_path_factory.mktemp("tracks")
    paths = [str(folder / f"{k:02}.wav") for k in range(N_TRACKS)]
    for k, path in enumerate(paths):
        rate_hz = 22050 if k == 2 else 11025
        soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, rate_hz + 50 * k), rate_hz)
    return paths


def share(scratch, tracks, i, n):
    """Extract one share of the tracks and return the results."""
    return extract(scratch, tracks, features=RATE, extraction=ExtractionOptions(shard=(i, n)), run=RUN)


def stored(scratch):
    return {p.relative_to(scratch): p.read_bytes() for p in (scratch / "features").rglob("*") if p.is_file()}


def stamps(scratch):
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (scratch / "features").rglob("*") if p.is_file()}


def start(scratch, listed, *options):
    command = [str(PROJECT / "bin/extractFeatures.sh"), *options, str(scratch), str(listed)]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(*processes):
    """Wait until all processes have ended with status 0; return their logs."""
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (stdout, stderr) in zip(processes, outputs, strict=True):
        assert (process.returncode, stdout) == (0, ""), stderr
    return [stderr for _, stderr in outputs]


@pytest.mark.slow
def test_three_shards_at_the_same_time_store_the_same_bytes_as_one_run(tracks, tmp_path):
    listed = tmp_path / "list.txt"
    lines = [*tracks, tracks[0]]  # one track is listed twice
    listed.write_text("".join(f"{path}\n" for path in lines))
    together, alone = tmp_path / "together", tmp_path / "alone"
    logs = finish(*(start(together, listed, "--shard", f"{k}/3") for k in (1, 2, 3)))
    extract(alone, lines, run=RUN)
    assert stored(together) == stored(alone)
    assert len(list(together.rglob("*.logmel"))) == N_TRACKS
    assert [int(re.search(r"(\d+) new, 0 stored before", text)[1]) for text in logs] == [4, 3, 3]

    before = stamps(together)
    (again,) = finish(start(together, listed, "--shard", "2/3", "--verify"))
    assert re.search(r"\b0 new, 3 stored before", again)
    assert stamps(together) == before


@pytest.mark.parametrize("n", [1, 3, N_TRACKS])
def test_every_track_is_in_exactly_one_shard(tracks, tmp_path, n):
    shares = [share(tmp_path, tracks, k, n) for k in range(1, n + 1)]
    assert sorted(path for records in shares for path in records) == tracks
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    store = FeatureStore(tmp_path, SPEC)
    assert all(store.read(path)[0].content == content_hash(path) for path in tracks)


def test_results_are_in_the_order_of_the_list_and_not_in_the_order_of_completion(tracks, tmp_path):
    """The first track is the longest, and the last one is already stored."""
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 60 * 11025), 11025)
    extract(tmp_path / "s", tracks[-1:], features=RATE, run=RUN)
    paths = [str(tmp_path / "long.wav"), *tracks, f"{tmp_path}/../{tmp_path.name}/long.wav"]
    assert list(extract(tmp_path / "s", paths, features=RATE, run=RunOptions(threads=2, no_check=True))) == paths


def test_with_more_shards_than_tracks_the_last_shards_are_empty(tracks, tmp_path):
    shares = [share(tmp_path, tracks, k, N_TRACKS + 2) for k in range(1, N_TRACKS + 3)]
    assert [len(records) for records in shares] == [1] * N_TRACKS + [0, 0]


def test_a_shard_extracts_only_its_share(tracks, tmp_path):
    share(tmp_path, tracks, 2, 3)
    store = FeatureStore(tmp_path, SPEC)
    assert [path for path in tracks if store.fresh(path)] == tracks[1::3]


def test_the_shares_do_not_depend_on_the_stored_tracks(tracks, tmp_path):
    """Otherwise the progress of one shard could move a track into another shard that has ended."""
    extract(tmp_path, tracks[:5], features=RATE, run=RUN)
    assert list(share(tmp_path, tracks, 3, 3)) == tracks[2::3]


def test_more_than_half_unreadable_is_an_audio_error_and_strict_allows_none(held_out, bad_paths, tmp_path):
    for no_check in (True, False):
        run, strict = (RunOptions(threads=1, no_check=no_check, strict=strict) for strict in (False, True))
        with pytest.raises(AudioError, match=r"\[audio.too-many\]"):
            extract(tmp_path / "s", [held_out[0], *bad_paths[:2]], run=run)
        with pytest.raises(AudioError, match=r"\[audio.too-many\]"):
            extract(tmp_path / "s", [held_out[0], bad_paths[0]], run=strict)
        records = extract(tmp_path / "s", [held_out[0], bad_paths[0]], run=run)
        assert [bool(record.content) for record in records.values()] == [True, False]
        assert records[bad_paths[0]].reason and not records[held_out[0]].reason


def test_a_picture_of_each_readable_track_is_drawn(held_out, bad_paths, tmp_path):
    extract(tmp_path / "s", [held_out[0], bad_paths[0]], extraction=ExtractionOptions(plot=tmp_path / "new"), run=RUN)
    assert [path.read_bytes()[:4] for path in (tmp_path / "new").iterdir()] == [b"\x89PNG"]
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        extract(tmp_path / "none", held_out, extraction=ExtractionOptions(plot=tmp_path / "file/folder"), run=RUN)
    assert not list(tmp_path.glob("none/**/*.logmel"))


def test_a_scheduler_without_a_cluster_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"\[usage.scheduler\]"):
        extract(tmp_path / "s", ["a.wav"], extraction=ExtractionOptions(scheduler="tcp://nowhere:1"))
    assert not (tmp_path / "s").exists()


def test_every_fold_has_the_working_rate_of_its_whole_task(held_out, tmp_path):
    """Most files of the task have 11.025 kHz; a fold of only the others would get 22.05 kHz."""

    def spec_of(paths, *, rate="auto", whole_task=False):
        options = FeatureOptions(rate=rate)
        (spec,) = choose_specs(tmp_path / "s", paths, Recipe(), options, Headers(1), whole_task=whole_task)
        return spec

    low = []
    for k in range(2 * len(held_out)):
        low.append(str(tmp_path / f"low{k}.wav"))
        soundfile.write(low[-1], np.zeros(100), 11025)
    fold = held_out[:4]
    assert spec_of(fold) == FeatureSpec(22050)
    assert spec_of(low + held_out, whole_task=True) == FeatureSpec(11025)
    assert spec_of(fold) == FeatureSpec(11025)
    # With another rate, or with files outside that task, the record is not used.
    assert spec_of(fold, rate=44100) == FeatureSpec(44100)
    assert spec_of([*fold, f"{fold[0]}.not-there"]) == FeatureSpec(22050)
    # An unreadable record is ignored.
    (tmp_path / "s/features/task").write_text("{")
    assert spec_of(fold) == FeatureSpec(22050)
