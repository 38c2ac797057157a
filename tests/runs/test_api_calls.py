"""`extract`, `train`, `classify` and `evaluate` from Python: the command line's names, defaults, files and errors."""

import argparse
import inspect
import os
from pathlib import Path

import numpy as np
import pytest
from processes import files_below

import mirex_submission
from mirex_submission.cli import judging as commands
from mirex_submission.cli import options as arguments
from mirex_submission.errors import AudioError, ListError, ModelError, StorageError, UsageError

OF_A_TERMINAL = {"help", "verbose", "quiet", "dry_run"}
QUICK = {"epochs": 2, "segments_per_track": 2, "model": 1, "threads": 1}


@pytest.mark.parametrize(
    ("function", "add_arguments"),
    [
        (mirex_submission.extract, arguments.extract),
        (mirex_submission.train, arguments.train),
        (mirex_submission.classify, arguments.classify),
        (mirex_submission.evaluate, commands.add_evaluate),
    ],
)
def test_every_option_of_the_command_line_is_a_parameter_with_the_same_default(function, add_arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments.common(parser)
    taken = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    options = {action.dest: action for action in parser._actions if action.dest not in OF_A_TERMINAL}
    if function is mirex_submission.evaluate:
        del options["threads"]  # its figures take none
    assert taken.keys() == options.keys()
    for name, action in options.items():
        if taken[name] not in (inspect.Parameter.empty, None):
            assert taken[name] == action.default
        elif action.option_strings and name != "threads":
            assert action.default is None
    for name in options:
        assert name in function.__doc__ or "--help" in function.__doc__


@pytest.fixture(scope="module")
def task(corpus):
    """The lists' files, and the same at hand: pairs of the training, paths of the test."""
    train = [tuple(line.split("\t")) for line in corpus["train"].read_text().splitlines()]
    return corpus, train, [Path(line) for line in corpus["test"].read_text().splitlines()]


def model_files(folder):
    return {name: data for name, data in files_below(folder).items() if name.endswith((".npz", ".csv"))}


def test_it_makes_the_files_of_the_shell_scripts_from_lists_in_files_and_at_hand(task, tmp_path, run_script):
    files, pairs, paths = task
    options = ["--epochs", 2, "--segments-per-track", 2, "--model", 1, "-numThreads", 1]
    assert run_script("train.sh", *options, tmp_path / "s", files["features"], files["train"]).returncode == 0
    assert run_script("classify.sh", tmp_path / "s", files["test"], tmp_path / "out.txt").returncode == 0
    before = dict(os.environ)

    records = mirex_submission.extract(tmp_path / "p", files["features"], threads=1)
    assert len(records) == len(pairs) + len(paths) and all(record.content for record in records.values())
    for name, train_list, test_list in (("files", files["train"], files["test"]), ("hand", pairs, paths)):
        folder = mirex_submission.train(tmp_path / "p", train_list, files["features"], name=name, **QUICK)
        assert folder == tmp_path / "p/models" / name
        assert model_files(folder) == model_files(tmp_path / "s/model")
        output, table = tmp_path / f"{name}.txt", tmp_path / f"{name}.csv"
        found = mirex_submission.classify(tmp_path / "p", test_list, output, name=name, probabilities=table)
        assert output.read_bytes() == (tmp_path / "out.txt").read_bytes()
        assert [(track.path, track.label) for track in found.tracks] == [
            tuple(line.split("\t")) for line in output.read_text().splitlines()
        ]
        shown = np.loadtxt(table, delimiter=",", skiprows=1, usecols=range(2, 2 + len(found.classes)))
        np.testing.assert_allclose(found.probabilities, shown, rtol=1e-8)
        assert found.unheard == []
    # threadpoolctl's own, when it is first loaded
    assert os.environ.items() ^ before.items() <= {("KMP_DUPLICATE_LIB_OK", "True")}


def test_evaluate_writes_the_figures_of_the_command_and_returns_them_and_prints_nothing(
    task, tmp_path, run_script, capfd
):
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "1.txt").write_bytes(task[0]["truth"].read_bytes())
    found = mirex_submission.evaluate(truth, {"right": truth}, tmp_path / "python")
    assert capfd.readouterr().out == ""
    command = ["evaluate", "--truth", truth, "--system", f"right={truth}", "--out", tmp_path / "shell"]
    assert run_script("mirex-submission.sh", *command).returncode == 0
    assert found.systems[0].overall.accuracy == 1.0
    python, shell = (files_below(tmp_path / name) for name in ("python", "shell"))
    assert python.keys() == shell.keys()
    assert all(python[name] == shell[name] for name in python if not name.endswith(".json"))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m, s: m.train(s, [("a.wav", "x"), ("b.wav", "y")], epochs=0), UsageError, "train: argument --epochs"),
        (lambda m, s: m.train(s, [("a.wav", "x"), ("b.wav", "y")], name="../x"), UsageError, "argument --name"),
        (lambda m, s: m.train(s, [("a.wav", "x"), ("b.wav", "y")], bands=2), UsageError, "too few for model 2"),
        (lambda m, s: m.train(s, [("a.wav", "x"), ("b.wav", "y")]), AudioError, "no track of class 'x', 'y'"),
        (lambda m, s: m.train(s, [("a.wav", "x"), ("a.wav", "y")]), ListError, "^<train_list>:2: 'a.wav' is 'y' here"),
        (lambda m, s: m.train(s, [("a.wav", "")]), ListError, "^<train_list>:1: an empty label"),
        (lambda m, s: m.train(s, ["a.wav"]), ListError, "^<train_list>:1: no tab"),
        (lambda m, s: m.train(s, [("a", "b", "c")]), ListError, "^<train_list>:1: .*give a path, or"),
        (lambda m, s: m.train(s, [("a", "x"), ("b", "y")], groups=[("a", "g")]), UsageError, "--groups: they are for"),
        (lambda m, s: m.extract(s, []), ListError, "^<feature_list>: no entry"),
        (lambda m, s: m.extract(s, [3]), ListError, "^<feature_list>:1: 3: give a path"),
        (lambda m, s: m.extract(s, ["a\nb"]), ListError, "^<feature_list>:1: a line end"),
        (lambda m, s: m.extract(s, ["\udcff"]), ListError, "^<feature_list>:1: byte 0xed at column 1 is not UTF-8"),
        (lambda m, s: m.extract(s, ["a"], shard="4/3"), UsageError, "extract: argument --shard"),
        (lambda m, s: m.extract(s, ["a"], threads=0), UsageError, "extract: argument -numThreads/--threads"),
        (lambda m, s: m.extract("/dev/null/s", ["a"]), StorageError, "cannot be written"),
        (lambda m, s: m.classify(s, ["a"]), ModelError, "no trained model here"),
        (lambda m, s: m.classify(s, "list.txt"), ListError, "^list.txt: cannot be read: No such file"),
        (
            lambda m, s: m.classify(s, ["a"], model="4"),
            UsageError,
            "argument --model: '4': choose one of 1, 2, 3, all",
        ),
        (lambda m, s: m.train(s, [("a", "x"), ("b", None)]), ListError, "^<train_list>:2: no label in"),
        (lambda m, s: m.train(s, [("a", "x"), ("b", float("nan"))]), ListError, "^<train_list>:2: no label in"),
        (lambda m, s: m.train(s, None), UsageError, "train_list: None: give the path of a list, or its entries"),
        (lambda m, s: m.extract(s, 3), UsageError, "feature_list: 3: give the path of a list, or its entries"),
        (lambda m, s: m.extract(None, ["a"]), UsageError, "scratch: None: give a path"),
        (lambda m, s: m.classify(s, ["a"], 3), UsageError, "output: 3: give a path"),
        (lambda m, s: m.evaluate(s, [s], s), UsageError, "systems: .*: give {name: folder"),
        (lambda m, s: m.evaluate(s, {"A": None}, s), UsageError, "systems: None: give a path"),
        (lambda m, s: m.evaluate(s, {}, s), UsageError, "evaluate: the following arguments are required: --system"),
        (lambda m, s: m.evaluate(s, {"A": s}, s / "out"), ListError, "scratch: cannot be read: No such file"),
    ],
)
def test_what_the_command_line_refuses_is_refused_with_the_same_words(tmp_path, monkeypatch, call, error, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        call(mirex_submission, tmp_path / "scratch")
    assert not (tmp_path / "None").exists()


@pytest.mark.parametrize("name", ["list.txt", Path("list.txt")])
def test_an_output_never_takes_the_place_of_the_list(tmp_path, monkeypatch, name):
    """One object in Python, and not two words of a command line."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a.wav\n")
    with pytest.raises(UsageError, match="which it would overwrite"):
        mirex_submission.classify("scratch", name, name)
    with pytest.raises(UsageError, match="which it would overwrite"):
        mirex_submission.classify("scratch", ["a.wav"], "out.txt", probabilities=Path("out.txt"))
    assert Path(name).read_text() == "a.wav\n"
