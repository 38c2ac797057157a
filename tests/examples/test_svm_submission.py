"""The example of another submission: through its shell scripts, and through its functions."""

import ast
import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from project import PROJECT
from synthetic_corpus import write_corpus

FOLDER = PROJECT / "examples" / "svm_submission"


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """A function that runs a script of the example in an empty folder, which is also the home folder."""
    home = tmp_path_factory.mktemp("home")

    def run(script, *args, threads=1):
        # Share numba's cache with other tests: compiling again takes half a minute.
        env = {**os.environ, "MIREX_PYTHON": sys.executable, "HOME": str(home), "NUMBA_CACHE_DIR": ""}
        command = [str(FOLDER / script), "-numThreads", str(threads), *map(str, args)]
        done = subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)
        assert list(home.iterdir()) == [], "it writes outside SCRATCH"
        return done

    return run


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Lists over a small corpus in a folder with a blank; the test list also has unusual and unreadable files."""
    folder = tmp_path_factory.mktemp("svm") / "a b"
    lists = write_corpus(folder, n_clips=6, seconds=3.0)  # every fourth clip is 44.1 kHz stereo
    clip, rate_hz = soundfile.read(lines_of(lists["test"])[0], dtype="float32")
    odd = folder / "odd"
    odd.mkdir()
    soundfile.write(odd / "copy.mp3", np.stack([clip, clip], axis=1), rate_hz, format="MP3")
    soundfile.write(odd / "short.wav", clip[: rate_hz // 10], rate_hz)
    soundfile.write(odd / "silent.wav", np.zeros(rate_hz), rate_hz)
    soundfile.write(odd / "empty.wav", np.zeros(0), rate_hz)
    (odd / "text.wav").write_text("no audio")
    names = ("copy.mp3", "short.wav", "silent.wav", "empty.wav", "text.wav", "nowhere.wav")
    for name in ("features", "test"):
        with open(lists[name], "a", encoding="utf-8") as f:
            f.writelines(f"{odd / name}\n" for name in names)
    with open(lists["train"], "a", encoding="utf-8") as f:
        f.write(f"{odd / 'text.wav'}\ttechno\n{odd / 'silent.wav'}\ttechno\n")
    return folder, lists


@pytest.fixture(scope="module")
def done(call, task):
    """The results of the three scripts, and the folder with SCRATCH and the output."""
    folder, lists = task
    calls = (
        ("extractFeatures.sh", 2, lists["features"]),
        ("train.sh", 1, lists["train"]),
        ("classify.sh", 1, lists["test"], folder / "output.txt"),
    )
    runs = [call(script, folder / "scratch", *args, threads=threads) for script, threads, *args in calls]
    assert [run.returncode for run in runs] == [0, 0, 0], runs
    return runs, folder, lists


@pytest.mark.slow
def test_every_test_track_has_a_line_in_order_with_any_audio(done):
    _, folder, lists = done
    pairs = [line.split("\t") for line in lines_of(folder / "output.txt")]
    assert [path for path, _ in pairs] == lines_of(lists["test"])
    assert {label for _, label in pairs} <= {"bells", "chorale", "techno", "waltz"}


@pytest.mark.slow
def test_it_distinguishes_most_styles_and_predicts_the_same_for_mp3_and_wav(done):
    _, folder, lists = done
    label_of = dict(line.split("\t") for line in lines_of(folder / "output.txt"))
    right = sum(label_of[path] == label for path, label in (line.split("\t") for line in lines_of(lists["truth"])))
    assert right >= 6, "of 8; chance gives 2"
    assert label_of[str(folder / "odd" / "copy.mp3")] == label_of[lines_of(lists["test"])[0]]


@pytest.mark.slow
def test_unreadable_tracks_are_named_and_left_out_of_the_training(done):
    (extract, train, classify), folder, _ = done
    for name, reason in (
        ("silent", "silent"),
        ("empty", "silent, empty"),
        ("text", "Error"),
        ("nowhere", "No such file|Error"),
    ):
        assert re.search(rf"{name}\.wav: unreadable: .*({reason})", extract.stderr)
    for run, count in ((extract, "4 of 30"), (train, "2 of 18"), (classify, "4 of 14")):
        assert f"{count} tracks are unreadable" in run.stderr
    with np.load(folder / "scratch" / "model.npz") as model:  # refuses pickles
        assert model["features"].shape == (16, 190)
        assert np.isfinite(model["features"]).all()


@pytest.mark.slow
def test_features_are_stored_once_and_recomputed_if_removed_with_the_same_bytes(done, call):
    _, folder, lists = done
    gone, *kept = (folder / "scratch").glob("features-*/*.npy")
    assert len(kept) == 24 + 6 - 1
    gone.unlink()
    stored = {path: path.stat().st_mtime_ns for path in kept}
    output = (folder / "output.txt").read_bytes()
    for script, *args in (("train.sh", lists["train"]), ("classify.sh", lists["test"], folder / "again.txt")):
        assert call(script, folder / "scratch", *args).returncode == 0
    assert (folder / "again.txt").read_bytes() == output
    assert {path: path.stat().st_mtime_ns for path in kept} == stored
    assert gone.exists()


def test_errors_have_a_status(call, task, tmp_path):
    _, lists = task
    no_model = call("classify.sh", tmp_path / "scratch", lists["test"], tmp_path / "out.txt")
    assert no_model.returncode != 0 and "no model" in no_model.stderr and not (tmp_path / "out.txt").exists()
    assert call("classify.sh", tmp_path / "scratch", lists["test"]).returncode == 2
    unlabelled = call("train.sh", tmp_path / "scratch", lists["test"])
    assert unlabelled.returncode != 0 and "no tab" in unlabelled.stderr


@pytest.fixture
def module():
    spec = importlib.util.spec_from_file_location("svm_submission", FOLDER / "svm_submission.py")
    loaded = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        spec.loader.exec_module(loaded)
    return loaded


def test_groups_stay_together_in_the_inner_folds(module, monkeypatch, tmp_path, capsys):
    """Ten artists, each with a random sound and label: a classifier can learn only the artists."""
    rng = np.random.default_rng(0)
    sounds = rng.normal(size=(10, 190))
    paths = [f"/{artist}/{n}.wav" for artist in range(10) for n in range(6)]
    rows = {path: sounds[int(path[1])] + 0.01 * rng.normal(size=190) for path in paths}
    monkeypatch.setattr(module, "extract", lambda *args: rows)
    tracks = [(path, f"class{int(path[1]) % 2}") for path in paths]
    inner = []
    for group_of in ({}, {path: path[1] for path in paths}):
        module.train(tracks, group_of, tmp_path, 1)
        inner.append(float(re.match(r"([\d.]+)% correct in 5 inner", capsys.readouterr().err)[1]))
    assert inner[0] == 100 and inner[1] < 80


def test_every_test_track_has_a_label_an_unreadable_one_the_most_frequent(module, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    rows = {f"/{label}{n}.wav": rng.normal(5 * (label == "b"), 1, 190) for label in "ab" for n in range(6)}
    rows["/none.wav"] = np.zeros(0)
    monkeypatch.setattr(module, "extract", lambda paths, *args: {path: rows[path] for path in paths})
    module.train([(path, path[1]) for path in rows if path not in ("/a5.wav", "/b5.wav", "/b4.wav")], {}, tmp_path, 1)
    assert module.classify(["/b5.wav", "/none.wav", "/a5.wav"], tmp_path, 1) == ["b", "a", "a"]


def test_groups_are_read_from_the_folder_of_the_training_list(module, monkeypatch, tmp_path):
    taken = []
    monkeypatch.setattr(module, "train", lambda tracks, group_of, *args: taken.append(group_of))
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", "")  # put back after main has set it
    (tmp_path / "train.txt").write_text("/a.wav\trock\n/b.wav\tjazz\n")
    monkeypatch.setattr(sys, "argv", ["svm", "train", str(tmp_path / "scratch"), str(tmp_path / "train.txt")])
    module.main()
    (tmp_path / "groups.txt").write_text("/a.wav\tX\n/b.wav\tX\n")
    module.main()
    assert taken == [{}, {"/a.wav": "X", "/b.wav": "X"}]


def test_the_example_does_not_need_this_package():
    tree = ast.parse((FOLDER / "svm_submission.py").read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"joblib", "librosa", "numpy", "sklearn", "soundfile"}
