"""The three calls are killed at any moment: finished work is kept, nothing else is left, and the same calls resume."""

import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import end, files_below, members, resumed_after, start, wait_for

from mirex_submission.networks import kernel

TRAINING = ("--model", "1", "--no-picture", "--segments-per-track", "12", "--checkpoint-every", "0", "--epochs", "6")
CALLS = ("extractFeatures.sh", "train.sh", "classify.sh")


@pytest.fixture(scope="module")
def many(corpus, tmp_path_factory):
    """A feature list of 100 tracks, beginning with those of the corpus."""
    folder = tmp_path_factory.mktemp("many")
    paths = corpus["features"].read_text().split()
    for k in range(100 - len(paths)):
        link = folder / f"{k}.wav"
        link.symlink_to(paths[k % len(paths)])
        paths.append(str(link))
    (folder / "features.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder / "features.txt"


def left_in(folder):
    """Return all files; of Matplotlib's list of fonts, whose order differs between processes, only the name."""
    return {name: None if "fontlist" in name else data for name, data in files_below(folder).items()}


def arguments(script, folder, corpus, many):
    scratch = folder / "scratch"
    return {
        "extractFeatures.sh": ("-numThreads", "2", scratch, many),
        "train.sh": (*TRAINING, scratch, corpus["train"]),
        "classify.sh": ("--probabilities", folder / "out/p.csv", scratch, corpus["test"], folder / "out/out.txt"),
    }[script]


@pytest.fixture(scope="module")
def straight(corpus, many, tmp_path_factory):
    """All files after the three calls, and the seconds that each call took."""
    folder, seconds = tmp_path_factory.mktemp("straight"), {}
    for script in CALLS:
        started_s = time.monotonic()
        with start(script, *arguments(script, folder, corpus, many)) as process:
            assert process.wait() == 0, process.stderr.read()
        seconds[script] = time.monotonic() - started_s
    return left_in(folder), seconds


def kill_until_done(folder, corpus, many, seconds, *, kills, seed):
    """Make the three calls, and kill each with its child processes at random moments, at most `kills` times in all."""
    rng, n_killed = random.Random(seed), 0
    for script in CALLS:
        while True:
            moment_s = rng.uniform(0.05, 1.0) * seconds[script] if n_killed < kills else 300
            with start(script, *arguments(script, folder, corpus, many)) as process:
                try:
                    log = process.communicate(timeout=moment_s)[1]
                except subprocess.TimeoutExpired:
                    end(process)
                    log = process.communicate()[1]
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, log
            n_killed += 1
            if n_killed in (kills // 2, kills * 4 // 5):  # the other kills are for the next calls
                seconds = {**seconds, script: 1000.0}
    return n_killed


# Without the kernel, a call takes 15 s instead of 1 s, as it loads librosa or Keras.
@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [5 if kernel.compiled else 2, 200])
def test_calls_killed_at_random_moments_give_the_same_files_in_the_end(straight, corpus, many, tmp_path, n_kills):
    # A fast machine may finish a call before it is killed: repeat until there were enough kills.
    n_killed = 0
    for seed in itertools.count():
        folder = tmp_path / str(seed)
        n_killed += kill_until_done(folder, corpus, many, straight[1], kills=min(25, 2 * n_kills), seed=seed)
        assert left_in(folder) == straight[0], n_killed
        shutil.rmtree(folder)
        if n_killed >= n_kills:
            break


# Signals that a program can handle.

SIGNALS = [(signal.SIGTERM, 143), (signal.SIGINT, 130)]


@pytest.mark.parametrize(
    ("number", "status", "whole_group"),
    [
        (signal.SIGINT, 130, True),
        (signal.SIGKILL, -9, False),
        pytest.param(signal.SIGINT, 130, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, True, marks=pytest.mark.slow),
    ],
)
def test_all_processes_of_a_killed_extraction_end(tmp_path, number, status, whole_group):
    with start("extractFeatures.sh", "-numThreads", 3, tmp_path, slow_list(tmp_path)) as process:
        # The main process, loky's resource tracker and three workers.
        wait_for(lambda: len(members(process.pid)) >= 5 or process.poll() is not None)
        (end if whole_group else lambda process, number: os.kill(process.pid, number))(process, number)
        log = process.communicate(timeout=60)[1]  # until the last process has closed standard error
    assert process.returncode == status, log
    wait_for(lambda: not members(process.pid))
    if number != signal.SIGKILL:
        assert " ERROR: " in log.splitlines()[-1] and "Traceback" not in log, log
        assert not list(tmp_path.rglob(".mirex-tmp-*"))


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_that_came_before_the_program_started_is_handled(tmp_path, number, status):
    # The image blocks signals in the same way until the program can handle them.
    waiting = ("env", "--block-signal=INT,TERM", "sh", "-c", f'kill -{number} $$; exec "$@"', "sh")
    with start("extractFeatures.sh", tmp_path, slow_list(tmp_path), prefix=waiting) as process:
        log = process.communicate(timeout=60)[1]
    assert process.returncode == status, log
    assert " ERROR: " in log.splitlines()[-1] and "Traceback" not in log


def slow_list(folder):
    """Write a list of so much audio that no machine finishes it before the interruption; its files are links."""
    (folder / "audio").mkdir()
    soundfile.write(folder / "audio/long.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 180 * 22050), 22050)
    paths = [folder / "audio" / f"{k}.wav" for k in range(500)]
    for path in paths:
        path.symlink_to("long.wav")
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder / "list.txt"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_terminated_training_keeps_the_checkpoint_of_its_last_epoch(corpus, tmp_path, number, status):
    with start("train.sh", *TRAINING[:-1], 10_000, tmp_path, corpus["train"]) as process:
        wait_for(lambda: len(list(tmp_path.glob("model/*.checkpoint"))) == 2)
        end(process, number)
        log = process.communicate(timeout=60)[1]
    assert process.returncode == status and "Traceback" not in log
    checkpoints = sorted(path.name for path in (tmp_path / "model").iterdir() if path.name != ".lock")
    assert len(checkpoints) == 2 and all(name.endswith(".checkpoint") for name in checkpoints)
    n_epochs = int(re.search(r"-(\d+)\.", checkpoints[-1])[1])
    with start("train.sh", *TRAINING[:-1], n_epochs + 1, tmp_path, corpus["train"]) as process:
        assert resumed_after(process.communicate()[1]) == [n_epochs]


@pytest.mark.skipif(
    subprocess.run(["env", "--block-signal=INT", "true"], capture_output=True).returncode != 0,
    reason="env is older than coreutils 8.31: a Ctrl-C while Python starts prints a traceback",
)
def test_ctrl_c_while_the_program_starts_is_handled(corpus, tmp_path):
    for k in range(8):
        with start("train.sh", "--epochs", 10_000, tmp_path, corpus["features"], corpus["train"]) as process:
            time.sleep(0.04 * k)
            end(process, signal.SIGINT)
            log = process.communicate(timeout=60)[1]
        assert process.returncode in (130, -signal.SIGINT), log  # SIGINT may end the shell before its first command
        assert not log or re.fullmatch("[^\n]* ERROR: [^\n]*\n", log.splitlines(keepends=True)[-1]), log
        assert "Traceback" not in log


def test_a_second_ctrl_c_prints_no_traceback(tmp_path):
    with start("extractFeatures.sh", "-numThreads", 3, tmp_path, slow_list(tmp_path)) as process:
        wait_for(lambda: len(members(process.pid)) >= 5)
        for _ in range(20):
            end(process, signal.SIGINT)
            time.sleep(0.02)
        log = process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in log, log
    wait_for(lambda: not members(process.pid))


# The next call after a kill.


def test_the_lock_of_a_killed_training_is_reused_and_temporary_files_are_removed(straight, corpus, tmp_path):
    with start("train.sh", *TRAINING[:-1], 10_000, tmp_path, corpus["train"]) as process:
        wait_for(lambda: (tmp_path / "model/.lock").exists() and list(tmp_path.glob("model/*.checkpoint")))
        end(process)
    assert (tmp_path / "model/.lock").exists()
    left = [tmp_path / place / ".mirex-tmp-1-0a1b2c3d" for place in ("model", "tmp", "features", "features/x/00")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with start("train.sh", *TRAINING, "--restart", tmp_path, corpus["train"]) as process:
        log = process.communicate()[1]
    assert process.returncode == 0, log
    assert not [path for path in left if path.exists()]
    model = {name: data for name, data in straight[0].items() if name.startswith("scratch/model/")}
    assert {
        f"scratch/{name}": data for name, data in files_below(tmp_path).items() if name.startswith("model/")
    } == model


def test_temporary_files_of_a_killed_classification_are_removed_by_the_next_one(straight, corpus, tmp_path):
    for name, data in straight[0].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data or b"")
    (tmp_path / "out/.mirex-tmp-1-0a1b2c3d").write_bytes(b"half a li")
    with start("classify.sh", *arguments("classify.sh", tmp_path, corpus, None)) as process:
        log = process.communicate()[1]
    assert process.returncode == 0, log
    assert sorted(path.name for path in Path(tmp_path, "out").iterdir()) == ["out.txt", "p.csv"]
