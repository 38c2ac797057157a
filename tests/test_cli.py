"""The command line: its help, its statuses, what it loads and what it says where."""

import functools
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from mirex_submission.system.runtime import default_threads

COMMANDS = ("extract", "train", "classify", "train-and-classify", "features")
HEAVY = {"tensorflow", "keras", "numpy", "scipy", "joblib", "numba", "soundfile", "soxr"}
# What each option of train says is its default: the paper's.
PAPER = {
    "--model": "2",
    "--epochs": "150",
    "--batch-size": "40",
    "--learning-rate": "0.02",
    "--segments-per-track": "30",
    "--segments": "random",
    "--rate": "auto",
    "--bands": "40",
    "--frames": "80",
    "--vote": "mean",
    "--seed": "0",
    "--name": "[^)]+",
    "--threads": str(default_threads()),
}
# Runs the command line and then says what it has loaded and set.
PROBE = """
import json, os, sys
from mirex_submission.cli import main
try:
    status = main(sys.argv[2:])
except SystemExit as end:
    status = end.code
with open(sys.argv[1], "w") as f:
    json.dump({"status": status, "modules": sorted(sys.modules), "threads": os.environ.get("OMP_NUM_THREADS")}, f)
"""


@pytest.fixture
def call(tmp_path):
    """Run a command in a process of its own, in an empty folder."""

    def run(*args):
        (tmp_path / "here").mkdir(exist_ok=True)
        command = [sys.executable, "-c", PROBE, str(tmp_path / "probe.json"), *map(str, args)]
        environment = {**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
        environment.pop("OMP_NUM_THREADS", None)
        done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = {"stdout": done.stdout, "stderr": done.stderr}
        return SimpleNamespace(**said, **json.loads((tmp_path / "probe.json").read_text()))

    return run


@pytest.fixture
def lists(tmp_path):
    """Good and bad lists, by name."""
    contents = {
        "train": "/none/one.wav\trock\n/none/two.wav\tjazz\n",
        "test": "/none/three.wav\n",
        "bad_train": "no tab\n/none/one.wav\t\n/none/two.wav\trock\n/none/four.wav\tjazz\n",
        "bad_test": "/none/three.wav\trock\n\0\n",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content)
    return {name: tmp_path / f"{name}.txt" for name in contents}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_status_0_on_stdout_and_loads_nothing_heavy(call, command):
    done = call(command, "--help")
    assert (done.status, done.stderr) == (0, "")
    assert f"mirex-submission {command}" in done.stdout
    assert HEAVY & set(done.modules) == set()


@functools.cache
def options_of(command):
    """{option: what the help says of it} for the options that take a value."""
    run = [sys.executable, "-m", "mirex_submission", command, "--help"]
    shown = subprocess.run(run, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True).stdout
    options = {}
    for block in re.split(r"\n  (?=-)", shown)[1:]:
        names_and_values, _, said = block.partition("  ")
        for name, _ in re.findall(r"(--?[\w-]+) ([\w{])", names_and_values):
            options[name] = said
    return options


@pytest.mark.parametrize("command", ["train", "train-and-classify"])
@pytest.mark.parametrize("option", PAPER)
def test_help_of_training_shows_each_option_with_the_papers_default(command, option):
    assert re.search(rf"\(default: {PAPER[option]}\)", options_of(command)[option])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_the_defaults_of_all_that_have_one(command):
    options = options_of(command)
    assert "--threads" in options
    without = {option for option, said in options.items() if "(default: " not in said}
    no_default = {"-numThreads", "--name", "--probabilities", "--scheduler", "--plot", "--scratch", "--export"}
    assert without - no_default == set()


def test_the_overview_names_every_command_and_the_version_is_there(call):
    done = call("--help")
    assert (done.status, done.stderr) == (0, "")
    assert all(command in done.stdout for command in COMMANDS)
    assert re.fullmatch(r"mirex-submission \d\S+\n", call("--version").stdout)


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["train"],
        ["train", "scratch"],
        ["train", "scratch", "features", "train", "more"],
        ["extract", "scratch"],
        ["classify", "scratch", "test"],
        ["train-and-classify", "scratch", "train", "test"],
        ["train", "--no-such-option", "scratch", "train"],
        ["train", "--epoch", "3", "scratch", "train"],
        ["train", "scratch", "train", "--epochs"],
        ["train", "scratch", "train", "--epochs", "0"],
        ["train", "scratch", "train", "--epochs", "1.5"],
        ["train", "scratch", "train", "--learning-rate", "nan"],
        ["train", "scratch", "train", "--learning-rate", "inf"],
        ["train", "scratch", "train", "--model", "4"],
        ["train", "scratch", "train", "--rate", "48000"],
        ["train", "scratch", "train", "--max-bad", "101"],
        ["train", "scratch", "train", "--name", "../elsewhere"],
        ["train", "-numThreads", "0", "scratch", "train"],
        ["train", "-numThreads", "scratch", "train"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_status_2_and_said_on_stderr_before_anything_is_made(call, tmp_path, args):
    done = call(*args)
    assert (done.status, done.stdout) == (2, "")
    assert "usage: mirex-submission" in done.stderr
    assert HEAVY & set(done.modules) == set()
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize(
    "options",
    [["--seed", "-1"], ["--seed", "4294967296"], ["--bands", "5"], ["--model", "1", "--frames", "11"]],
    ids=" ".join,
)
def test_values_that_do_not_fit_together_are_status_2(call, lists, options):
    done = call("train", *options, "scratch", lists["train"])
    assert (done.status, done.stdout) == (2, "")
    assert re.search(r"ERROR: .*(seed|too few)", done.stderr)
    assert "tensorflow" not in done.modules


@pytest.mark.parametrize(
    "args",
    [
        ["-numThreads", "3", "scratch", "train"],
        ["scratch", "-numThreads", "3", "train"],
        ["scratch", "train", "-numThreads", "3"],
        ["--threads", "3", "scratch", "train"],
        ["-numThreads", "3", "scratch", "features", "train"],
        ["scratch", "features", "-numThreads", "3", "train"],
        ["-numThreads", "3", "--model", "1", "scratch", "--epochs", "2", "features", "train"],
    ],
    ids=" ".join,
)
def test_num_threads_is_taken_before_between_and_after_the_positionals(call, args):
    done = call("train", *args)
    assert (done.status, done.threads) == (3, "3")  # the lists are not there
    assert re.search(r"train: cannot be read: No such file", done.stderr)


def test_without_num_threads_it_is_the_default(call):
    assert call("train", "scratch", "train").threads == str(default_threads())


def test_train_takes_two_positionals_or_three_with_the_feature_list_first(call, lists):
    assert "bad_train.txt:1" in call("train", "scratch", lists["bad_train"]).stderr
    three = call("train", "scratch", lists["bad_test"], lists["train"])
    assert three.status == 3
    assert "bad_test.txt:1" in three.stderr
    assert "bad_train.txt:1" in call("train", "scratch", lists["test"], lists["bad_train"]).stderr


@pytest.mark.parametrize(
    ("command", "names", "faults"),
    [
        ("extract", ["bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
        ("train", ["bad_train"], ["bad_train.txt:1: no tab", "bad_train.txt:2: an empty label"]),
        ("train-and-classify", ["train", "bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
        ("classify", ["bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
    ],
)
@pytest.mark.parametrize("quiet", [[], ["-q", "-q", "-q"]], ids=["", "quiet"])
def test_a_wrong_list_is_status_3_with_every_fault_on_stderr(call, lists, command, names, faults, quiet):
    output = ["output.txt"] if "classify" in command else []
    done = call(command, *quiet, "scratch", *(lists[name] for name in names), *output)
    assert (done.status, done.stdout) == (3, "")
    for fault in faults:
        assert re.search(rf"ERROR: .*{fault}.*: \S+", done.stderr)
    assert len(re.findall("ERROR: ", done.stderr)) == len(faults)
    assert "tensorflow" not in done.modules


@pytest.mark.parametrize("options", [[], ["--name", "other"]], ids=" ".join)
def test_a_missing_model_is_status_5_before_tensorflow_is_loaded_and_no_output_is_made(call, lists, tmp_path, options):
    done = call("classify", *options, "scratch", lists["test"], "out/output.txt")
    assert (done.status, done.stdout) == (5, "")
    assert re.search(r"ERROR: .*scratch/model.*: no trained model here: train again with bin/train.sh", done.stderr)
    assert {"tensorflow", "keras"} & set(done.modules) == set()
    assert not (tmp_path / "here" / "out").exists()


def test_a_scratch_folder_that_cannot_be_made_is_status_7(call, lists):
    done = call("train", lists["test"] / "scratch", lists["train"])
    assert (done.status, done.stdout) == (7, "")
    assert "cannot be written" in done.stderr


def test_tracks_that_cannot_be_used_are_status_4_said_on_stderr_before_tensorflow_is_loaded(call, lists):
    for args in (["extract", "scratch", lists["test"]], ["train", "scratch", lists["train"]]):
        done = call(*args)
        assert (done.status, done.stdout) == (4, "")
        assert "cannot be read: No such file" in done.stderr
        assert "tensorflow" not in done.modules
