"""Which file a path is: one file that is spelled in two ways has one full path, and two files never."""

import os
import unicodedata

import numpy as np
import pytest
import soundfile

from mirex_submission.features import extraction
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system.paths import full_path
from mirex_submission.system.workers import Workers


@pytest.mark.parametrize("path", ["/a//b/./c.wav", "a.wav", "./a", "a..b/..c.wav", "/...", "//a"])
def test_a_path_without_dots_is_that_of_the_standard_library(path):
    assert full_path(path) == os.path.abspath(path)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """here/link leads to there/folder; the audio of both places differs."""
    for folder in ("here", "there/folder"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "here/link").symlink_to(tmp_path / "there/folder")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_two_dots_after_a_link_are_resolved_as_the_system_does(folders):
    for path in ("link/../a.wav", "../here/link/../a.wav", f"{folders}/here/link/../a.wav", "link/.././a.wav"):
        assert full_path(path) == f"{folders}/there/a.wav"
    assert full_path("link/../..") == full_path("..") == str(folders)
    assert full_path("link/a.wav") == f"{folders}/here/link/a.wav"  # no link is followed without need
    assert full_path("../here/a.wav") == f"{folders}/here/a.wav"


def test_two_files_that_differ_only_by_a_link_have_separate_features(folders):
    paths = ["a.wav", "link/../a.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(22050), 22050)
    store = FeatureStore(folders / "s", FeatureSpec(rate_hz=22050))
    records = extraction.extract(paths, [store], Workers(1))
    assert len({records[path].content for path in paths}) == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_that_exists_in_another_unicode_form_is_that_file(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    spelled, real = (tmp_path / unicodedata.normalize(f, "Café/São.wav") for f in (form, other))
    assert full_path(spelled) == str(spelled)
    real.parent.mkdir()
    real.touch()
    assert full_path(spelled) == full_path(real) == str(real)
    spelled.parent.mkdir()
    spelled.touch()
    assert full_path(spelled) == str(spelled)


def test_every_part_of_a_path_can_have_another_unicode_form(tmp_path):
    folder = tmp_path / unicodedata.normalize("NFD", "Björk")
    folder.mkdir()
    (folder / unicodedata.normalize("NFC", "Jóga.wav")).touch()
    for form in ("NFC", "NFD"):
        spelled = f"{tmp_path}/{unicodedata.normalize(form, 'Björk/Jóga.wav')}"
        assert full_path(spelled) == f"{folder}/{unicodedata.normalize('NFC', 'Jóga.wav')}"
