"""Labelled tracks from folders named by their class."""

import logging
import os

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import ListError
from mirex_submission.features.folders import from_folders


@pytest.fixture
def files(tmp_path):
    """Make files of text, whatever their suffix, and files of audio."""

    def make(*names, audio=()):
        for name in (*names, *audio):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("no audio")
        for name in audio:
            with open(tmp_path / name, "wb") as f:
                soundfile.write(f, np.zeros(100, np.int16), 22050, format="WAV")

    return make


def labels(tracks):
    return sorted((os.path.basename(track.path), track.label) for track in tracks)


def codes(caplog):
    """Return the codes of the warnings, which -q still prints."""
    return [r.getMessage().rpartition("[")[2].rstrip("]") for r in caplog.records if r.levelno >= logging.WARNING]


def test_classes_are_the_folders_in_the_folder_and_audio_may_lie_deeper(tmp_path, files, caplog):
    files("rock/a.wav", "rock/cd 2/b.FLAC", "jazz/c.mp3", "d.wav", "jazz/cover.jpg")
    tracks = from_folders(tmp_path)
    assert [(os.path.basename(t.path), t.label, t.group) for t in tracks] == [
        ("c.mp3", "jazz", tracks[0].path),
        ("a.wav", "rock", tracks[1].path),
        ("b.FLAC", "rock", tracks[2].path),
    ]
    assert codes(caplog) == ["folds.left-out", "folds.left-out"]
    assert "d.wav" in caplog.text and "cover.jpg" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir/a.wav",
        "rock/Thumbs.db",
        ".ipynb_checkpoints/a.wav",
        "rock/.Trash-1000/files/a.wav",
        "rock/._a.wav",
        ".a.wav",
        "rock/cd/.git/x/a.wav",
    ],
)
def test_hidden_files_and_folders_are_not_tracks_or_classes(tmp_path, files, caplog, name):
    files("rock/1.wav", "jazz/2.wav", name)
    with caplog.at_level(logging.INFO):
        assert labels(from_folders(tmp_path)) == [("1.wav", "rock"), ("2.wav", "jazz")]
    assert codes(caplog) == [] and "1 hidden" in caplog.text


def test_any_file_that_decodes_is_a_track_whatever_its_suffix(tmp_path, files, caplog):
    audio = ["odd/a.wave", "odd/b.aifc", "odd/c.CAF", "odd/d", "odd/e.2", "odd/f.wav.bak"]
    files("rock/1.wav", audio=audio)
    assert len(from_folders(tmp_path)) == 7 and not caplog.records


def test_a_class_without_audio_is_a_warning_that_names_it_and_the_reason(tmp_path, files, caplog):
    files("rock/1.wav", "jazz/2.wav", "pop/3.m4a", "pop/4.m4a", "folk/cd/readme.txt")
    (tmp_path / "none").mkdir()
    from_folders(tmp_path)
    assert codes(caplog)[-1] == "folds.lost-class" and "folk, none, pop" in caplog.messages[-1]
    assert "2 file(s)" in caplog.text and ".m4a: cannot be decoded" in caplog.text


def test_linked_files_folders_and_classes_are_followed(tmp_path, files, caplog):
    files("store/rock/1.wav", "store/deep/2.wav", "store/3.wav", "store/.hidden/4.wav", "data/jazz/5.wav")
    data, store = tmp_path / "data", tmp_path / "store"
    (data / "rock").symlink_to(store / "rock")
    (data / "blues").symlink_to(store / ".hidden")
    (data / "jazz/more").symlink_to("../../store/deep")
    (data / "jazz/3.wav").symlink_to(store / "3.wav")
    (tmp_path / "link").symlink_to(data)
    expected = [("1.wav", "rock"), ("2.wav", "jazz"), ("3.wav", "jazz"), ("4.wav", "blues"), ("5.wav", "jazz")]
    assert labels(from_folders(data)) == labels(from_folders(tmp_path / "link")) == expected
    assert not caplog.records


@pytest.mark.parametrize("target", ["..", ".", "../jazz", "../..", "/", "../rock"])
def test_links_to_a_parent_or_twice_to_a_folder_are_left_out_with_a_warning(tmp_path, files, caplog, target):
    files("data/rock/1.wav", "data/jazz/2.wav")
    (tmp_path / "data/jazz/loop").symlink_to(target)
    assert labels(from_folders(tmp_path / "data")) == [("1.wav", "rock"), ("2.wav", "jazz")]
    assert codes(caplog) == ["folds.left-out"] and "jazz/loop" in caplog.text


def test_the_real_name_of_a_linked_folder_counts(tmp_path, files, caplog):
    files("zouk/1.wav", "rock/2.wav")
    (tmp_path / "a").symlink_to("zouk")
    assert labels(from_folders(tmp_path)) == [("1.wav", "zouk"), ("2.wav", "rock")]
    assert codes(caplog) == ["folds.left-out", "folds.lost-class"]


def test_entries_that_are_not_files_are_left_out_with_a_warning(tmp_path, files, caplog):
    files("rock/1.wav", "jazz/2.wav")
    (tmp_path / "rock/gone.wav").symlink_to("nowhere.wav")
    (tmp_path / "pop").symlink_to("nowhere")
    (tmp_path / "jazz/me.wav").symlink_to("me.wav")
    os.mkfifo(tmp_path / "jazz/pipe.wav")
    assert len(from_folders(tmp_path)) == 2
    assert codes(caplog) == ["folds.left-out"] and "4 file(s)" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ["train/rock/1.wav", "train/jazz/2.wav", "test/rock/3.wav"],
        ["Train/rock/1.wav", "TEST/jazz/2.wav", "val/jazz/2.wav"],
        ["train/1.wav", "test/2.wav"],
        ["training_set/rock/1.wav", "test_set/jazz/2.wav"],
        ["fold1/1.wav", "fold2/2.wav", "fold10/3.wav"],
        ["train/rock/1.wav", "validation/jazz/2.wav", "extra/3.wav"],
        ["train/rock/1.wav", "train/jazz/2.wav", "readme.txt"],
        ["genres/rock/1.wav", "genres/jazz/2.wav"],
    ],
)
def test_parts_of_a_collection_above_the_classes_are_an_error_with_the_command(tmp_path, files, names):
    files(*names)
    part = min(name.split("/")[0] for name in names if name.endswith(".wav") and "extra" not in name)
    with pytest.raises(ListError, match=rf"--from-folders {tmp_path}/{part}.* \[folds\.parts\]"):
        from_folders(tmp_path)


@pytest.mark.parametrize(
    "names",
    [["train/1.wav", "car/2.wav"], ["train/artist/1.wav", "car/artist/2.wav"], ["test drive/1.wav", "contest/2.wav"]],
)
def test_a_class_can_have_the_name_of_a_part(tmp_path, files, names):
    files(*names)
    assert len(from_folders(tmp_path)) == 2


@pytest.mark.parametrize("name", ["rock/a\nb.wav", "ro\tck/a.wav", os.fsdecode(b"rock/\xff.wav")])
def test_names_that_a_list_cannot_have_are_errors(tmp_path, files, name):
    files("jazz/a.wav", name)
    with pytest.raises(ListError, match=r"\[folds\.unlistable-name\]"):
        from_folders(tmp_path)


def test_missing_folders_or_folders_without_audio_are_errors(tmp_path):
    with pytest.raises(ListError, match=r"\[folds\.no-audio\]"):
        from_folders(tmp_path)
    with pytest.raises(ListError, match=r"\[folds\.unreadable-folder\]"):
        from_folders(tmp_path / "none")
