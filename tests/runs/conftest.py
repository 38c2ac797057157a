"""Fixtures of the runs: the small corpus with labels of unusual characters, and unreadable tracks."""

import logging

import numpy as np
import pytest
import soundfile

LABELS = {
    "chorale": "Häuser & Höfe",
    "techno": 'a "quoted", label',
    "waltz": "two  blanks ",
    "bells": "'; drop table \\ 音楽",
}
MOST_FREQUENT = LABELS["waltz"]


@pytest.fixture(autouse=True)
def _log(monkeypatch, caplog):
    """Catch the log, even if a command ran in this process before."""
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    caplog.set_level(logging.INFO, "mirex_submission")


@pytest.fixture(scope="session")
def labels():
    return tuple(sorted(LABELS.values()))


@pytest.fixture(scope="session")
def most_frequent():
    return MOST_FREQUENT


@pytest.fixture(scope="session")
def pairs(corpus):
    """Training tracks (path, label): one class has four tracks, the others three."""
    named = [line.split("\t") for line in corpus["train"].read_text().splitlines()]
    named = [(path, LABELS[style]) for path, style in named]
    first = {label: next(path for path, other in named if other == label) for label in LABELS.values()}
    return [(path, label) for path, label in named if label == MOST_FREQUENT or path != first[label]]


@pytest.fixture(scope="session")
def held_out(corpus):
    """Paths of the test list."""
    return corpus["test"].read_text().splitlines()


@pytest.fixture
def bad_paths(tmp_path):
    """Unreadable tracks: a missing, an empty and a silent file, text, and a folder."""
    paths = [tmp_path / name for name in ("missing.wav", "empty.wav", "silent.wav", "text.wav", "folder.wav")]
    paths[1].write_bytes(b"")
    soundfile.write(paths[2], np.zeros(88200), 22050)
    paths[3].write_text("no audio at all")
    paths[4].mkdir()
    return [str(path) for path in paths]
