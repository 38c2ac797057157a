"""The synthetic corpus of the examples: reproducible, varied, and with lists in the format of the protocol."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import synthetic_corpus
from synthetic_corpus import STYLES, synthesise, write_corpus

from mirex_submission.protocol.lists import read_labelled, read_paths
from mirex_submission.protocol.nema import label_warnings, path_warnings

STYLE_NAMES = [style.__name__ for style in STYLES]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """The lists of a corpus of twelve one-second clips per style."""
    return write_corpus(tmp_path_factory.mktemp("clips of a second"), n_clips=12, seconds=1.0)


def test_at_least_four_classes_of_twelve_clips(lists):
    assert len(STYLES) >= 4
    tracks = read_labelled(lists["train"]) + read_labelled(lists["truth"])
    assert Counter(track.label for track in tracks) == dict.fromkeys(STYLE_NAMES, 12)


def test_most_clips_are_22_khz_mono_and_a_few_44_khz_stereo_all_16_bit_wav(lists):
    infos = [soundfile.info(path) for path in read_paths(lists["features"])]
    kinds = Counter((info.samplerate, info.channels) for info in infos)
    assert kinds == {(22050, 1): 36, (44100, 2): 12}
    assert {(info.format, info.subtype, info.duration) for info in infos} == {("WAV", "PCM_16", 1.0)}


def test_the_lists_split_the_corpus_with_every_class_in_training_and_test(lists):
    train, truth = read_labelled(lists["train"]), read_labelled(lists["truth"])
    train_paths, test_paths = [t.path for t in train], read_paths(lists["test"])
    assert [track.path for track in truth] == test_paths
    assert not set(train_paths) & set(test_paths)
    assert sorted(train_paths + test_paths) == sorted(read_paths(lists["features"]))
    assert Counter(track.label for track in truth) == dict.fromkeys(STYLE_NAMES, 4)


def test_the_lists_name_existing_files_by_full_paths_that_contain_the_label(lists):
    for track in read_labelled(lists["train"]):
        assert Path(track.path).is_absolute() and Path(track.path).is_file()
        assert Path(track.path).parent.name == track.label


def test_the_names_are_accepted_by_the_evaluator(lists):
    names = [Path(path).name for path in read_paths(lists["features"])]
    assert path_warnings(names) == []
    assert label_warnings(STYLE_NAMES) == []


def test_all_clips_differ_and_none_is_silent_or_clipped(lists):
    contents = set()
    for path in read_paths(lists["features"]):
        samples, _ = soundfile.read(path)
        assert 0.65 < np.abs(samples).max() < 0.75
        assert np.sqrt(np.mean(samples**2)) > 0.01
        contents.add(samples.tobytes())
    assert len(contents) == 48


@pytest.mark.parametrize("style", STYLES)
def test_a_clip_depends_only_on_its_seed(style):
    first, same, other = (synthesise(style, seed, 1.0, 22050, 1) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert first.shape == (22050, 1)
    assert not np.allclose(first, other, atol=0.05)


@pytest.mark.parametrize("style", STYLES)
def test_each_channel_has_its_own_noise_6_to_20_db_below_the_music(style):
    left, right = synthesise(style, 5, 2.0, 44100, 2).T
    gain = (left @ right) / (left @ left)  # the music is the same in both, up to a gain
    rest_db = 20 * np.log10(np.std(right - gain * left) / np.std(right))
    assert -18 < rest_db < -2


def test_the_corpus_depends_only_on_its_seed(tmp_path):
    same = [write_corpus(tmp_path / name, n_clips=1, seconds=0.5, seed=1) for name in ("a", "b")]
    other = write_corpus(tmp_path / "c", n_clips=1, seconds=0.5, seed=2)
    a, b, c = ([Path(path).read_bytes() for path in read_paths(lists["features"])] for lists in (*same, other))
    assert a == b
    assert all(x != y for x, y in zip(a, c, strict=True))


def test_it_runs_as_a_script(tmp_path):
    script = synthetic_corpus.__file__
    command = [sys.executable, script, str(tmp_path / "out"), "--clips", "3", "--seconds", "0.5", "--seed", "1"]
    subprocess.run(command, check=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "audio",
        "features.txt",
        "train.txt",
        "test.txt",
        "truth.txt",
    }
    assert len(read_paths(tmp_path / "out" / "features.txt")) == 12
