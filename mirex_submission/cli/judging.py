"""The commands that judge: what each takes, and what it runs.

Nothing is loaded before a command runs: `--help` is to answer at once.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.cli.options import path, typed
from mirex_submission.errors import SubmissionError, UsageError
from mirex_submission.runs.options import device
from mirex_submission.system import option as opt

if TYPE_CHECKING:
    pass

log = logging.getLogger("mirex_submission")


def add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labelled", metavar="LABELLED", nargs="?", help="a table whose header names path and label")
    parser.add_argument("--root", metavar="DIR", help="what its paths are relative to, if not its own folder")
    parser.add_argument("--from-folders", metavar="DIR", help="or the audio below DIR, by the folders' names")
    parser.add_argument("--from-mirdata", nargs=2, metavar=("NAME", "HOME"), help="or mirdata's loader over its data")
    parser.add_argument("--group", metavar="COLUMN", help="tracks with the same value stay on one side: artist, album")
    parser.add_argument("--out", metavar="DIR", help="folder for the lists")
    parser.add_argument("--check", metavar="DIR", help="check the lists in DIR instead of making any")
    parser.add_argument("--folds", type=int, metavar="K", default=3, help="folds: each tests on a K-th")
    parser.add_argument("--repeat", type=int, metavar="R", default=1, help="how often to draw other folds")
    parser.add_argument("--seed", type=typed(opt.seed), metavar="N", default=0, help="of the draw")


def folds(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.folds import sources
    from mirex_submission.evaluation.folds import split as folds
    from mirex_submission.protocol import nema

    if sum(map(bool, (args.labelled, args.from_folders, args.from_mirdata))) != 1:
        raise UsageError("give one of LABELLED, --from-folders and --from-mirdata")
    if bool(args.out) == bool(args.check):
        raise UsageError("give --out or --check")
    if args.from_folders:
        if args.group:
            raise UsageError("--group: folders tell no groups: write a table with that column")
        tracks = sources.from_folders(args.from_folders)
    elif args.from_mirdata:
        tracks = sources.from_mirdata(*args.from_mirdata, group=args.group)
    else:
        tracks = sources.read_table(args.labelled, group=args.group, root=args.root)
    for warning in nema.path_warnings([t.path for t in tracks]) + nema.label_warnings(t.label for t in tracks):
        log.warning("%s", warning)
    if args.out:
        folds.write(folds.split(tracks, args.folds, repeats=args.repeat, seed=args.seed), args.out)
    made = folds.read(args.out or args.check, tracks)  # what was written is what is checked
    print(folds.table(made))
    for warning in folds.warnings(made):
        log.warning("%s", warning)
    if args.out:
        log.info("%d fold(s) are in %s", len(made), args.out)


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--truth",
        required=True,
        type=path,
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
    parser.add_argument("--out", required=True, type=path, metavar="DIR", help="folder for the figures")
    _add_seed(parser)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=typed(opt.seed), metavar="N", default=0, help="of the bootstrap intervals")


def evaluate(args: argparse.Namespace) -> None:
    systems = dict(args.systems)
    if len(systems) < len(args.systems):
        raise UsageError("--system: a name is given twice: give each system its own", code="usage.systems")
    from mirex_submission.evaluation.judging import tables
    from mirex_submission.runs.evaluate import evaluate, refuse_findings

    evaluation = evaluate(args.truth, systems, args.out, seed=args.seed, command=args.command_line)
    print(tables.summary(evaluation))
    if args.strict:
        refuse_findings(evaluation, args.out)


def add_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test_list", type=path, metavar="TESTLIST", help="one path a line")
    parser.add_argument("train_list", type=path, metavar="TRAINLIST", help="path<TAB>label a line")
    parser.add_argument(
        "output", type=path, metavar="OUTPUT", help="path<TAB>label a line, what a system wrote for TESTLIST"
    )


def validate(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.judging import validate as validation

    n_tracks = validation.validate(args.test_list, args.train_list, args.output)
    log.info("%s: the evaluator would take it and count all %d tracks", args.output, n_tracks)


def add_crossval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=path,
        metavar="DIR",
        help="folder of the lists: features.txt, and train, test and truth",
    )
    parser.add_argument(
        "--scratch", required=True, type=path, metavar="SCRATCH", help="folder for the scratch folders of all"
    )
    parser.add_argument(
        "--out",
        type=path,
        metavar="OUT",
        help="folder for outputs, logs and figures (default: SCRATCH/results)",
    )
    parser.add_argument(
        "--submission",
        dest="submissions",
        action="append",
        type=_submission,
        metavar="[NAME=]COMMAND_DIR",
        help="a system, by the folder of its MIREX scripts; again for each system (default: this program's bin/)",
    )
    parser.add_argument(
        "--train-options",
        action="append",
        type=_options,
        metavar="NAME=OPTIONS",
        help="more options for the train script of the system NAME, as 'NAME=--model 1 --epochs 50'",
    )
    parser.add_argument(
        "--classify-options",
        action="append",
        type=_options,
        metavar="NAME=OPTIONS",
        help="more options for its classify script, as 'NAME=--vote majority'",
    )
    parser.add_argument(
        "--jobs",
        type=typed(opt.integer_between(1)),
        metavar="J",
        default=1,
        help="folds side by side, -numThreads each",
    )
    parser.add_argument(
        "--device",
        type=typed(device),
        default="auto",
        metavar="auto|cpu|gpu|gpu:1,2",
        help="for our own scripts; with cpu no system sees a GPU",
    )
    parser.add_argument(
        "--time-limit",
        type=typed(opt.positive_seconds),
        metavar="TIME",
        help="end a call after: 20h, 90m, 30s",
    )
    _add_seed(parser)


def crossval(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.crossval import plan as plans
    from mirex_submission.evaluation.crossval import run as crossval
    from mirex_submission.evaluation.crossval import system as submissions
    from mirex_submission.evaluation.folds import lists as fold_lists
    from mirex_submission.evaluation.judging.pairing import FoldTruth

    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    scratch = Path(args.scratch).absolute()
    out = Path(args.out).absolute() if args.out else scratch / "results"
    found = [submissions.find(folder, name) for name, folder in args.submissions or [(None, submissions.OWN_FOLDER)]]
    names = [submission.name for submission in found]
    if len(set(names)) < len(names):
        raise UsageError("--submission: a name is given twice: give each system its own, as NAME=COMMAND_DIR")
    train_options = _of_systems("--train-options", args.train_options or (), names)
    classify_options = _of_systems("--classify-options", args.classify_options or (), names)
    task = fold_lists.find_lists(args.folder)
    planned = [
        plans.plan(
            task,
            submission,
            scratch,
            out,
            train_options[submission.name],
            classify_options[submission.name],
            threads=args.threads,
            device=args.device,
        )
        for submission in found
    ]
    runs = crossval.run(
        planned,
        scratch,
        n_jobs=args.jobs,
        device=args.device,
        limit_s=math.inf if args.time_limit is None else args.time_limit,
        environment=args.environment,
    )
    # Only now, for a call's peak memory counts from this program's own.
    from mirex_submission.evaluation.crossval.record import write_runs
    from mirex_submission.evaluation.judging import tables
    from mirex_submission.evaluation.judging.evaluate import judge
    from mirex_submission.runs.evaluate import refuse_findings, write_evaluation

    faults = write_runs(out / "runs.json", task, runs, started=started, command=shlex.join(args.command_line))
    truths = [FoldTruth(fold.name, fold.truth, ()) for fold in task.folds]
    outputs = {run.plan.submission.name: [fold.output for fold in run.folds] for run in runs}
    evaluation = judge(truths, outputs, seed=args.seed)
    write_evaluation(evaluation, out, args.command_line)
    print(tables.summary(evaluation))
    if args.strict and not faults:  # a system that failed is the graver problem
        refuse_findings(evaluation, out)
    if faults:
        raise SubmissionError(
            "\n".join(
                f"{where}: {first}" + (f" (and {len(others):,} more)" if others else "")
                for where, (first, *others) in faults.items()
            )
        )


def _submission(text: str) -> tuple[str | None, str]:
    name, equals, folder = text.partition("=")
    return (_system_name(name), path(folder)) if equals else (None, path(text))


def _of_systems(option: str, given: Sequence[tuple[str, list[str]]], names: Sequence[str]) -> dict[str, list[str]]:
    """{system: all words that were given for it}."""
    words: dict[str, list[str]] = {name: [] for name in names}
    for name, more in given:
        if name not in words:
            raise UsageError(f"{option}: no system {name!r}: give one of {', '.join(names)}")
        words[name] += more
    return words


def _options(text: str) -> tuple[str, list[str]]:
    name, equals, options = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=OPTIONS")
    try:
        return opt.file_name(name), shlex.split(options)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{options!r}: {error}") from error


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=path, metavar="RESULTS", help="folder that evaluate --out wrote")
    parser.add_argument(
        "-o", "--output", type=path, metavar="FILE", help="page to write (default: RESULTS/report.html)"
    )


def report(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation.report.page import write_report

    output = args.output or os.path.join(args.results, "report.html")
    for note in write_report(args.results, output, args.command_line):
        log.warning("%s", note)
    log.info("%s: one page that needs no other file", output)


def _system(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=DIR")
    return _system_name(name), path(folder)


def _system_name(text: str) -> str:
    name = opt.file_name(text)
    if name.endswith((".json", ".csv", ".txt", ".html")):
        raise argparse.ArgumentTypeError(f"{text!r}: a system's folder would have the name of a file of the results")
    return name
