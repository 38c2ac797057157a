"""The commands of an evaluation: options, and the function of evaluation/ that each one calls.

Nothing is imported before a command runs: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.cli import options as arguments

if TYPE_CHECKING:
    from mirex_submission.evaluation.judging.evaluate import Evaluation

log = logging.getLogger("mirex_submission")


def add_folds(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument(
        "labelled", metavar="LABELLED", nargs="?", help="table with columns path and label: TSV, CSV, Excel, Parquet"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of its relative paths, if not its own")
    parser.add_argument("--from-folders", metavar="DIR", help="instead: audio below DIR, a folder for each class")
    parser.add_argument("--from-mirdata", nargs=2, metavar=("NAME", "HOME"), help="instead: mirdata's loader")
    parser.add_argument("--group", metavar="COLUMN", help="column that keeps tracks together: artist, album")
    parser.add_argument("--out", metavar="DIR", help="folder for the lists")
    parser.add_argument("--check", metavar="DIR", help="check the lists in DIR instead of making any")
    parser.add_argument("--folds", type=int, metavar="K", default=3, help="number of folds")
    parser.add_argument("--repeat", type=int, metavar="R", default=1, help="number of times to draw folds")
    _add_seed(parser, "random seed")


def folds(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.folds.check import table
    from mirex_submission.evaluation.folds.make import FoldsOptions, make_folds

    made = make_folds(
        FoldsOptions(
            labelled=args.labelled,
            from_folders=args.from_folders,
            from_mirdata=args.from_mirdata and tuple(args.from_mirdata),
            root=args.root,
            group=args.group,
            out=args.out,
            check=args.check,
            folds=args.folds,
            repeat=args.repeat,
            seed=args.seed,
        )
    )
    print(table(made))


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument(
        "--truth",
        required=True,
        type=arguments.path,
        metavar="DIR",
        help="folder of the truth, path<TAB>label, a file a fold; or DIR/NAME.{fold}.txt",
    )
    parser.add_argument(
        "--system",
        dest="systems",
        action="append",
        required=True,
        type=_named_path,
        metavar="NAME=DIR",
        help="system and folder of its outputs, a file a fold; or NAME=DIR/NAME.{fold}.txt; repeatable",
    )
    parser.add_argument("--out", required=True, type=arguments.path, metavar="DIR", help="folder for the figures")
    _add_seed(parser)


def _add_seed(parser: argparse.ArgumentParser, help_: str = "random seed of the bootstrap intervals") -> None:
    parser.add_argument("--seed", type=arguments.seed, metavar="N", default=0, help=help_)


def evaluate(args: argparse.Namespace) -> None:
    figures(args, show=print)


def figures(args: argparse.Namespace, show: Callable[[str], object] = lambda text: None) -> Evaluation:
    from mirex_submission.evaluation.judging.publish import EvaluateOptions, evaluate_systems
    from mirex_submission.evaluation.names import check_system_names

    check_system_names([name for name, _ in args.systems])
    options = EvaluateOptions(seed=args.seed, strict=args.strict)
    systems = dict(args.systems)
    return evaluate_systems(args.truth, systems, args.out, options, command_line=args.command_line, show=show)


def add_validate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("test_list", type=arguments.path, metavar="TESTLIST", help="one path a line")
    parser.add_argument("train_list", type=arguments.path, metavar="TRAINLIST", help="path<TAB>label a line")
    parser.add_argument("output", type=arguments.path, metavar="OUTPUT", help="predictions for TESTLIST")


def validate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.judging.validate import validate

    n_tracks = validate(args.test_list, args.train_list, args.output)
    log.info("%s: the evaluator would read it and count all %d tracks", args.output, n_tracks)


def add_crossval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=arguments.path, metavar="DIR", help="folder of the lists of all folds")
    parser.add_argument(
        "--scratch", required=True, type=arguments.path, metavar="SCRATCH", help="folder for all scratch folders"
    )
    parser.add_argument(
        "--out",
        type=arguments.path,
        metavar="OUT",
        help="folder for outputs, logs and figures (default: SCRATCH/results)",
    )
    parser.add_argument(
        "--submission",
        dest="submissions",
        action="append",
        type=_submission,
        metavar="[NAME=]COMMAND_DIR",
        help="system, by the folder of its MIREX scripts; repeatable (default: this program's bin/)",
    )
    parser.add_argument(
        "--train-options",
        action="append",
        type=_options,
        metavar="NAME=OPTIONS",
        help="more options for the train script of the system NAME",
    )
    parser.add_argument(
        "--classify-options",
        action="append",
        type=_options,
        metavar="NAME=OPTIONS",
        help="more options for the classify script of the system NAME",
    )
    parser.add_argument(
        "--jobs", type=arguments.positive(int), metavar="J", default=1, help="folds side by side, -numThreads each"
    )
    arguments.add_device(parser, "device of our own scripts; with cpu no system sees a GPU")
    parser.add_argument(
        "--time-limit",
        type=arguments.positive(arguments.seconds),
        metavar="TIME",
        help="end a step after this time: 20h, 90m, 30s",
    )
    _add_seed(parser)


def crossval(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.crossval.crossvalidate import CrossvalOptions, cross_validate

    options = CrossvalOptions(
        submissions=args.submissions or (),
        train_options=args.train_options or (),
        classify_options=args.classify_options or (),
        jobs=args.jobs,
        threads=args.threads,
        device=args.device,
        time_limit=args.time_limit,
        seed=args.seed,
        strict=args.strict,
    )
    out = Path(args.out).absolute() if args.out else args.scratch / "results"
    cross_validate(
        args.folder,
        args.scratch,
        out,
        options,
        environment=args.environment,
        command_line=args.command_line,
        show=print,
    )


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("results", type=arguments.path, metavar="RESULTS", help="folder that evaluate --out wrote")
    parser.add_argument(
        "-o", "--output", type=arguments.path, metavar="FILE", help="page to write (default: RESULTS/report.html)"
    )


def report(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.report.page import write_report

    output = args.output or os.path.join(args.results, "report.html")
    for note in write_report(args.results, output, args.command_line):
        log.warning("%s", note)
    log.info("%s: one page that needs no other file", output)


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=DIR")
    return name, arguments.path(path)


def _submission(text: str) -> tuple[str | None, str]:
    return _named_path(text) if "=" in text else (None, arguments.path(text))


def _options(text: str) -> tuple[str, list[str]]:
    name, equals, options = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=OPTIONS")
    try:
        return name, shlex.split(options)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{options!r}: {error}") from error
