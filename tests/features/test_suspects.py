"""Tracks that a process died of: noted while in hand, done apart by the next run, and never the end of a run again."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from mirex_submission.features import suspects
from mirex_submission.features.extraction import extract
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system.workers import Workers

SPEC = FeatureSpec(rate_hz=11025, n_frames=8)


@pytest.fixture
def tracks(tmp_path):
    paths = [str(tmp_path / f"{k}.wav") for k in range(6)]
    for k, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng(k).uniform(-0.5, 0.5, 6000), SPEC.rate_hz)
    return paths


class Deadly(FeatureStore):
    """A store in which one track kills whatever process extracts it, as a crash in a decoder does."""

    def write(self, header, frames):
        if header.path.endswith("3.wav"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(header, frames)


RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from test_suspects import SPEC, Deadly, Workers, extract
records = extract(sys.argv[3:], Deadly(sys.argv[2], SPEC), Workers(1))
print(*[path for path, record in records.items() if not record.content], sep="\\n")
"""


def run(scratch, tracks):
    """extract() in a process of its own, with Deadly."""
    command = [sys.executable, "-c", RUN, os.path.dirname(__file__), str(scratch), *tracks]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_track_that_killed_the_run_itself_is_done_apart_from_then_on(tracks, tmp_path):
    scratch = tmp_path / "s"
    assert run(scratch, tracks).returncode == -signal.SIGKILL
    for _ in range(2):  # the second time there is nothing else left to do
        done = run(scratch, tracks)
        assert (done.returncode, done.stdout.split()) == (0, [tracks[3]]), done.stderr
    store = FeatureStore(scratch, SPEC)
    assert [bool(store.fresh(path)) for path in tracks] == [True, True, True, False, True, True]


def test_an_innocent_track_loses_its_note_and_nothing_else(tracks, tmp_path, caplog):
    store = FeatureStore(tmp_path / "s", SPEC)
    for path in tracks[1:3]:
        suspects.note(store.folder, path)
    records = extract(tracks, store, Workers(1))
    assert all(records[path].content for path in tracks)
    assert "died with 2 track(s) in hand" in caplog.text
    assert suspects.noted(store.folder, tracks) == []
    assert [p.suffix for p in store.folder.rglob("*") if p.is_file()] == [".logmel"] * 6


def test_a_note_stands_only_while_the_track_is_in_hand(tmp_path):
    with suspects.noting(tmp_path) as in_hand:
        for path in ("/a.wav", "/a longer one.wav", "/b.wav"):
            in_hand(path)
            (note,) = tmp_path.iterdir()
            assert note.read_bytes().rstrip(b"\0") == path.encode()
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_has_in_hand_is_no_suspect_and_its_note_stays(tmp_path):
    with suspects.noting(tmp_path) as in_hand:
        in_hand("/a.wav")
        assert suspects.noted(tmp_path, ["/a.wav"]) == []
        suspects.clear(tmp_path, ["/a.wav"])
        assert len(list(tmp_path.iterdir())) == 1


def test_a_track_that_was_stored_before_the_kill_is_no_suspect_and_loses_its_note(tracks, tmp_path, caplog):
    store = FeatureStore(tmp_path / "s", SPEC)
    extract(tracks[:2], store, Workers(1))
    suspects.note(store.folder, tracks[1])
    assert all(record.content for record in extract(tracks, store, Workers(1)).values())
    assert "in hand" not in caplog.text and not list(store.folder.glob("suspect-*"))


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ValueError])
def test_an_orderly_end_leaves_no_note(tmp_path, ending):
    def work():
        with suspects.noting(tmp_path) as in_hand:
            in_hand("a.wav")
            raise ending

    with pytest.raises(ending):
        work()
    assert list(tmp_path.iterdir()) == []


def test_notes_of_other_tracks_are_left_alone(tmp_path):
    suspects.note(tmp_path, "/other.wav")
    assert suspects.noted(tmp_path, ["/mine.wav"]) == []
    suspects.clear(tmp_path, ["/mine.wav"])
    assert suspects.noted(tmp_path, ["/other.wav", "/mine.wav"]) == ["/other.wav"]
