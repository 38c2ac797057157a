"""A scratch folder that is damaged, old or from a stranger, in the calls of an evaluator."""

import io
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import command_line
import numpy as np
import pytest
from processes import resumed_after, wait_for
from project import PROJECT

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.networks.weights import from_bytes
from mirex_submission.system.atomic import digest, seal

QUICK = ("--model", "1", "--segments-per-track", "4", "--checkpoint-every", "0", "--no-picture", "--epochs")
SPEC = FeatureSpec()


COMMANDS = {"extractFeatures.sh": "extract", "train.sh": "train", "classify.sh": "classify"}


def call(script, *args):
    """Run the command of a script in this process; return its status and its log."""
    done = command_line.call(COMMANDS[script], *args)
    assert done.stdout == ""
    return done.status, done.stderr


@pytest.fixture(scope="module")
def sound(corpus, tmp_path_factory):
    """A folder with a scratch folder that has features and a model, and the output of a classification."""
    folder = tmp_path_factory.mktemp("sound")
    assert call("train.sh", *QUICK, 2, folder / "scratch", corpus["features"], corpus["train"])[0] == 0
    assert call("classify.sh", folder / "scratch", corpus["test"], folder / "out.txt")[0] == 0
    return folder


@pytest.fixture
def scratch(sound, tmp_path):
    return Path(shutil.copytree(sound / "scratch", tmp_path / "scratch"))


@pytest.fixture
def expected(sound):
    return (sound / "out.txt").read_bytes()


def damage(path, rng):
    """Flip a random bit of a file, or truncate the file at random."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if rng.random() < 0.7:
        data[at] ^= 1 << rng.randrange(8)
    else:
        del data[at:]
    path.write_bytes(data)


def stamps(scratch):
    """Return the times at which the files of the model were written."""
    return {path.name: path.stat().st_mtime_ns for path in sorted((scratch / "model").glob("bundle.json"))}


def contents(folder, pattern):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob(pattern)}


ONE_OR_MANY = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 30))]


# Damage.


@pytest.mark.parametrize("seed", ONE_OR_MANY)
def test_damaged_features_are_extracted_again_and_all_results_are_the_same(scratch, expected, corpus, tmp_path, seed):
    rng, whole = random.Random(seed), contents(scratch, "*.logmel")
    for name in whole:
        damage(scratch / name, rng)
    damage(scratch / "features" / "task", rng)
    status, log = call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")
    assert status == 0, log
    assert (tmp_path / "out.txt").read_bytes() == expected
    # The training reads the other features. It has nothing to do, as the tracks are the same.
    before = stamps(scratch)
    status, log = call("train.sh", *QUICK, 2, scratch, corpus["features"], corpus["train"])
    assert status == 0 and stamps(scratch) == before, log
    shutil.rmtree(scratch / "model")
    assert call("train.sh", *QUICK, 2, scratch, corpus["features"], corpus["train"])[0] == 0
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").read_bytes() == expected
    assert contents(scratch, "*.logmel") == whole


def test_a_damaged_header_does_not_count_as_other_audio(scratch, corpus):
    """One digit of each content hash is changed, by which a training identifies its tracks."""
    whole = contents(scratch, "*.logmel")
    for name, data in whole.items():
        content = json.loads(data.split(b"\n", 2)[1])["content"].encode()
        (scratch / name).write_bytes(data.replace(content, content[:-1] + b"%x" % (int(content[-1:], 16) ^ 1), 1))
    before = stamps(scratch)
    status, log = call("train.sh", *QUICK, 2, scratch, corpus["features"], corpus["train"])
    assert status == 0 and stamps(scratch) == before, log
    assert contents(scratch, "*.logmel") == whole


@pytest.mark.parametrize("pattern", [pytest.param("bundle.json", marks=pytest.mark.slow), "*.weights.npz"])
@pytest.mark.parametrize("seed", ONE_OR_MANY)
def test_a_damaged_model_is_status_5_and_the_training_in_the_message_repairs_it(
    scratch, expected, corpus, tmp_path, pattern, seed
):
    (file,) = (scratch / "model").glob(pattern)
    damage(file, random.Random(seed))
    status, log = call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")
    assert status == 5 and re.search(rf"{file}: .*bin/train\.sh \[model\.damaged\]", log), log
    assert not (tmp_path / "out.txt").exists()
    assert call("train.sh", *QUICK, 2, scratch, corpus["train"])[0] == 0
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").read_bytes() == expected


@pytest.fixture(scope="module")
def killed(sound, corpus, tmp_path_factory):
    """A scratch folder with the last two checkpoints of a killed training, and no model."""
    scratch = tmp_path_factory.mktemp("killed") / "scratch"
    shutil.copytree(sound / "scratch" / "features", scratch / "features")
    command = [str(PROJECT / "bin/train.sh"), *QUICK, "100000", str(scratch), str(corpus["train"])]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: any(epochs_of(file) > 3 for file in checkpoints_of(scratch)))
        finally:
            process.kill()
    assert len(checkpoints_of(scratch)) in (2, 3)  # three if it was killed before it removed the oldest one
    return scratch


def checkpoints_of(scratch):
    """Return the checkpoints of a training, newest first."""
    return sorted((scratch / "model").glob("*.checkpoint"), reverse=True)


def epochs_of(file):
    return int(file.stem.rpartition("-")[2])


@pytest.mark.parametrize("seed", ONE_OR_MANY)
@pytest.mark.parametrize("n_damaged", [1, 3])
def test_a_training_resumes_from_an_earlier_checkpoint_and_is_bit_identical(killed, corpus, tmp_path, seed, n_damaged):
    scratch = Path(shutil.copytree(killed, tmp_path / "scratch"))
    checkpoints = checkpoints_of(scratch)
    for file in checkpoints[:n_damaged]:
        damage(file, random.Random(seed))
    epochs = epochs_of(checkpoints[0]) + 2
    status, log = call("train.sh", *QUICK, epochs, scratch, corpus["train"])
    assert status == 0, log
    for file in checkpoints[:n_damaged]:
        assert re.search(rf"{file}: .*\[training\.checkpoint-damaged\]", log)
    left = checkpoints[n_damaged:]
    assert resumed_after(log) == ([epochs_of(left[0])] if left else [])
    assert call("train.sh", *QUICK, epochs, "--name", "straight", scratch, corpus["train"])[0] == 0
    assert bundles.load(scratch / "model").weights == bundles.load(scratch / "models/straight").weights


# Other versions and settings.


def test_features_of_an_older_format_are_extracted_again(scratch, expected, corpus, tmp_path):
    whole = contents(scratch, "*.logmel")
    for k, (name, data) in enumerate(whole.items()):
        body = data.split(b"\n", 1)[1]
        old = [b"mirex-features 2 %s\n" % digest(body).encode(), b"mirex-features 1 ", b""][k % 3]
        (scratch / name).write_bytes(old + body)
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").read_bytes() == expected
    assert call("extractFeatures.sh", scratch, corpus["features"])[0] == 0
    assert contents(scratch, "*.logmel") == whole


def test_a_model_of_another_format_is_status_5(scratch, corpus, tmp_path):
    file = scratch / "model" / "bundle.json"
    fields = json.loads(file.read_bytes().split(b"\n", 1)[1])
    for form in (bundles.FORMAT - 1, bundles.FORMAT + 1, None):
        file.write_bytes(seal(json.dumps({**fields, "format": form}).encode()))
        status, log = call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")
        assert status == 5 and "[model.other-version]" in log, (form, log)
    assert call("train.sh", *QUICK, 1, scratch, corpus["train"])[0] == 0


def test_a_model_is_used_with_its_own_settings(scratch, expected, corpus, tmp_path):
    """The scratch folder also has features of another rate, and of other bands and segments."""
    for options in (("--rate", 44100), ("--bands", 30, "--frames", 60)):
        assert call("extractFeatures.sh", *options, scratch, corpus["test"])[0] == 0
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").read_bytes() == expected
    options = (*QUICK, 1, "--bands", 30, "--frames", 60)
    assert call("train.sh", *options, scratch, corpus["train"])[0] == 0
    spec = bundles.load(scratch / "model").spec
    assert (spec.n_bands, spec.n_frames) == (30, 60)
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0


# Files from a stranger.


class Evil:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def pickles(made):
    """Return pickles in three forms: alone, in an .npy file, and in an .npz file with float32 arrays."""
    evil = np.array([Evil(made)], dtype=object)
    files = [io.BytesIO(), io.BytesIO()]
    np.save(files[0], evil)
    np.savez(files[1], **{"dense/kernel": np.zeros((2, 2), np.float32), "dense/bias": evil})
    return [pickle.dumps(Evil(made)), *(file.getvalue() for file in files)]


def lambda_archive(folder, made):
    """Return a Keras archive with a layer that creates a file when it is built or called."""
    import keras

    path = str(made)

    def evil(x):
        open(path, "w").close()
        return x

    layers = [keras.Input((2,)), keras.layers.Lambda(evil, output_shape=(2,))]
    keras.Sequential(layers).save(folder / "evil.keras")
    made.unlink(missing_ok=True)
    return (folder / "evil.keras").read_bytes()


@pytest.fixture(params=["npz", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("pickle", "npy", "keras"))])
def evil(request, tmp_path):
    """Bytes that run code if a program trusts them, and the file that this code creates."""
    made = tmp_path / "made by a stranger"
    if request.param == "keras":
        return lambda_archive(tmp_path, made), made
    return pickles(made)[["pickle", "npy", "npz"].index(request.param)], made


def test_files_that_could_run_code_are_refused_in_every_place(scratch, expected, corpus, tmp_path, evil):
    data, made = evil
    # As features and as the record of the task, with and without our first line and right digests.
    stored = sorted(scratch.rglob("*.logmel"))
    for k, file in enumerate(stored):
        line = file.read_bytes().split(b"\n", 2)[1] + b"\n"
        ours = b"mirex-features 3 %s %s\n" % (digest(line).encode(), digest(line, data).encode())
        file.write_bytes([data, ours + line + data, ours + data][k % 3])
    (scratch / "features" / "task").write_bytes(seal(data))
    # In the folder of the model, with the names that frameworks load.
    for name in ("model.keras", "model.h5", "saved_model.pb", "weights.pkl", "evil.weights.npz"):
        (scratch / "model" / name).write_bytes(data)
    status, log = call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")
    assert status == 0 and (tmp_path / "out.txt").read_bytes() == expected, log
    (tmp_path / "out.txt").unlink()

    # As the bundle, and as weights that a good bundle names.
    file = scratch / "model" / "bundle.json"
    good = file.read_bytes()
    fields = json.loads(good.split(b"\n", 1)[1])
    weights = f"{digest(data)}.weights.npz"
    (scratch / "model" / weights).write_bytes(data)
    with_weights = seal(json.dumps({**fields, "weights": {"1": weights}}).encode())
    for bundle in (data, seal(data), with_weights):
        file.write_bytes(bundle)
        status, log = call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")
        assert status == 5 and re.search(r"bin/train\.sh \[model\.", log), log
        assert not (tmp_path / "out.txt").exists()
    # As checkpoints from which the next training would resume.
    for epochs in (1, 2):
        for history in (b"[]\n", b'[{"loss": 1.0, "accuracy": 0.5}]\n', b""):
            checkpoint = scratch / "model" / f"{fields['keys']['1']}-{epochs:06d}.checkpoint"
            checkpoint.write_bytes(seal(history + data))
    status, log = call("train.sh", *QUICK, 2, scratch, corpus["features"], corpus["train"])
    assert status == 0 and "[training.checkpoint-damaged]" in log, log
    assert call("classify.sh", scratch, corpus["test"], tmp_path / "out.txt")[0] == 0
    assert (tmp_path / "out.txt").read_bytes() == expected
    assert not made.exists()


def test_unpickling_the_test_files_runs_their_code(tmp_path):
    made = tmp_path / "made"
    alone, npy, npz = pickles(made)
    pickle.loads(alone).close()
    assert made.exists()
    for data in (npy, npz):
        made.unlink()
        arrays = np.load(io.BytesIO(data), allow_pickle=True)
        (arrays if data is npy else arrays["dense/bias"])[0].close()
        assert made.exists()
        with pytest.raises(ValueError, match=r"not an \.npz file"):
            from_bytes(data)
