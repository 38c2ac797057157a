"""The commands of an evaluation: the arguments of each, and the function of evaluation/ that it calls."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
from pathlib import Path

from mirex_submission.cli.options import add_options, path, read_options
from mirex_submission.evaluation.options import AuditOptions, CrossvalOptions, EvaluateOptions, FoldsOptions
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.options import RunOptions
from mirex_submission.training.recipe import RECIPES

log = logging.getLogger(__name__)


def add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labelled",
        metavar="LABELLED",
        nargs="?",
        help="table with columns path and label (TSV, CSV, Excel, Parquet), or a folder",
    )
    parser.add_argument("--from-mirdata", nargs=2, metavar=("NAME", "HOME"), help="instead: mirdata's loader")
    add_options(parser, FoldsOptions)


def folds(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.folds.check import table
    from mirex_submission.evaluation.folds.make import make_folds

    print(table(make_folds(read_options(args, FoldsOptions))))


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--truth",
        required=True,
        type=path,
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
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="folder for the figures")
    add_options(parser, EvaluateOptions)


def evaluate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.judging.publish import evaluate_systems
    from mirex_submission.evaluation.names import check_system_names

    check_system_names([name for name, _ in args.systems])
    options = read_options(args, EvaluateOptions)
    evaluate_systems(args.truth, dict(args.systems), args.out, options, command_line=args.command_line, show=print)


def add_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test_list", type=path, metavar="TESTLIST", help="one path a line; or a folder, a table")
    parser.add_argument(
        "train_list", type=path, metavar="TRAINLIST", help="path<TAB>label a line; or a folder, a table"
    )
    parser.add_argument("output", type=path, metavar="OUTPUT", help="predictions for TESTLIST")
    add_options(parser, TableOptions, "path_column", "label_column", "root", title="tables in place of lists")


def validate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.judging.validate import validate

    n_tracks = validate(args.test_list, args.train_list, args.output, tables=read_options(args, TableOptions))
    log.info("%s: the evaluator would read it and count all %d tracks", args.output, n_tracks)


def add_crossval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=path, metavar="DIR", help="folder of the lists of all folds")
    parser.add_argument("--scratch", required=True, type=path, metavar="SCRATCH", help="folder for all scratch folders")
    parser.add_argument(
        "--out", type=path, metavar="OUT", help="folder for outputs, logs and figures (default: SCRATCH/results)"
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
        "--recipe",
        dest="recipes",
        action="append",
        choices=tuple(RECIPES),
        help="this program with this recipe, a system of that name; repeatable (default: none)",
    )
    parser.add_argument(
        "--train-options",
        action="append",
        type=_script_options,
        metavar="NAME=OPTIONS",
        help="more options for the train script of the system NAME",
    )
    parser.add_argument(
        "--classify-options",
        action="append",
        type=_script_options,
        metavar="NAME=OPTIONS",
        help="more options for the classify script of the system NAME",
    )
    parser.add_argument(
        "--stress",
        nargs="?",
        const="all",
        choices=("quick", "all"),
        help="classify altered audio too: MP3, band limits, noise, gain, speed and more; quick: one strength of each",
    )
    add_options(parser, CrossvalOptions)


def crossval(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.crossval.crossvalidate import cross_validate

    scratch = Path(args.scratch).absolute()
    cross_validate(
        args.folder,
        scratch,
        Path(args.out).absolute() if args.out else scratch / "results",
        read_options(args, CrossvalOptions),
        environment=args.environment,
        command_line=args.command_line,
        show=print,
    )


def add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "lists",
        nargs="+",
        type=path,
        metavar="LISTS",
        help="folder of the lists of all folds; or TRAINLIST TESTLIST, better with the labels of both",
    )
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="folder for audit.json")
    parser.add_argument(
        "--groups",
        action="append",
        type=_group_list,
        metavar="[NAME=]FILE",
        help="path<TAB>group a line: artist=FILE, album=FILE; repeatable (default: groups.txt of the folds)",
    )
    parser.add_argument(
        "--outputs",
        action="append",
        type=_submission,
        metavar="[NAME=]DIR",
        help="folder of a system's outputs, or of several systems' folders; repeatable",
    )
    add_options(parser, AuditOptions)


def audit(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.audit.audit import audit

    audit(args.lists, args.out, read_options(args, AuditOptions), command_line=args.command_line, show=print)


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=path, metavar="RESULTS", help="folder that evaluate --out wrote")
    parser.add_argument(
        "-o", "--output", type=path, metavar="FILE", help="page to write (default: RESULTS/report.html)"
    )
    parser.add_argument(
        "--explain",
        type=path,
        metavar="SCRATCH",
        help="explain the mistakes by the models in SCRATCH, a page a mistake",
    )


def report(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.report.page import write_report

    output = args.output or os.path.join(args.results, "report.html")
    explain = None
    if args.explain:
        from mirex_submission.runs.explain_mistakes import MistakeExplainer

        explain = MistakeExplainer(
            args.explain, args.results, output, run=read_options(args, RunOptions), command=args.command_line
        )
    for note in write_report(args.results, output, args.command_line, explain=explain):
        log.warning("%s", note)
    log.info("%s: one page that needs no other file%s", output, " but those that explain" if explain else "")


def _named_path(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=DIR")
    return name, path(folder)


def _submission(text: str) -> tuple[str | None, str]:
    return _named_path(text) if "=" in text else (None, path(text))


def _group_list(text: str) -> tuple[str, str]:
    return _named_path(text) if "=" in text else ("group", path(text))


def _script_options(text: str) -> tuple[str, list[str]]:
    name, equals, options = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=OPTIONS")
    try:
        return name, shlex.split(options)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{options!r}: {error}") from error
