"""The commands of the evaluation: what each takes and what it does. Nothing heavy is loaded before one runs."""

from __future__ import annotations

import argparse
import logging

from mirex_submission.errors import UsageError
from mirex_submission.protocol import nema

log = logging.getLogger(__name__)


def folds_arguments(parser: argparse.ArgumentParser) -> None:
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


def run_folds(args: argparse.Namespace) -> None:
    from mirex_submission.evaluation import folds, sources

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
