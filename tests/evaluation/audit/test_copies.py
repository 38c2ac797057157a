"""Copies are found after any alteration, and different music is not reported as one recording."""

import shutil

import numpy as np
import pytest
import soundfile
import soxr
from audit_corpus import RATE_HZ, clip, write_folds, write_mp3

from mirex_submission.evaluation.audit import index
from mirex_submission.evaluation.audit.copies import copies, match
from mirex_submission.evaluation.audit.fingerprints import HOP_S, fingerprint
from mirex_submission.evaluation.audit.index import Index
from mirex_submission.evaluation.audit.task import read_task

LABELS = "rock", "jazz"


def as_wav(path, y, rate_hz=RATE_HZ):
    soundfile.write(path, y, rate_hz, "PCM_16", format="WAV")


# Alterations of a clip, and the seconds that are cut off at its beginning.
ALTERATIONS = [
    (0.0, write_mp3),
    (5.0, write_mp3),
    (1.234, lambda path, y: as_wav(path, np.clip(3 * y, -1, 1))),
    (0.5, lambda path, y: as_wav(path, soxr.resample(y, RATE_HZ, 16000), 16000)),
    (2.0, lambda path, y: as_wav(path, 0.1 * y[: 3 * RATE_HZ])),
    (3.0, lambda path, y: as_wav(path, np.stack([y, 0.5 * y], axis=1))),
]


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    """Twelve clips, half of them with an altered copy: the folder, and {clip: (its copy, offset in seconds)}."""
    folder = tmp_path_factory.mktemp("altered")
    planted = {}
    for k in range(12):
        y, path = clip(k, 9.0), folder / f"{k:02d}.wav"
        as_wav(path, y)
        if k < len(ALTERATIONS):
            start_s, write = ALTERATIONS[k]
            planted[str(path)] = str(folder / f"copy{k:02d}.mp3"), start_s
            write(folder / f"copy{k:02d}.mp3", y[int(start_s * RATE_HZ) :])
    return folder, planted


def test_all_altered_copies_are_found_with_their_offsets_and_nothing_else(altered):
    folder, planted = altered
    matches, unreadable = match(sorted(map(str, folder.iterdir())), folder, 1)
    assert not unreadable
    assert {file: list(others) for file, others in matches.items() if file in planted} == {
        file: [copy] for file, (copy, _) in planted.items()
    }
    assert len(matches) == 2 * len(planted)
    for file, (copy, start_s) in planted.items():
        assert matches[file][copy] == pytest.approx(start_s, abs=0.1) and matches[copy][file] == -matches[file][copy]
    assert not list(folder.glob(".*"))  # the fingerprints


def test_an_index_in_several_parts_finds_the_same_copies(altered, tmp_path, monkeypatch):
    folder, planted = altered
    fingerprints = [fingerprint(str(path)) for path in sorted(folder.iterdir())]
    results = []
    for size in (1 << 22, 1000):
        monkeypatch.setattr(index, "_PART", size)
        with open(tmp_path / "frames", "w+b") as file:
            whole = Index(file, len(fingerprints))
            for k in reversed(range(len(fingerprints))):  # in any order
                whole.add(k, fingerprints[k])
            results.append(sorted(whole.candidates()))
    assert results[0] == results[1] and len(results[0]) >= len(planted)


def test_without_frames_there_are_no_candidates(tmp_path):
    with open(tmp_path / "frames", "w+b") as file:
        empty = Index(file, 2)
        empty.add(0, np.zeros(0, np.uint32))
        assert empty.candidates() == []


@pytest.mark.parametrize("seconds", [0.05, 0.4, 1.0])
def test_very_short_tracks_do_not_fail(tmp_path, seconds):
    files = [tmp_path / f"{k}.wav" for k in range(3)]
    for k, file in enumerate(files):
        as_wav(file, clip(k, 4.0)[: int(seconds * RATE_HZ)])
    matches, unreadable = match(list(map(str, files)), tmp_path, 1)
    assert not matches and not unreadable
    assert HOP_S < 0.012


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Two folds with every kind of copies, and an unreadable track."""
    folder = tmp_path_factory.mktemp("kinds")
    paths = [folder / f"{k}.wav" for k in range(8)]
    for k, path in enumerate(paths):
        as_wav(path, clip(100 + k, 5.0))
    shutil.copy(paths[0], folder / "bytes.wav")  # rock in both folds
    shutil.copy(paths[2], folder / "other.wav")  # rock, and jazz in the same fold
    write_mp3(folder / "near.mp3", clip(101, 5.0)[RATE_HZ:])  # jazz in both folds
    write_mp3(folder / "same.mp3", clip(103, 5.0))  # jazz in one fold
    (folder / "damaged.wav").write_bytes(b"RIFF no audio")
    labels = {path: LABELS[k % 2] for k, path in enumerate(paths)}
    first = {path: labels[path] for path in paths[:4]}
    first |= {folder / "other.wav": "jazz", folder / "same.mp3": "jazz"}
    second = {path: labels[path] for path in paths[4:]}
    second |= {folder / "bytes.wav": "rock", folder / "near.mp3": "jazz", folder / "damaged.wav": "rock"}
    lists = write_folds(folder / "lists", {"fold1": first, "fold2": second})
    return folder, read_task([lists])


def test_severity_folds_and_offsets_of_each_kind(task, tmp_path):
    folder, task = task
    problems = copies(task, tmp_path)
    names = [(p.code, p.severity, sorted(path.removeprefix(f"{folder}/") for path in p.paths)) for p in problems]
    assert sorted(names) == [
        ("audit.exact-copy", "error", ["2.wav", "other.wav"]),
        ("audit.exact-copy", "warning", ["0.wav", "bytes.wav"]),
        ("audit.near-copy", "note", ["3.wav", "same.mp3"]),
        ("audit.near-copy", "warning", ["1.wav", "near.mp3"]),
        ("audit.unreadable", "note", ["damaged.wav"]),
    ]
    of = {name[1] + name[0]: problem for name, problem in zip(names, problems, strict=True)}
    near = of["warningaudit.near-copy"]
    assert near.folds == ["fold1", "fold2"] and near.labels == ["jazz", "jazz"]
    begins = dict(zip(near.paths, near.offsets_s, strict=True))
    assert begins[f"{folder}/1.wav"] == 0 and begins[f"{folder}/near.mp3"] == pytest.approx(1.0, abs=0.1)
    assert of["noteaudit.near-copy"].folds == [] and set(of["erroraudit.exact-copy"].labels) == set(LABELS)
    assert "audio.undecodable" in of["noteaudit.unreadable"].message


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_clean_corpus_has_no_copies(tmp_path, seed):
    files = [tmp_path / f"{k}.wav" for k in range(40)]
    for k, file in enumerate(files):
        as_wav(file, clip([seed, k], 5.0))
    assert match(list(map(str, files)), tmp_path, 2) == ({}, {})
