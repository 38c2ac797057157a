"""The same audio under several names."""

import os

import numpy as np
import soundfile

from mirex_submission.features import copies
from mirex_submission.features.copies import contents_of_copies


def write(path, seed, n=22050):
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(n), 22050, subtype="PCM_16")
    return str(path)


def test_files_with_equal_bytes_share_a_hash_and_others_are_left_out(tmp_path):
    a, b, c = (write(tmp_path / f"{name}.wav", seed) for name, seed in (("a", 0), ("b", 1), ("c", 0)))
    contents = contents_of_copies([a, b, c, str(tmp_path / "missing.wav"), str(tmp_path)])
    assert contents.keys() == {a, c} and contents[a] == contents[c]
    assert copies.copies(contents) == [(c, a)]


def test_files_that_differ_in_one_byte_outside_the_middle_are_not_copies(tmp_path):
    a, b = write(tmp_path / "a.wav", 0), write(tmp_path / "b.wav", 0)
    with open(b, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"\x7f")
    assert contents_of_copies([a, b]) == {}


def test_only_files_of_equal_size_and_middle_are_read_whole(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(copies, "content_hash", lambda file: read.append(file) or "0")
    files = [write(tmp_path / f"{k}.wav", seed) for k, seed in enumerate((0, 1, 2, 2))]
    contents_of_copies([*files, write(tmp_path / "short.wav", 2, n=100)])
    assert read == files[2:]
