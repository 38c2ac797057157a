"""The command line: `mirex-submission COMMAND ...`. The shell scripts in bin/ pass their arguments straight on to it.

Parsing has no side effects and loads nothing heavy; a command's libraries are loaded when it runs. Everything said
goes to stderr. Exit statuses: 0 done; 1 a fault of this program; 2 usage; 3 a list is wrong; 4 audio; 5 model;
6 device; 7 disk; 8 a submission that was judged; 9 memory or another limit of the system; 130 interrupted; 143
terminated.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import logging
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mirex_submission import __version__, arguments
from mirex_submission.errors import MirexError, ResourceError, StorageError, UsageError
from mirex_submission.evaluation import commands
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models.recipe import Recipe
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system import runtime
from mirex_submission.system.atomic import check_writable, make_folder
from mirex_submission.system.installation import install_command
from mirex_submission.system.progress import duration
from mirex_submission.system.workers import Workers

if TYPE_CHECKING:
    from mirex_submission.features.headers import Headers

log = logging.getLogger("mirex_submission")

PROGRAM = "mirex-submission"
INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# In the words of C libraries, of the loader of libraries and of Python: no type of exception says it.
_SHORTAGES = ("cannot allocate memory", "failed to map segment", "can't start new thread", "too many open files")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _open_standard_streams()
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
    _start_log(args.verbose, args.quiet)
    faulthandler.enable(2)  # should C code crash, the log is to say where
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _stop)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # bin/mirex-submission.sh has let it wait
        return _run(COMMANDS[argv[0]].run, args, argv[0])
    except MirexError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_status
    except ModuleNotFoundError as error:
        log.error("the Python package %r is missing: install this project with `%s`", error.name, install_command())
        return UsageError.exit_status
    except BrokenPipeError:  # who read what is printed has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of standard output
            log.error("%s: free some space and run the same command again", error)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return StorageError.exit_status
        shortage = _shortage(error)
        if not shortage:
            raise
        log.error(
            "%s: the system grants this process too little: raise its limits (`ulimit -a`, the container's), or give a "
            "smaller -numThreads; finished work is kept", str(shortage) or "no memory",
        )  # fmt: skip
        return ResourceError.exit_status
    except (KeyboardInterrupt, Terminated) as stop:
        for number in _STOPS:  # a second one would end in a traceback
            signal.signal(number, signal.SIG_IGN)
        said, status = ("terminated", TERMINATED) if isinstance(stop, Terminated) else ("interrupted", INTERRUPTED)
        log.error("%s: features and the last state of a training are kept; the same command goes on", said)
        return status


def _shortage(error: BaseException | None) -> BaseException | None:
    """What in a chain of errors says that the system grants too little, if anything."""
    while error and not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in _SHORTAGES):
        error = error.__cause__ or error.__context__
    return error


def _open_standard_streams() -> None:
    """Give a process that was started with closed streams empty ones: else its first file would become its stderr."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


class Terminated(BaseException):
    """SIGTERM or SIGHUP came. Like KeyboardInterrupt no Exception, so that nothing on the way takes it for a fault."""


def _stop(signum: int, frame: object) -> None:
    threading.excepthook = lambda args: None  # loky's thread may find the work gone that it was about to hand out
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated


def _run(command: Callable[[argparse.Namespace], None], args: argparse.Namespace, name: str) -> int:
    started_s = time.monotonic()
    args.scratch = Path(args.scratch).absolute() if args.scratch else None
    runtime.prepare(args.scratch, threads=args.threads)
    command(args)
    sys.stdout.flush()  # what cannot be said is a fault now, and not a traceback at the end
    peaks_kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    elapsed = duration(time.monotonic() - started_s)
    log.info("%s: done in %s, peak memory %d MiB a process", name, elapsed, max(peaks_kib) // 1024)
    return 0


def _start_log(verbose: int, quiet: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(datefmt="%Y-%m-%d %H:%M:%S"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(min(logging.ERROR, logging.INFO + 10 * (quiet - verbose)))


class _LineFormatter(logging.Formatter):
    """Time, then what is said; only warnings and errors name their level."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, self.datefmt)} {level}{record.getMessage()}"


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
