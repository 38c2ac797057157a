"""Many processes on one scratch folder at the same time: no errors, and the same files as by one process."""

import shutil
from pathlib import Path

import pytest
from processes import files_below, start

from mirex_submission.networks import kernel

# Without the kernel, each process takes seconds to load librosa or Keras, so there are fewer.
N_FOLDS, N_AT_ONCE = (3, 4) if kernel.compiled else (2, 2)
TRAINING = ("-numThreads", "1", "--model", "1", "--epochs", "2", "--segments-per-track", "4", "--no-picture")


def finish(processes):
    """Wait until all processes have ended with status 0; return their logs."""
    logs = []
    for process in processes:
        with process:
            logs.append(process.communicate(timeout=300)[1])
        assert process.returncode == 0, logs[-1]
        assert "Traceback" not in logs[-1]
    return logs


@pytest.fixture(scope="module")
def folds(corpus, tmp_path_factory):
    """A folder with a training list and a test list for each fold; every third line is in the test list."""
    folder = tmp_path_factory.mktemp("folds")
    lines = [line for name in ("train", "truth") for line in corpus[name].read_text().splitlines(keepends=True)]
    for k in range(N_FOLDS):
        (folder / f"{k}.train.txt").write_text("".join(line for n, line in enumerate(lines) if n % 3 != k))
        test = [line.split("\t")[0] + "\n" for n, line in enumerate(lines) if n % 3 == k]
        (folder / f"{k}.test.txt").write_text("".join(test))
    return folder


@pytest.fixture(scope="module")
def extracted(corpus, tmp_path_factory):
    """A folder whose scratch folder has the features of all tracks, extracted by one process."""
    folder = tmp_path_factory.mktemp("extracted")
    finish([start("extractFeatures.sh", "-numThreads", 1, folder / "scratch", corpus["features"])])
    return folder


@pytest.fixture(scope="module")
def alone(extracted, folds, tmp_path_factory):
    """The files after the same calls one after the other."""
    folder = Path(shutil.copytree(extracted, tmp_path_factory.mktemp("alone") / "all"))
    for k in range(N_FOLDS):
        finish([train(folder, folds, k)])
        finish([classify(folder, folds, k, f"{k}.txt")])
    return left_in(folder)


def left_in(folder):
    """Return all files, except caches of Matplotlib and numba, whose bytes differ between processes."""
    return {
        name: data for name, data in files_below(folder).items() if "matplotlib" not in name and "numba" not in name
    }


def train(folder, folds, k):
    return start("train.sh", *TRAINING, "--name", f"fold{k}", folder / "scratch", folds / f"{k}.train.txt")


def classify(folder, folds, k, output):
    names = ("-numThreads", 1, "--name", f"fold{k}")
    return start("classify.sh", *names, folder / "scratch", folds / f"{k}.test.txt", folder / output)


@pytest.mark.parametrize("n", [N_AT_ONCE, pytest.param(8, marks=pytest.mark.slow)])
def test_many_extract_the_same_list_into_one_scratch_folder(corpus, extracted, tmp_path, n):
    call = ("extractFeatures.sh", "-numThreads", 2, tmp_path / "scratch", corpus["features"])
    finish([start(*call) for _ in range(n)])
    features = left_in(extracted)
    assert left_in(tmp_path) == features and len(features) == 25


@pytest.mark.slow
def test_folds_train_and_classify_at_the_same_time_without_a_previous_extraction(corpus, folds, alone, tmp_path):
    scratch = tmp_path / "scratch"
    finish([start("extractFeatures.sh", "--rate", 22050, scratch, folds / "0.test.txt")])  # record of another task
    finish([train(tmp_path, folds, k) for k in range(N_FOLDS)])
    finish([classify(tmp_path, folds, k, f"{k}.txt") for k in range(N_FOLDS)])
    files = left_in(tmp_path)
    assert files.pop("scratch/features/task") != alone["scratch/features/task"]
    assert files == {name: data for name, data in alone.items() if name != "scratch/features/task"}


@pytest.mark.slow
def test_classifications_that_write_the_same_output_at_once_leave_a_complete_one(folds, alone, tmp_path):
    for name, data in alone.items():
        if name.startswith("scratch/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    finish([classify(tmp_path, folds, 0, "out.txt") for _ in range(N_AT_ONCE)])
    assert (tmp_path / "out.txt").read_bytes() == alone["0.txt"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.txt"]


@pytest.mark.slow
def test_a_classification_during_a_training_uses_the_old_or_the_new_model(folds, alone, tmp_path):
    """Classifications are repeated until the training has replaced the model."""
    for name, data in alone.items():
        if name.startswith(("scratch/features", "scratch/models/fold0")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    wanted = {alone["0.txt"]}
    other = ("--seed", "7", "--name", "fold0", tmp_path / "scratch", folds / "0.train.txt")
    training = start("train.sh", *TRAINING, *other)
    outputs = []
    while training.poll() is None or len(outputs) < 2:
        finish([classify(tmp_path, folds, 0, "out.txt")])
        outputs.append((tmp_path / "out.txt").read_bytes())
    finish([training])
    finish([classify(tmp_path, folds, 0, "after.txt")])
    wanted.add((tmp_path / "after.txt").read_bytes())
    assert set(outputs) <= wanted


@pytest.mark.slow
def test_of_two_simultaneous_trainings_of_one_name_one_is_refused_and_the_other_succeeds(folds, alone, tmp_path):
    for name, data in alone.items():
        if name.startswith("scratch/features"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    both = [train(tmp_path, folds, 0) for _ in range(2)]
    logs = []
    for process in both:
        with process:
            logs.append(process.communicate(timeout=300)[1])
    assert 0 in [process.returncode for process in both], logs
    for process, words in zip(both, logs, strict=True):
        assert process.returncode == 0 or (process.returncode == 2 and "[usage.locked]" in words), words
    model = {name: data for name, data in alone.items() if name.startswith("scratch/models/fold0")}
    assert {name: data for name, data in left_in(tmp_path).items() if "models" in name} == model
