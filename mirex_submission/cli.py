"""The command line: `mirex-submission COMMAND ...`. The shell scripts in bin/ pass their arguments straight on to it.

Parsing has no side effects and loads nothing heavy; a command's libraries are loaded when it runs. Everything said
goes to stderr. How a run ends, and with which exit status, is process.py's.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mirex_submission import __version__, arguments, process
from mirex_submission.errors import UsageError
from mirex_submission.evaluation import commands
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models.recipe import Recipe
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system import runtime
from mirex_submission.system.atomic import check_writable, make_folder
from mirex_submission.system.progress import duration
from mirex_submission.system.workers import Workers

if TYPE_CHECKING:
    from mirex_submission.features.headers import Headers

log = logging.getLogger("mirex_submission")

PROGRAM = "mirex-submission"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    process.open_standard_streams()
    if argv and argv[0] == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else UsageError.exit_status
    if argv[0] not in COMMANDS:
        print(f"{PROGRAM}: no command {argv[0]!r}\n\n{_overview()}", file=sys.stderr)
        return UsageError.exit_status
    args = _parser(argv[0]).parse_intermixed_args(argv[1:])
    args.command_line, args.environment = [PROGRAM, *argv], dict(os.environ)  # as the caller gave them
    process.start_log(args.verbose, args.quiet)
    return process.status_of(lambda: _run(COMMANDS[argv[0]].run, args, argv[0]))


def _run(command: Callable[[argparse.Namespace], None], args: argparse.Namespace, name: str) -> None:
    started_s = time.monotonic()
    args.scratch = Path(args.scratch).absolute() if args.scratch else None
    runtime.prepare(args.scratch, threads=args.threads)
    command(args)
    sys.stdout.flush()  # what cannot be said is a fault now, and not a traceback at the end
    peaks_kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    elapsed = duration(time.monotonic() - started_s)
    log.info("%s: done in %s, peak memory %d MiB a process", name, elapsed, max(peaks_kib) // 1024)


# The commands: each loads its libraries only when it runs.


def _extract(args: argparse.Namespace) -> None:
    from mirex_submission import checking, submission

    if args.scheduler and args.backend == "loky":
        raise UsageError("--scheduler: give --backend dask or ray too")
    # A cluster has its own number of processors.
    n_jobs = args.jobs or (args.threads if args.backend == "loky" else -1)
    workers = Workers(n_jobs, args.backend, args.scheduler)
    paths = lists.read_paths(args.feature_list)
    headers = checking.Headers(args.threads)
    spec = _spec(args, paths, headers, whole_task=True)
    share = submission.share_of(paths, args.shard)
    checking.begin(args, headers, spec, share, heard=[share], n_jobs=n_jobs if workers.local else 0)
    del headers  # of a million files they are 200 MB; so below
    submission.extract(
        args.scratch,
        paths,
        spec,
        workers,
        shard=args.shard,
        verify=args.verify,
        plots=Path(args.plot).absolute() if args.plot else None,
        strict=args.strict,
    )


def _features(args: argparse.Namespace) -> None:
    from mirex_submission.features import export, lookup

    header, frames, source = lookup.find_features(
        args.track, args.scratch, rate=args.rate, n_bands=args.bands, n_frames=args.frames
    )
    if args.export:
        export.export(frames, header.spec, args.export)
        log.info("%s: %d frames x %d bands, %s", args.export, *frames.shape, source)
    else:
        print(export.summary(header, frames))
        print(f"features  {source}")


def _train(args: argparse.Namespace) -> None:
    from mirex_submission import checking

    recipe = _recipe(args)
    features = args.feature_list
    tracks, task_paths, groups = lists.read_all(
        lambda: lists.read_labelled(args.train_list),
        lambda: lists.read_paths(features, for_evaluator=False) if features else [],
        lambda: _groups(args),
    )
    headers, paths = checking.Headers(args.threads), [*task_paths, *(track.path for track in tracks)]
    spec = _spec(args, paths, headers, whole_task=bool(features) and not args.dry_run)
    checking.begin(args, headers, spec, paths, trained=tracks, recipe=recipe, heard=[paths] if args.strict else [])
    if args.dry_run:
        from mirex_submission import planning

        said = planning.plan(args.scratch, tracks, recipe, spec, headers, threads=args.threads, device=args.device)
        print(*said, sep="\n")
        return
    del headers
    _train_model(args, tracks, recipe, spec, groups, feature_paths=task_paths)


def _classify(args: argparse.Namespace) -> None:
    from mirex_submission import checking
    from mirex_submission.models import bundle

    _refuse_overwriting(args, args.test_list)
    paths = lists.read_paths(args.test_list)
    model = bundle.load(bundle.folder_of(args.scratch, args.name))
    checking.begin(args, checking.Headers(args.threads), model.spec, paths)
    _classify_paths(args, paths, network=args.model, voting=args.vote)


def _train_and_classify(args: argparse.Namespace) -> None:
    from mirex_submission import checking

    recipe = _recipe(args)
    _refuse_overwriting(args, args.train_list, args.test_list)
    if runtime.hosts()[1] > 1:
        raise UsageError("TF_CONFIG names several hosts: train on all of them, then classify on one")
    for path in filter(None, (args.output, args.probabilities)):
        check_writable(path)  # now, and not only after the training
    tracks, test_paths, groups = lists.read_all(
        lambda: lists.read_labelled(args.train_list), lambda: lists.read_paths(args.test_list), lambda: _groups(args)
    )
    headers, train_paths = checking.Headers(args.threads), [track.path for track in tracks]
    paths = [*train_paths, *test_paths]
    spec = _spec(args, paths, headers)
    checking.begin(
        args, headers, spec, paths, trained=tracks, recipe=recipe, heard=[train_paths] if args.strict else []
    )
    del headers
    _train_model(args, tracks, recipe, spec, groups)
    _classify_paths(args, test_paths)


def _groups(args: argparse.Namespace) -> dict[str, str]:
    """Full path -> group."""
    if not args.groups:
        return {}
    if not args.patience:
        raise UsageError("--groups: they are for --patience, which is not given")
    listed = lists.read_labelled(args.groups, min_classes=1, for_evaluator=False)
    return {os.path.abspath(track.path): track.label for track in listed}


def _train_model(
    args: argparse.Namespace,
    tracks: list[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    groups: dict[str, str],
    feature_paths: Sequence[str] = (),
) -> None:
    from mirex_submission import submission

    submission.train(
        args.scratch,
        tracks,
        recipe,
        spec,
        threads=args.threads,
        feature_paths=feature_paths,
        name=args.name,
        max_bad=args.max_bad / 100,
        strict=args.strict,
        device=args.device,
        restart=args.restart,
        save_every_s=args.checkpoint_every,
        time_limit_s=math.inf if args.time_limit is None else args.time_limit,
        tensorboard=Path(args.tensorboard).absolute() if args.tensorboard else None,
        groups=groups,
    )


def _classify_paths(
    args: argparse.Namespace, paths: list[str], *, network: str | None = None, voting: str | None = None
) -> None:
    from mirex_submission import submission

    submission.classify(
        args.scratch,
        paths,
        args.output,
        threads=args.threads,
        name=args.name,
        probabilities=args.probabilities,
        strict=args.strict,
        device=args.device,
        network=network,
        voting=voting,
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    from mirex_submission import submission

    recipe = Recipe(**{name: getattr(args, name) for name in Recipe.__dataclass_fields__})
    submission.check_sizes(recipe, n_bands=args.bands, n_frames=args.frames)
    return recipe


def _check(args: argparse.Namespace) -> None:
    from mirex_submission import checking

    checking.check(args, _recipe(args))


def _export(args: argparse.Namespace) -> None:
    from mirex_submission import exporting

    exporting.export(
        Path(args.bundle).absolute(), args.format, args.output, audio_paths=args.audio or (), threads=args.threads
    )


def _doctor(args: argparse.Namespace) -> None:
    from mirex_submission import doctor

    doctor.report(args.device, threads=args.threads, as_json=args.json)


def _spec(args: argparse.Namespace, paths: list[str], headers: Headers, *, whole_task: bool = False) -> FeatureSpec:
    from mirex_submission import submission

    if not getattr(args, "dry_run", False):
        make_folder(args.scratch)
    return submission.choose_spec(
        args.scratch,
        paths,
        rate=args.rate,
        n_bands=args.bands,
        n_frames=args.frames,
        threads=args.threads,
        whole_task=whole_task,
        headers=headers,
    )


def _refuse_overwriting(args: argparse.Namespace, *inputs: str) -> None:
    """Refuse an output that is one of the lists, or the other output."""
    taken = {os.path.realpath(path): path for path in inputs}
    for path in filter(None, (args.output, args.probabilities)):
        same = taken.setdefault(os.path.realpath(path), path)
        if same is not path and not os.path.realpath(path).startswith("/dev/"):
            raise UsageError(f"{path}: is {same} too, which it would overwrite: give another name")


class _Command(NamedTuple):
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    summary: str


COMMANDS = {
    "extract": _Command(arguments.extract, _extract, "Extract the features of all tracks of a list."),
    "train": _Command(arguments.train, _train, "Train a model on labelled tracks; extracts what is missing."),
    "classify": _Command(arguments.classify, _classify, "Write one label for each track of a test list."),
    "train-and-classify": _Command(
        arguments.train_and_classify, _train_and_classify, "Train a model, then classify a test list with it."
    ),
    "check": _Command(arguments.check, _check, "Say what can be known before hours of work: all faults at once."),
    "export": _Command(arguments.export, _export, "Write a trained model as a SavedModel, for ONNX or for TFLite."),
    "doctor": _Command(arguments.doctor, _doctor, "Say what this installation has and lacks, and how to mend it."),
    "features": _Command(arguments.features, _features, "Print or export the features of one track."),
    "folds": _Command(commands.add_folds, commands.folds, "Write folds of labelled tracks as MIREX lists."),
    "validate": _Command(
        commands.add_validate,
        commands.validate,
        "Say whether the evaluator would take an output and count every track.",
    ),
    "crossval": _Command(
        commands.add_crossval,
        commands.crossval,
        "Run submissions through their shell calls over folds, and judge them.",
    ),
    "evaluate": _Command(
        commands.add_evaluate, commands.evaluate, "Compute MIREX's figures for the outputs of one or several systems."
    ),
    "report": _Command(commands.add_report, commands.report, "Show what evaluate found, as one page to read or print."),
}


def _overview() -> str:
    rows = "\n".join(f"  {name:20}{command.summary}" for name, command in COMMANDS.items())
    return f"usage: {PROGRAM} COMMAND [options] ...\n\n{rows}\n\n`{PROGRAM} COMMAND --help` shows a command's options."


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=COMMANDS[name].summary,
        formatter_class=arguments.HelpFormatter,
        allow_abbrev=False,
    )
    COMMANDS[name].add_arguments(parser)
    arguments.common(parser)
    return parser
