"""The public functions: the same files as the shell scripts, lists of every type, and errors for wrong arguments."""

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import files_below
from project import PROJECT

import mirex_submission as m
from mirex_submission.errors import AudioError, ListError, ModelError, StorageError, UsageError
from mirex_submission.networks import kernel

QUICK = m.Recipe(epochs=2, segments_per_track=2, model=1)
RUN = m.RunOptions(threads=1)


@pytest.fixture(scope="module")
def in_memory(corpus):
    """The pairs of the training list and the paths of the test list."""
    pairs = [tuple(line.split("\t")) for line in corpus["train"].read_text().splitlines()]
    return pairs, [Path(line) for line in corpus["test"].read_text().splitlines()]


@pytest.fixture(scope="module")
def shell(corpus, tmp_path_factory):
    """The folder with the files that train.sh and classify.sh write."""
    folder = tmp_path_factory.mktemp("shell")
    quick, one = ("--epochs", "2", "--segments-per-track", "2", "--model", "1", "--no-picture"), ("-numThreads", "1")
    test = (folder / "s", corpus["test"], folder / "out.txt")
    for script, *args in (
        ("train.sh", *one, *quick, folder / "s", corpus["features"], corpus["train"]),
        ("classify.sh", *one, "--probabilities", folder / "p.csv", *test),
    ):
        environment = {**os.environ, "MIREX_PYTHON": sys.executable}
        subprocess.run([PROJECT / "bin" / script, *args], env=environment, check=True, capture_output=True)
    return folder


def assert_same_numbers(path, expected):
    """Compare bytes; without the kernel compare numbers, as the last bits of Keras depend on its first start."""
    if kernel.compiled:
        assert path.read_bytes() == expected.read_bytes()
    elif path.suffix == ".npz":
        with np.load(path) as arrays, np.load(expected) as others:
            assert arrays.files == others.files
            for name in arrays.files:
                np.testing.assert_allclose(arrays[name], others[name], rtol=1e-4, atol=1e-6)
    else:
        pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(expected), rtol=1e-4)


def assert_same_model(folder, expected):
    for pattern in ("*.npz", "history.csv"):
        (path,), (other,) = folder.glob(pattern), expected.glob(pattern)
        assert_same_numbers(path, other)


def test_lists_in_files_and_in_memory_give_the_files_of_the_shell_scripts(corpus, in_memory, shell, tmp_path, capfd):
    pairs, paths = in_memory
    before = dict(os.environ)
    records = m.extract(tmp_path, corpus["features"], run=RUN)
    assert len(records) == len(pairs) + len(paths) and all(record.content for record in records.values())
    labelled, unlabelled = pd.DataFrame(pairs, columns=["path", "label"]), pd.Series(list(map(str, paths)))
    other = labelled.rename(columns={"path": "file", "label": "genre"}).iloc[:, ::-1]
    for name, train_list, test_list in (
        ("files", corpus["train"], str(corpus["test"])),
        ("sequences", pairs, paths),
        ("iterators", iter(pairs), map(str, paths)),
        ("mapping", dict(pairs), unlabelled.to_numpy()),
        ("frame", labelled, unlabelled),
        ("series", labelled.set_index("path").label, unlabelled.to_frame("path")),
        ("table", m.TrackTable(other, "file", "genre"), m.TrackTable(unlabelled.to_frame("file"), path_column="file")),
    ):
        training, output = m.TrainingOptions(name=name, no_picture=True), tmp_path / f"{name}.txt"
        folder = m.train(tmp_path, train_list, list(records), recipe=QUICK, training=training, run=RUN)
        assert folder == tmp_path / "models" / name
        assert_same_model(folder, shell / "s/model")
        named = m.ClassificationOptions(name=name, probabilities=tmp_path / f"{name}.csv")
        result = m.classify(tmp_path, test_list, output, classification=named, run=RUN)
        assert output.read_bytes() == (shell / "out.txt").read_bytes()
        assert_same_numbers(tmp_path / f"{name}.csv", shell / "p.csv")
        assert "".join(f"{track.path}\t{track.label}\n" for track in result.tracks) == output.read_text()
        table = pd.read_csv(tmp_path / f"{name}.csv")
        np.testing.assert_allclose(result.probabilities, table[list(result.classes)], rtol=1e-8)
        assert result.unreadable == []
    # threadpoolctl sets this variable when it is loaded.
    assert os.environ.items() ^ before.items() <= {("KMP_DUPLICATE_LIB_OK", "True")}
    assert capfd.readouterr().out == ""


def test_the_environment_is_restored_after_an_error_too(tmp_path):
    before = dict(os.environ)
    with pytest.raises(ListError):
        m.train(tmp_path / "s", [("a.wav", "")], run=m.RunOptions(threads=3))
    assert os.environ.items() ^ before.items() <= {("KMP_DUPLICATE_LIB_OK", "True")}


def test_evaluate_writes_the_same_figures_as_the_command_returns_them_and_prints_nothing(
    corpus, tmp_path, run_script, capfd
):
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "1.txt").write_bytes(corpus["truth"].read_bytes())
    evaluation = m.evaluate(truth, {"right": truth}, tmp_path / "python")
    assert capfd.readouterr().out == ""
    command = ["evaluate", "--truth", truth, "--system", f"right={truth}", "--out", tmp_path / "shell"]
    assert run_script("mirex-submission.sh", *command).returncode == 0
    assert evaluation.systems[0].overall.accuracy == 1.0
    python, shell = (files_below(tmp_path / name) for name in ("python", "shell"))
    assert python.keys() == shell.keys()
    assert all(python[name] == shell[name] for name in python if not name.endswith(".json"))


AB = [("a.wav", "x"), ("b.wav", "y")]
FRAME = pd.DataFrame({"file": ["a.wav"], "label": ["x"]})


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda s: m.Recipe(epochs=0), UsageError, r"^--epochs: .*\[usage.option\]"),
        (lambda s: m.Recipe(epochs=1.5), UsageError, r"^--epochs: .*\[usage.option\]"),
        (lambda s: m.Recipe(learning_rate=float("nan")), UsageError, r"^--learning-rate: .*\[usage.option\]"),
        (lambda s: m.Recipe(model="4"), UsageError, r"^--model: .*\[usage.option\]"),
        (lambda s: m.Recipe(seed=-1), UsageError, r"^--seed: .*\[usage.option\]"),
        (lambda s: m.FeatureOptions(rate=8000), UsageError, r"^--rate: .*\[usage.option\]"),
        (lambda s: m.TrainingOptions(name="../x"), UsageError, r"^--name: .*\[usage.option\]"),
        (lambda s: m.TrainingOptions(restart="yes"), UsageError, r"^--restart: .*\[usage.option\]"),
        (lambda s: m.TrainingOptions(time_limit="soon"), UsageError, r"^--time-limit: .*\[usage.option\]"),
        (lambda s: m.ExtractionOptions(shard="4/3"), UsageError, r"^--shard: .*\[usage.option\]"),
        (lambda s: m.RunOptions(threads=0), UsageError, r"^-numThreads: .*\[usage.option\]"),
        (lambda s: m.RunOptions(device="tpu"), UsageError, r"^--device: .*\[usage.option\]"),
        (lambda s: m.train(s, AB, features=m.FeatureOptions(bands=2)), UsageError, r"\[usage.segment-size\]"),
        (lambda s: m.train(s, AB, training=m.TrainingOptions(groups=AB)), UsageError, r"\[usage.groups\]"),
        (lambda s: m.train(s, AB), AudioError, r"'x', 'y'.*\[audio.empty-class\]"),
        (lambda s: m.train(s, [*AB, ("a.wav", "y")]), ListError, r"^<train_list>:3: .*\[list.two-labels\]"),
        (lambda s: m.train(s, [("a.wav", "")]), ListError, r"^<train_list>:1: .*\[list.no-label\]"),
        (lambda s: m.train(s, ["a.wav"]), ListError, r"^<train_list>:1: .*\[list.no-tab\]"),
        (lambda s: m.train(s, [("a", "b", "c")]), ListError, r"^<train_list>:1: .*\[list.entry\]"),
        (lambda s: m.train(s, [("a", "x"), ("b", None)]), ListError, r"^<train_list>:2: .*\[list.no-label\]"),
        (lambda s: m.train(s, [("a", "x"), ("b", float("nan"))]), ListError, r"^<train_list>:2: .*\[list.no-label\]"),
        (lambda s: m.train(s, pd.Series(["x", pd.NA], ["a", "b"])), ListError, r"^<train_list>:2: .*\[list.no-label\]"),
        (lambda s: m.train(s, [("a", "x")]), ListError, r"^<train_list>: .*\[list.one-class\]"),
        (lambda s: m.train(s, None), UsageError, r"^train_list: NoneType .*\[usage.list-type\]"),
        (lambda s: m.train(s, set(AB)), UsageError, r"^train_list: set .*\[usage.list-type\]"),
        (lambda s: m.train(s, [()]), ListError, r"^<train_list>:1: .*\[list.entry\]"),
        (lambda s: m.train(s, AB, recipe={"epochs": 1}), UsageError, r"^recipe: a dict .*\[usage.option-type\]"),
        (lambda s: m.train(s, AB, recipe=m.Recipe), UsageError, r"^recipe: Recipe is not a .*\[usage.option-type\]"),
        (lambda s: m.train(s, AB, run=None), UsageError, r"^run: a NoneType .*\[usage.option-type\]"),
        (lambda s: m.classify(s, ["a.wav"], classification=3), UsageError, r"^classification: .*\[usage.option-type\]"),
        (lambda s: m.extract(s, ["a.wav"], extraction=None), UsageError, r"^extraction: .*\[usage.option-type\]"),
        (lambda s: m.evaluate(s, {"a": s}, s, {"seed": 1}), UsageError, r"^options: .*\[usage.option-type\]"),
        (lambda s: m.classify(s, ["a.wav"], ""), UsageError, r"^output: an empty path.*\[usage.path\]"),
        (lambda s: m.classify(f"{s}\0", ["a.wav"]), UsageError, r"^scratch: .*NUL byte.*\[usage.path\]"),
        (lambda s: m.train(s, FRAME), UsageError, r"^train_list: .*'path'.*TrackTable.*\[usage.table-column\]"),
        (lambda s: m.train(s, AB, 3), UsageError, r"^feature_list: int .*\[usage.list-type\]"),
        (lambda s: m.extract(s, []), ListError, r"^<feature_list>: .*\[list.no-entry\]"),
        (lambda s: m.extract(s, [3]), ListError, r"^<feature_list>:1: .*\[list.entry\]"),
        (lambda s: m.extract(s, ["a\nb"]), ListError, r"^<feature_list>:1: .*\[list.line-end\]"),
        (lambda s: m.extract(s, ["\udcff"]), ListError, r"^<feature_list>:1: .*\[list.not-utf8\]"),
        (lambda s: m.extract(s, b"a.wav"), UsageError, r"^feature_list: bytes .*\[usage.list-type\]"),
        (lambda s: m.extract(s, {"a": "x"}), UsageError, r"^feature_list: dict .*\[usage.list-type\]"),
        (lambda s: m.extract("/dev/null/s", ["a"]), StorageError, "^/dev/null/s: "),
        (lambda s: m.extract(None, ["a"]), UsageError, r"^scratch: .*\[usage.path\]"),
        (lambda s: m.classify(s, ["a"]), ModelError, "train.sh"),
        (lambda s: m.classify(s, "list.txt"), ListError, r"^list.txt: .*\[list.unreadable\]"),
        (lambda s: m.classify(s, ["a"], 3), UsageError, r"^output: .*\[usage.path\]"),
        (lambda s: m.evaluate(s, [s], s), UsageError, r"\[usage.systems\]"),
        (lambda s: m.evaluate(s, {}, s), UsageError, r"\[usage.no-system\]"),
        (lambda s: m.evaluate(s, {"A": None}, s), UsageError, r"^A: .*\[usage.path\]"),
        (lambda s: m.evaluate(s, {"A": s / "A"}, s), UsageError, r"\[usage.out-among-outputs\]"),
        (lambda s: m.evaluate(s, {"A": s}, s / "out"), ListError, "scratch: "),
    ],
)
def test_wrong_arguments_raise_the_error_and_the_code_of_the_command_line(tmp_path, monkeypatch, call, error, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=text):
        call(tmp_path / "scratch")
    assert [path.name for path in tmp_path.iterdir()] in ([], ["scratch"])


def test_the_problems_of_all_lists_are_in_one_error(tmp_path):
    patience, groups = m.Recipe(patience=1), m.TrainingOptions(groups=["c"])
    with pytest.raises(ListError) as raised:
        m.train(tmp_path, ["a"], ["b\n"], recipe=patience, training=groups)
    lines = [line.split(": ")[0] for line in str(raised.value).splitlines()]
    assert lines == ["<train_list>:1", "<feature_list>:1", "<groups>:1"]


def test_public_functions_have_at_most_8_parameters_with_two_exceptions():
    long = set()
    for source in sorted((PROJECT / "mirex_submission").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not (node.name.startswith("_") and node.name != "__init__"):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([argument for argument in arguments if argument.arg not in ("self", "cls")]) > 8:
                    long.add(f"{source.stem}.{node.name}")
    # train_and_classify takes three lists, an output, and one dataclass for each group of options.
    assert long == {"estimator.__init__", "train.train_and_classify"}


def test_every_public_name_has_a_docstring_with_all_parameters():
    for name in set(m.__all__) - {"__version__"}:
        public = getattr(m, name)
        parameters = [parameter for parameter in inspect.signature(public).parameters if not parameter.startswith("_")]
        document = inspect.getdoc(public)
        if name != "MirexClassifier":  # some of its parameters are those of the options
            assert [parameter for parameter in parameters if parameter not in document] == [], name


def test_the_import_of_the_package_loads_nothing_heavy_and_has_every_public_name():
    code = """
import json, sys
import mirex_submission
loaded = set(sys.modules)
from mirex_submission import FeatureOptions, Recipe, RunOptions, TrainingOptions, classify, extract, train
options = set(sys.modules)
exec("from mirex_submission import *")
print(json.dumps([sorted(loaded), sorted(options), sorted(set(dir(mirex_submission)) & set(globals()))]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, options, names = json.loads(done.stdout)
    assert [name for name in loaded if name.startswith("mirex_submission.")] == ["mirex_submission.version"]
    heavy = {"numpy", "scipy", "sklearn", "soundfile", "soxr", "joblib", "xxhash", "matplotlib", "tensorflow", "keras"}
    assert not (heavy | {"pandas", "librosa", "argparse"}) & set(loaded)
    assert not (heavy | {"pandas", "librosa"}) & set(options)
    assert set(m.__all__) <= set(names)
    assert set(m.__all__) >= {
        "MirexClassifier", "Recipe", "TrackTable", "classify", "evaluate", "extract", "log_mel", "train", "__version__"
    }  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        m.trian  # noqa: B018


def test_importing_a_module_first_does_not_hide_the_function_of_the_same_name():
    code = """
import mirex_submission.runs.extract, mirex_submission.runs.classify, mirex_submission.features.logmel
import mirex_submission as m
print(*(getattr(m, name).__module__ for name in ("extract", "classify", "evaluate", "train", "log_mel")))
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error::ImportWarning"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        f"mirex_submission.{name}"
        for name in ("runs.extract", "runs.classify", "evaluation.judging.publish", "runs.train", "features.clip")
    ]
