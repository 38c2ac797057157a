"""The same call resumes a killed, stopped or finished training, with bit-identical results."""

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from command_line import call
from processes import resumed_after
from project import PROJECT

from mirex_submission.models import bundle as bundles
from mirex_submission.training.checkpoint import Checkpoints

EPOCHS = 6
CALL = ("--segments-per-track", "12", "--checkpoint-every", "0", "--no-picture")


def files_of(scratch, name="model"):
    """Return every file of a model except its lock: {name: bytes}."""
    folder = scratch / name
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
    """A scratch folder with a model that was never interrupted."""
    scratch = tmp_path_factory.mktemp("straight") / "scratch"
    command = [PROJECT / "bin/train.sh", *CALL, "--epochs", str(EPOCHS), scratch, corpus["features"], corpus["train"]]
    subprocess.run(command, env={**os.environ, "MIREX_PYTHON": sys.executable}, capture_output=True, check=True)
    return scratch


@pytest.fixture
def extracted(straight, tmp_path):
    """A scratch folder with features and without a model."""
    shutil.copytree(straight / "features", tmp_path / "scratch/features")
    return tmp_path / "scratch"


def kill_after(seconds, scratch, corpus, *args):
    """Call train.sh, kill it with its child processes after some seconds, and return the status (None) and the log."""
    command = [str(PROJECT / "bin/train.sh"), *CALL, *map(str, args), str(scratch), str(corpus["train"])]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            _, log = process.communicate(timeout=seconds)
            return process.returncode, log
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            return None, process.communicate()[1]


def kill_until_done(scratch, corpus, *, kills, rng):
    """Kill a training at random moments, at most `kills` times; return the number of kills and all logs."""
    n_killed, logs = 0, ""
    while True:
        timeout_s = rng.uniform(0.3, 2.0) if n_killed < kills else 300
        status, log = kill_after(timeout_s, scratch, corpus, "--epochs", EPOCHS)
        logs += log
        assert status in (None, 0), logs
        if status == 0:
            return n_killed, logs
        n_killed += 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_trainings_that_are_killed_200_times_give_the_same_files(straight, extracted, corpus, seed):
    rng, n_killed = random.Random(seed), 0
    while n_killed < 20:
        shutil.rmtree(extracted / "model", ignore_errors=True)
        n, log = kill_until_done(extracted, corpus, kills=20, rng=rng)
        n_killed += n
        assert files_of(extracted) == files_of(straight), log


def test_a_killed_training_resumes_from_its_last_checkpoint(straight, extracted, corpus):
    command = [str(PROJECT / "bin/train.sh"), *CALL, "--epochs", str(EPOCHS), str(extracted), str(corpus["train"])]
    with subprocess.Popen(command, env={**os.environ, "MIREX_PYTHON": sys.executable}) as process:
        while not list(extracted.glob("model/*.checkpoint")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    kept = sorted(path.name for path in extracted.glob("model/*.checkpoint"))
    assert 1 <= len(kept) <= 2, "it ended before it could be killed"
    done = call("train", *CALL, "--epochs", EPOCHS, extracted, corpus["train"])
    assert resumed_after(done.stderr) == [int(kept[-1][-17:-11])]
    assert files_of(extracted) == files_of(straight)


def test_a_damaged_checkpoint_is_ignored(straight, extracted, corpus):
    shutil.copytree(straight / "model", extracted / "model")
    (extracted / "model/bundle.json").unlink()
    (extracted / f"model/{'0' * 32}-000004.checkpoint").write_bytes(b"damaged")
    done = call("train", *CALL, "--epochs", EPOCHS, extracted, corpus["train"])
    assert done.status == 0 and files_of(extracted) == files_of(straight)


def test_leftovers_of_a_killed_training_beside_a_finished_model_are_removed(straight, extracted, corpus):
    shutil.copytree(straight / "model", extracted / "model")
    key = next(iter(bundles.load(straight / "model").keys.values()))
    for name in (f"{key}-000005.checkpoint", ".mirex-tmp-1-0a1bcdef"):
        (extracted / "model" / name).write_bytes(b"left")
    assert call("train", *CALL, "--epochs", EPOCHS, extracted, corpus["train"]).status == 0
    assert files_of(extracted) == files_of(straight)


def test_a_repeated_finished_training_changes_nothing(straight, corpus):
    before = {path: path.stat().st_mtime_ns for path in (straight / "model").iterdir() if path.name != ".lock"}
    done = call("train", *CALL, "--epochs", EPOCHS, straight, corpus["train"])
    assert done.status == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_more_epochs_resume_from_a_finished_training(straight, extracted, corpus):
    for epochs in (2, EPOCHS):
        done = call("train", *CALL, "--epochs", epochs, extracted, corpus["train"])
        assert done.status == 0, done.stderr
    assert resumed_after(done.stderr) == [2]
    new, old = files_of(extracted), files_of(straight)
    for name in old:
        assert new[name] == old[name], name


def test_fewer_epochs_another_list_other_options_and_restart_train_from_scratch(straight, extracted, corpus, tmp_path):
    shutil.copytree(straight / "model", extracted / "model")
    other = tmp_path / "other.txt"
    other.write_text("".join(sorted(corpus["train"].open(encoding="utf-8").readlines(), reverse=True)[1:]))
    for args in (
        ("--epochs", "1", extracted, corpus["train"]),
        ("--epochs", "2", "--seed", "1", extracted, corpus["train"]),
        ("--epochs", "2", "--seed", "1", extracted, other),
        ("--epochs", "2", "--seed", "1", "--restart", extracted, other),
    ):
        before, written_ns = files_of(extracted)["bundle.json"], (extracted / "model/bundle.json").stat().st_mtime_ns
        done = call("train", *CALL, *args)
        assert done.status == 0, done.stderr
        assert resumed_after(done.stderr) == []
        assert (extracted / "model/bundle.json").stat().st_mtime_ns > written_ns
        assert (files_of(extracted)["bundle.json"] != before) == ("--restart" not in args)


def test_a_time_limit_stops_a_training_with_a_model_and_the_next_call_resumes(extracted, corpus, tmp_path):
    started = time.monotonic()
    done = call("train", *CALL, "--epochs", 100000, "--time-limit", "1s", extracted, corpus["train"])
    assert done.status == 0, done.stderr
    assert time.monotonic() - started < 60
    assert done.stderr.count("[training.time-limit]") == 2  # announced at the start, and reported at the end
    n_epochs = len((extracted / "model/history.csv").read_text().splitlines()) - 1
    assert call("classify", extracted, corpus["test"], tmp_path / "out.txt").status == 0
    again = call("train", *CALL, "--epochs", n_epochs + 1, extracted, corpus["train"])
    assert resumed_after(again.stderr) == [n_epochs]
    history = (extracted / "model/history.csv").read_text().splitlines()
    assert len(history) == 1 + n_epochs + 1 and history[-1].startswith(f"2,{n_epochs + 1},")


@pytest.mark.slow
def test_the_networks_of_model_all_share_a_time_limit_and_each_keeps_its_best_epoch(extracted, corpus):
    args = ("--model", "all", "--epochs", 100000, "--patience", 100000, "--time-limit", "5s")
    done = call("train", *CALL, *args, extracted, corpus["train"])
    assert done.status == 0, done.stderr
    ended = re.findall(r"model (\d): .* epoch (\d+) of 100000: .*\[training\.time-limit\]", done.stderr)
    best = re.findall(r"model (\d): .* epoch (\d+), .*held-out", done.stderr)
    assert [network for network, _ in ended] == [network for network, _ in best] == ["1", "2", "3"]
    model = bundles.load(extracted / "model")
    for (network, n_epochs), (_, number) in zip(ended, best, strict=True):
        losses = [epoch["validation_loss"] for epoch in model.history[network]]
        assert len(losses) == int(n_epochs) and losses.index(min(losses)) == int(number) - 1
        weights = bundles.load_weights(extracted / "model", model, network)
        shapes = {name: weight.shape for name, weight in weights.items()}
        checkpoint = Checkpoints(extracted / "model", model.keys[network], shapes).load(model.recipe)
        assert all(np.array_equal(checkpoint.best[name], weights[name]) for name in weights)


@pytest.mark.slow
def test_each_of_the_three_networks_of_model_all_resumes_from_its_checkpoint(extracted, corpus):
    args = ("--epochs", "3", "--model", "all")
    status, log = kill_after(300, extracted, corpus, *args)
    assert status == 0, log
    expected = files_of(extracted)
    shutil.rmtree(extracted / "model")
    for k in range(12):
        kill_after(0.5 + 0.25 * k, extracted, corpus, *args)
    assert kill_after(300, extracted, corpus, *args)[0] == 0
    assert files_of(extracted) == expected
