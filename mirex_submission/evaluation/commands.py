"""The commands that judge: what each takes, and what it runs.

Nothing is loaded before a command runs: `--help` is to answer at once.
"""

from __future__ import annotations

import argparse
import logging
from collections import defaultdict

from mirex_submission import arguments
from mirex_submission.errors import ListError, UsageError

log = logging.getLogger("mirex_submission")


def add_folds(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("labelled", metavar="LABELLED", nargs="?", help="a table whose header names path and label")
    parser.add_argument("--root", metavar="DIR", help="what its paths are relative to, if not its own folder")
    parser.add_argument("--from-folders", metavar="DIR", help="or the audio below DIR, by the folders' names")
    parser.add_argument("--from-mirdata", nargs=2, metavar=("NAME", "HOME"), help="or mirdata's loader over its data")
    parser.add_argument("--group", metavar="COLUMN", help="tracks with the same value stay on one side: artist, album")
    parser.add_argument("--out", metavar="DIR", help="folder for the lists")
    parser.add_argument("--check", metavar="DIR", help="check the lists in DIR instead of making any")
    parser.add_argument("--folds", type=int, metavar="K", default=3, help="folds: each tests on a K-th")
    parser.add_argument("--repeat", type=int, metavar="R", default=1, help="how often to draw other folds")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of the draw")


def folds(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation import folds, sources
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
    tables.write_results(evaluation, args.out)
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


def _system(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=DIR")
    return arguments.name(name), arguments.path(folder)
