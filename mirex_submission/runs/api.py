"""The command line's calls for Python: same names, same options, same checks, and the same code does the work.

A call becomes the arguments of the command line, and what it returns is what the command has found. What a command
logs goes to the logger "mirex_submission"; nothing is printed, and nothing heavy is loaded before a call.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from mirex_submission.errors import UsageError

if TYPE_CHECKING:
    from mirex_submission.evaluation.judging.evaluate import Evaluation
    from mirex_submission.features.extraction import Extracted
    from mirex_submission.runs.submission import Classification

FilePath: TypeAlias = "str | os.PathLike[str]"
Pairs: TypeAlias = "Iterable[tuple[str | os.PathLike[str], object]]"
Result = TypeVar("Result")


def extract(
    scratch: FilePath,
    feature_list: FilePath | Iterable[FilePath],
    *,
    rate: str | int = "auto",
    bands: int = 40,
    frames: int = 80,
    jobs: int | None = None,
    backend: str = "loky",
    scheduler: str | None = None,
    shard: str = "1/1",
    verify: bool = False,
    plot: FilePath | None = None,
    no_check: bool = False,
    threads: int | None = None,
    strict: bool = False,
) -> dict[str, Extracted]:
    """Store the features of every track that can be heard in the scratch folder, as bin/extractFeatures.sh does.

    scratch : folder for features and models, kept between calls.
    feature_list : a list file with one path a line, or the paths themselves.
    The options are those of `mirex-submission extract --help`.

    Returns what became of each path: `content` is the hash of its audio, or "" where there are no features; `reason`
    says why.

    Raises ListError, AudioError if more than half of the tracks cannot be used (with `strict`, if any; finished work
    is kept), StorageError, and UsageError for a wrong call.
    """
    options = _options(locals(), but=("scratch", "feature_list"))
    from mirex_submission.cli import commands
    from mirex_submission.cli import options as arguments

    positionals = [_path("scratch", scratch), _List("feature_list", feature_list)]
    return _call("extract", arguments.extract, commands.extract, positionals, options)


def train(
    scratch: FilePath,
    train_list: FilePath | Pairs,
    feature_list: FilePath | Iterable[FilePath] | None = None,
    *,
    name: str | None = None,
    device: str = "auto",
    rate: str | int = "auto",
    bands: int = 40,
    frames: int = 80,
    model: str | int = "2",
    epochs: int = 150,
    batch_size: int = 40,
    learning_rate: float = 0.02,
    segments: str = "random",
    segments_per_track: int = 30,
    class_weights: str = "none",
    vote: str = "mean",
    precision: str = "float32",
    patience: int = 0,
    groups: FilePath | Pairs | None = None,
    seed: int = 0,
    max_bad: float = 10.0,
    restart: bool = False,
    time_limit: str | float | None = None,
    checkpoint_every: str | float = "5m",
    no_picture: bool = False,
    tensorboard: FilePath | None = None,
    no_check: bool = False,
    threads: int | None = None,
    strict: bool = False,
) -> Path:
    """Train a model and put it into the scratch folder, as bin/train.sh does; a training that was ended goes on.

    train_list : a list file with path<TAB>label a line, or pairs (path, label).
    feature_list : all files of the task, whose features are extracted in the same go.
    groups : a list file with path<TAB>group a line, or pairs (path, group), for `patience`.
    max_bad : per cent. time_limit, checkpoint_every : seconds, or text as "20h".
    The other options are those of `mirex-submission train --help`.

    Returns the folder of the model.

    Raises ListError, AudioError if too many tracks cannot be used, TrainingError if the loss is no number any more,
    DeviceError, StorageError, and UsageError for a wrong call, or if the model is being trained already.
    """
    options = _options(locals(), but=("scratch", "train_list", "feature_list", "groups"))
    from mirex_submission.cli import commands
    from mirex_submission.cli import options as arguments

    options["groups"] = None if groups is None else _List("groups", groups)
    lists = [] if feature_list is None else [_List("feature_list", feature_list)]
    positionals = [_path("scratch", scratch), *lists, _List("train_list", train_list)]
    return _call("train", arguments.train, commands.train, positionals, options)


def classify(
    scratch: FilePath,
    test_list: FilePath | Iterable[FilePath],
    output: FilePath | None = None,
    *,
    probabilities: FilePath | None = None,
    name: str | None = None,
    device: str = "auto",
    model: str | int | None = None,
    vote: str | None = None,
    no_check: bool = False,
    threads: int | None = None,
    strict: bool = False,
) -> Classification:
    """Give each track of a test list one label, as bin/classify.sh does, by the model in the scratch folder.

    test_list : a list file with one path a line, or the paths themselves.
    output : file for path<TAB>label a line. probabilities : CSV file for the class probabilities.
    The other options are those of `mirex-submission classify --help`.

    Returns `tracks` (path and label of each line), `classes`, `probabilities` [shape=(n_tracks, n_classes)], and the
    paths `unheard`: of what cannot be heard the label is the most frequent one of the training.

    Raises ListError, ModelError, DeviceError, StorageError, UsageError for a wrong call, and AudioError
    if more than half of the tracks cannot be heard (with `strict`, if any; the files are written before).
    """
    options = _options(locals(), but=("scratch", "test_list", "output"))
    from mirex_submission.cli import commands
    from mirex_submission.cli import options as arguments

    written = _Nowhere() if output is None else _path("output", output)
    positionals = [_path("scratch", scratch), _List("test_list", test_list), written]
    return _call("classify", arguments.classify, commands.classify, positionals, options)


def evaluate(
    truth: FilePath, systems: Mapping[str, FilePath], out: FilePath, *, seed: int = 0, strict: bool = False
) -> Evaluation:
    """Compute MIREX's figures for the outputs of one or several systems, as `mirex-submission evaluate` does.

    truth : folder of the truth, a list with path<TAB>label a fold. systems : {name: folder with its output a fold}.
    out : folder for the figures. seed : of the bootstrap intervals.

    Returns the figures: `systems`, each with its `overall` and its `folds`, `by_class`, `by_fold`, `pairs`, `findings`.

    Raises ListError for a truth that is wrong (with `strict`, after writing, for any finding), StorageError, and
    UsageError for a wrong call.
    """
    from mirex_submission.cli import judging as commands

    if not isinstance(systems, Mapping):
        raise UsageError(f"systems: {systems!r}: give {{name: folder with its output a fold}}")
    options = {
        "truth": _path("truth", truth),
        "system": [f"{name}={os.fspath(_path('systems', folder))}" for name, folder in systems.items()],
        "out": _path("out", out),
    }
    return _call("evaluate", commands.add_evaluate, commands.figures, [], {**options, "seed": seed, "strict": strict})


def _path(name: str, given: Any) -> FilePath:
    """What the command line can have been given as a path: None would be a folder of this name."""
    if not isinstance(given, (str, os.PathLike)):
        raise UsageError(f"{name}: {given!r}: give a path")
    return given


class _Nowhere:
    """No output: it stands where the command line has its path."""

    def __str__(self) -> str:
        return "nowhere"

    def put_into(self, args: argparse.Namespace) -> None:
        args.output = None


class _List:
    """A list that is a file, or at hand. It stands where the command line has a path."""

    def __init__(self, name: str, given: Any) -> None:
        self.name, self.is_file = name, isinstance(given, (str, os.PathLike))
        if not self.is_file and not isinstance(given, Iterable):
            raise UsageError(f"{name}: {given!r}: give the path of a list, or its entries")
        self.given = given

    def __str__(self) -> str:
        return os.fspath(self.given) if self.is_file else self.name

    def put_into(self, args: argparse.Namespace) -> None:
        from mirex_submission.protocol.lists import ListAtHand

        if not self.is_file:
            setattr(args, self.name, ListAtHand(self.name, self.given))


def _options(given: Mapping[str, Any], but: tuple[str, ...]) -> dict[str, Any]:
    """The function's parameters that are options of the command line."""
    return {name: value for name, value in given.items() if name not in but}


def _call(
    name: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    command: Callable[[argparse.Namespace], Result],
    positionals: list[Any],
    options: Mapping[str, Any],
) -> Result:
    """Run a command with the arguments that the command line would have been given."""
    from mirex_submission.cli import options as arguments

    argv = []
    for option, value in options.items():
        flag = f"--{option.replace('_', '-')}"
        if value is True:
            argv.append(flag)
        elif value is not None and value is not False:
            argv += [f"{flag}={_text(each)}" for each in (value if isinstance(value, list) else [value])]
    if positionals:
        argv += ["--", *map(_text, positionals)]
    parser = _Parser(prog=name, allow_abbrev=False)
    add_arguments(parser)
    arguments.common(parser)
    args = parser.parse_args(argv)
    for given in (*positionals, *options.values()):
        if isinstance(given, (_List, _Nowhere)):
            given.put_into(args)
    args.command_line = ["mirex-submission", name, *argv]
    args.scratch = Path(args.scratch).absolute() if args.scratch else None
    with _environment(args):
        return command(args)


def _text(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}")


@contextlib.contextmanager
def _environment(args: argparse.Namespace) -> Iterator[None]:
    """For the time of a call what a command has in its own process; a BLAS that is loaded already is told too."""
    from threadpoolctl import threadpool_limits

    from mirex_submission.system import runtime

    before = dict(os.environ)
    try:
        runtime.prepare(args.scratch, threads=args.threads)
        with threadpool_limits(1, "blas"):
            yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
