"""The three calls ended at any moment: what they have done is kept, nothing else is left, and the same calls finish."""

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
    """A feature list of 100 tracks, the corpus' own first."""
    folder = tmp_path_factory.mktemp("many")
    paths = corpus["features"].read_text().split()
    for k in range(100 - len(paths)):
        link = folder / f"{k}.wav"
        link.symlink_to(paths[k % len(paths)])
        paths.append(str(link))
    (folder / "features.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder / "features.txt"


def left_in(folder):
    """All files there; of Matplotlib's list of fonts, which is in an order of each process' own, only the name."""
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
    """All files after the three calls, and how long each of them took, in seconds."""
    folder, seconds = tmp_path_factory.mktemp("straight"), {}
    for script in CALLS:
        started_s = time.monotonic()
        with start(script, *arguments(script, folder, corpus, many)) as process:
            assert process.wait() == 0, process.stderr.read()
        seconds[script] = time.monotonic() - started_s
    return left_in(folder), seconds


def kill_until_done(folder, corpus, many, seconds, *, kills, seed):
    """Make the three calls, each killed with all that it started at random moments, at most so many times in all."""
    rng, n_killed = random.Random(seed), 0
    for script in CALLS:
        while True:
            moment_s = rng.uniform(0.05, 1.0) * seconds[script] if n_killed < kills else 300
            with start(script, *arguments(script, folder, corpus, many)) as process:
                try:
                    said = process.communicate(timeout=moment_s)[1]
                except subprocess.TimeoutExpired:
                    end(process)
                    said = process.communicate()[1]
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, said
            n_killed += 1
            if n_killed in (kills // 2, kills * 4 // 5):  # some are for the calls that follow
                seconds = {**seconds, script: 1000.0}
    return n_killed


# Without the kernel a call takes 15 s instead of one: librosa or Keras is loaded.
@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [5 if kernel.compiled else 2, 200])
def test_calls_killed_at_random_moments_end_in_the_files_of_a_straight_run(straight, corpus, many, tmp_path, n_kills):
    # How many of the moments come before a call is done is the machine's affair: go on until enough have.
    n_killed = 0
    for seed in itertools.count():
        folder = tmp_path / str(seed)
        n_killed += kill_until_done(folder, corpus, many, straight[1], kills=min(25, 2 * n_kills), seed=seed)
        assert left_in(folder) == straight[0], n_killed
        shutil.rmtree(folder)
        if n_killed >= n_kills:
            break


# Signals that a program can answer.

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
def test_no_process_of_an_extraction_outlives_it(tmp_path, number, status, whole_group):
    with start("extractFeatures.sh", "-numThreads", 3, tmp_path, slow_list(tmp_path)) as process:
        # This one, the tracker of loky's resources, three workers.
        wait_for(lambda: len(members(process.pid)) >= 5 or process.poll() is not None)
        (end if whole_group else lambda process, number: os.kill(process.pid, number))(process, number)
        said = process.communicate(timeout=60)[1]  # to the end of the last process that could still say something
    assert process.returncode == status, said
    wait_for(lambda: not members(process.pid))
    if number != signal.SIGKILL:
        assert " ERROR: " in said.splitlines()[-1] and "Traceback" not in said, said
        assert not list(tmp_path.rglob(".mirex-tmp-*"))


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_that_came_before_the_program_did_is_answered(tmp_path, number, status):
    # As the image lets them wait for process 1, which would never get them.
    waiting = ("env", "--block-signal=INT,TERM", "sh", "-c", f'kill -{number} $$; exec "$@"', "sh")
    with start("extractFeatures.sh", tmp_path, slow_list(tmp_path), prefix=waiting) as process:
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status, said
    assert " ERROR: " in said.splitlines()[-1] and "Traceback" not in said


def slow_list(folder):
    """A list of so much audio that no machine is done with it before it is interrupted; made of links, in no time."""
    (folder / "audio").mkdir()
    soundfile.write(folder / "audio/long.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 180 * 22050), 22050)
    paths = [folder / "audio" / f"{k}.wav" for k in range(500)]
    for path in paths:
        path.symlink_to("long.wav")
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    return folder / "list.txt"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_training_that_is_told_to_end_keeps_its_last_whole_epoch(corpus, tmp_path, number, status):
    with start("train.sh", *TRAINING[:-1], 10_000, tmp_path, corpus["train"]) as process:
        wait_for(lambda: len(list(tmp_path.glob("model/*.checkpoint"))) == 2)
        end(process, number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status and "Traceback" not in said
    states = sorted(path.name for path in (tmp_path / "model").iterdir() if path.name != ".lock")
    assert len(states) == 2 and all(name.endswith(".checkpoint") for name in states)
    n_epochs = int(re.search(r"-(\d+)\.", states[-1])[1])
    with start("train.sh", *TRAINING[:-1], n_epochs + 1, tmp_path, corpus["train"]) as process:
        assert resumed_after(process.communicate()[1]) == [n_epochs]


@pytest.mark.skipif(
    subprocess.run(["env", "--block-signal=INT", "true"], capture_output=True).returncode != 0,
    reason="env is older than coreutils 8.31: Ctrl-C while Python starts ends in its traceback",
)
def test_ctrl_c_in_the_first_moments_is_answered_as_later_on(corpus, tmp_path):
    for k in range(8):
        with start("train.sh", "--epochs", 10_000, tmp_path, corpus["features"], corpus["train"]) as process:
            time.sleep(0.04 * k)
            end(process, signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert process.returncode in (130, -signal.SIGINT), said  # the second: of the shell, before its first command
        assert not said or re.fullmatch("[^\n]* ERROR: [^\n]*\n", said.splitlines(keepends=True)[-1]), said
        assert "Traceback" not in said


def test_a_second_ctrl_c_while_the_first_is_answered_ends_in_no_traceback(tmp_path):
    with start("extractFeatures.sh", "-numThreads", 3, tmp_path, slow_list(tmp_path)) as process:
        wait_for(lambda: len(members(process.pid)) >= 5)
        for _ in range(20):
            end(process, signal.SIGINT)
            time.sleep(0.02)
        said = process.communicate(timeout=60)[1]
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in said, said
    wait_for(lambda: not members(process.pid))


# What a kill leaves for the next call.


def test_a_lock_left_by_a_killed_training_is_taken_over_and_what_was_half_written_goes(straight, corpus, tmp_path):
    with start("train.sh", *TRAINING[:-1], 10_000, tmp_path, corpus["train"]) as process:
        wait_for(lambda: (tmp_path / "model/.lock").exists() and list(tmp_path.glob("model/*.checkpoint")))
        end(process)
    assert (tmp_path / "model/.lock").exists()
    left = [tmp_path / place / ".mirex-tmp-1-0a1b2c3d" for place in ("model", "tmp", "features", "features/x/00")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with start("train.sh", *TRAINING, "--restart", tmp_path, corpus["train"]) as process:
        said = process.communicate()[1]
    assert process.returncode == 0, said
    assert not [path for path in left if path.exists()]
    model = {name: data for name, data in straight[0].items() if name.startswith("scratch/model/")}
    assert {
        f"scratch/{name}": data for name, data in files_below(tmp_path).items() if name.startswith("model/")
    } == model


def test_what_a_killed_classification_left_beside_the_output_goes_with_the_next_one(straight, corpus, tmp_path):
    for name, data in straight[0].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data or b"")
    (tmp_path / "out/.mirex-tmp-1-0a1b2c3d").write_bytes(b"half a li")
    with start("classify.sh", *arguments("classify.sh", tmp_path, corpus, None)) as process:
        said = process.communicate()[1]
    assert process.returncode == 0, said
    assert sorted(path.name for path in Path(tmp_path, "out").iterdir()) == ["out.txt", "p.csv"]
