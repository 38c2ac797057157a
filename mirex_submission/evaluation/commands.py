"""The commands that judge: what each takes, and what it runs.

Nothing is loaded before a command runs: `--help` is to answer at once.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections import defaultdict

from mirex_submission import arguments
from mirex_submission.errors import ListError, UsageError

log = logging.getLogger("mirex_submission")


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument(
        "--truth",
        required=True,
        type=arguments.path,
        metavar="DIR",
        help="folder of the truth: path<TAB>label, a list a fold",
    )
    parser.add_argument(
        "--system",
        dest="systems",
        action="append",
        required=True,
        type=_system,
        metavar="NAME=DIR",
        help="a system's name, and the folder with its output a fold; again for each system",
    )
    parser.add_argument("--out", required=True, type=arguments.path, metavar="DIR", help="folder for the figures")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the bootstrap intervals")


def evaluate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation import evaluate, tables

    systems = dict(args.systems)
    if len(systems) < len(args.systems):
        raise UsageError("--system: a name is given twice: give each system its own")
    evaluation = evaluate.evaluate(args.truth, systems, seed=args.seed)
    tables.write_results(evaluation, args.out, args.command_line)
    print(tables.summary(evaluation))
    by_kind = defaultdict(list)
    for finding in evaluation.findings:
        by_kind[finding.where.rpartition(":")[0] or finding.where, finding.kind].append(finding)
    for (_, kind), found in by_kind.items():
        more = f" (and {len(found) - 1:,} more such)" if len(found) > 1 else ""
        log.warning("%s; counted here: %s%s", found[0], kind.counted, more)
    for name, comparison in (("classes", evaluation.by_class), ("folds", evaluation.by_fold)):
        if comparison and comparison.warning:
            log.warning("Friedman's test over %s: %s", name, comparison.warning)
    log.info("%s: all figures, with what each system answered in results.json", args.out)
    if args.strict and evaluation.findings:
        raise ListError(
            f"{args.out}: {len(evaluation.findings):,} findings, which results.json lists: see the warnings"
        )


def add_validate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("test_list", type=arguments.path, metavar="TESTLIST", help="one path a line")
    parser.add_argument("train_list", type=arguments.path, metavar="TRAINLIST", help="path<TAB>label a line")
    parser.add_argument(
        "output", type=arguments.path, metavar="OUTPUT", help="path<TAB>label a line, what a system wrote for TESTLIST"
    )


def validate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation import validation

    n_tracks = validation.validate(args.test_list, args.train_list, args.output)
    log.info("%s: the evaluator would take it and count all %d tracks", args.output, n_tracks)


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("results", type=arguments.path, metavar="RESULTS", help="folder that evaluate --out wrote")
    parser.add_argument(
        "-o", "--output", type=arguments.path, metavar="FILE", help="page to write (default: RESULTS/report.html)"
    )


def report(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.report import write_report

    output = args.output or os.path.join(args.results, "report.html")
    for note in write_report(args.results, output, args.command_line):
        log.warning("%s", note)
    log.info("%s: one page that needs no other file", output)


def _system(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=DIR")
    return arguments.name(name), arguments.path(folder)
