"""A scratch folder in which another user has prepared links, pipes and endless files."""

import shutil
import stat
from pathlib import Path

import pytest
from command_line import call
from intruders import put

TRAIN = ("train", "--model", "1", "--segments-per-track", "4", "--epochs", "2", "--restart")
# A submission that gives every test track the label of the first training track.
SCRIPT = """#!/bin/bash
label=$(head -1 "${@: -3:1}" | cut -f2)
sed "s/\\$/\\t$label/" "${@: -2:1}" >"${@: -1}"
"""
KINDS = ["link", "pipe", "socket", "zeros", "sparse"]


@pytest.fixture(scope="module")
def sound(corpus, tmp_path_factory):
    """A folder with a scratch folder that has features and a model, and its output for the test list."""
    folder = tmp_path_factory.mktemp("sound")
    assert call(*TRAIN, folder / "scratch", corpus["features"], corpus["train"]).status == 0
    assert call("classify", folder / "scratch", corpus["test"], folder / "out.txt").status == 0
    return folder


@pytest.fixture
def scratch(sound, tmp_path):
    return Path(shutil.copytree(sound / "scratch", tmp_path / "scratch"))


@pytest.fixture
def victim(tmp_path):
    """Files of a home folder with names like ours; at the end of the test they must be unchanged."""
    folder = tmp_path / "home"
    folder.mkdir()
    key = "0123456789abcdef" * 2
    for name in (".bashrc", f"{key}.weights.npz", f"{key}-000001.checkpoint", "bundle.json", ".lock"):
        (folder / name).write_text(f"{name} of the victim\n")
    yield folder
    assert {path.name for path in folder.iterdir()} == {
        ".bashrc", f"{key}.weights.npz", f"{key}-000001.checkpoint", "bundle.json", ".lock"
    }  # fmt: skip
    assert all(path.read_text() == f"{path.name} of the victim\n" for path in folder.iterdir())


def replace(path, kind, victim):
    path.unlink()
    put(kind, path, victim / ".bashrc")


def files_of(scratch):
    return [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_replaces_everything_that_is_in_place_of_its_files(scratch, victim, corpus, monkeypatch, kind):
    monkeypatch.chdir(scratch)
    files = [path for path in files_of(scratch) if path.name != ".lock"]
    assert len(files) > 10
    for path in files:
        replace(path, kind, victim)
    done = call(*TRAIN, scratch, corpus["features"], corpus["train"])
    assert done.status == 0, done.stderr
    assert all(stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size < 1 << 30 for path in files)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classification_extracts_features_again_and_names_a_wrong_file_of_the_model(
    sound, scratch, victim, corpus, tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(scratch)
    for path in files_of(scratch / "features"):
        replace(path, kind, victim)
    assert call("classify", scratch, corpus["test"], tmp_path / "out.txt").status == 0
    assert (tmp_path / "out.txt").read_bytes() == (sound / "out.txt").read_bytes()
    for pattern in ("*.weights.npz", "bundle.json"):
        (path,) = (scratch / "model").glob(pattern)
        replace(path, kind, victim)
        done = call("classify", scratch, corpus["test"], tmp_path / "out.txt")
        assert done.status == 5 and str(path) in done.stderr, done.stderr


@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "zeros"])
def test_a_lock_that_is_not_a_file_is_status_7_with_its_path(scratch, victim, corpus, monkeypatch, kind):
    monkeypatch.chdir(scratch)
    replace(scratch / "model" / ".lock", kind, victim)
    done = call(*TRAIN, scratch, corpus["train"])
    assert done.status == 7 and f"{scratch}/model/.lock: " in done.stderr and "remove it [disk." in done.stderr


@pytest.mark.parametrize("name", ["model", "features", "tmp", "features/*", "features/*/*"])
def test_a_link_in_place_of_a_folder_is_status_7_with_its_path(scratch, victim, corpus, name):
    folder = next(path for path in sorted(scratch.glob(name)) if path.is_dir())
    shutil.rmtree(folder)
    folder.symlink_to(victim)
    done = call(*TRAIN, scratch, corpus["features"], corpus["train"])
    assert done.status == 7 and f"{folder}: a symbolic link" in done.stderr and "[disk.link]" in done.stderr


def test_output_and_probabilities_are_written_through_links_which_remain(sound, corpus, tmp_path):
    for name in ("out.txt", "p.csv"):
        (tmp_path / name).symlink_to(tmp_path / f"real {name}")
    files = ("--probabilities", tmp_path / "p.csv", sound / "scratch", corpus["test"], tmp_path / "out.txt")
    assert call("classify", *files).status == 0
    assert (tmp_path / "out.txt").is_symlink() and (tmp_path / "p.csv").is_symlink()
    assert (tmp_path / "real out.txt").read_bytes() == (sound / "out.txt").read_bytes()


def test_files_of_a_user_with_names_like_ours_remain(scratch, corpus):
    kept = [
        ".tmp-2024-11/take.wav", "x.matplotlib-lock", "tmp/x.matplotlib-lock", "model/mine.weights.npz",
        "model/last.checkpoint", "thesis/.mirex-tmp-1-0a1b2c3d",
    ]  # fmt: skip
    for name in kept:
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_text("mine")
    assert call(*TRAIN, scratch, corpus["features"], corpus["train"]).status == 0
    assert all((scratch / name).read_text() == "mine" for name in kept)


@pytest.mark.parametrize(
    "name", ["scratch/submissions", "scratch/.lock", "out/S", "out/S/logs", "out/S/logs/fold1.trainAndClassify.log"]
)
def test_a_cross_validation_follows_no_link_in_its_folders(victim, corpus, tmp_path, name):
    lists, script = tmp_path / "lists", tmp_path / "submission" / "trainAndClassify.sh"
    lists.mkdir()
    script.parent.mkdir()
    script.write_text(SCRIPT)
    script.chmod(0o755)
    for given, kept in (("features", "features"), ("train", "fold1.train"), ("test", "fold1.test")):
        shutil.copy(corpus[given], lists / f"{kept}.txt")
    shutil.copy(corpus["truth"], lists / "fold1.truth.txt")
    link = tmp_path / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim / ".bashrc" if link.suffix or name.endswith(".lock") else victim)
    options = ("--scratch", tmp_path / "scratch", "--out", tmp_path / "out", "--submission", f"S={script.parent}")
    done = call("crossval", lists, *options)
    assert done.status == 7 and f"{link}: " in done.stderr and "[disk.link]" in done.stderr, done.stderr
    link.unlink()
    assert call("crossval", lists, *options).status == 0
