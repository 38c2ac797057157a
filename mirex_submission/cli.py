"""The command line: `mirex-submission COMMAND ...`. The shell scripts in bin/ pass their arguments straight on to it.

Parsing has no side effects and loads nothing heavy; a command's libraries are loaded when it runs. Everything said
goes to stderr. Exit statuses: 0 done; 1 a fault of this program; 2 usage; 3 a list is wrong; 4 audio; 5 model;
6 device; 7 disk; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import logging
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mirex_submission import __version__
from mirex_submission.errors import MirexError, UsageError
from mirex_submission.features.spec import DEFAULT_BANDS, DEFAULT_FRAMES, WORKING_RATES_HZ, FeatureSpec
from mirex_submission.models.recipe import MODELS, SEGMENT_CHOICES, VOTES, Recipe
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system import runtime
from mirex_submission.system.atomic import make_folder
from mirex_submission.system.progress import duration

log = logging.getLogger("mirex_submission")

PROGRAM = "mirex-submission"
MAX_BAD_PERCENT = 10.0
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
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
    _start_log(args.verbose, args.quiet)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(COMMANDS[argv[0]].run, args, argv[0])
    except MirexError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_status
    except ModuleNotFoundError as error:
        install = f"{sys.executable} -m pip install PROJECT_FOLDER"
        log.error("the Python package %r is missing: install this project with `%s`", error.name, install)
        return UsageError.exit_status
    except KeyboardInterrupt:
        log.error("interrupted: finished work is kept, the same command goes on from there")
        return INTERRUPTED
    except Terminated:
        log.error("terminated: finished work is kept, the same command goes on from there")
        return TERMINATED


class Terminated(BaseException):
    """SIGTERM came. Like KeyboardInterrupt no Exception, so that nothing on the way takes it for a fault."""


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


def _run(command: Callable[[argparse.Namespace], None], args: argparse.Namespace, name: str) -> int:
    started_s = time.monotonic()
    args.scratch = Path(args.scratch).absolute()
    make_folder(args.scratch)
    runtime.prepare(args.scratch, threads=args.threads)
    command(args)
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
    from mirex_submission import submission

    paths = lists.read_paths(args.feature_list)
    submission.extract(args.scratch, paths, _spec(args, paths), threads=args.threads, strict=args.strict)


def _train(args: argparse.Namespace) -> None:
    recipe = _recipe(args)
    tracks = lists.read_labelled(args.train_list)
    # With a feature list, that list is the task, and its files decide the working rate.
    paths = (
        lists.read_paths(args.feature_list, for_evaluator=False)
        if args.feature_list
        else [track.path for track in tracks]
    )
    spec = _spec(args, paths)
    _train_model(args, tracks, recipe, spec, feature_paths=paths if args.feature_list else [])


def _classify(args: argparse.Namespace) -> None:
    _classify_paths(args, lists.read_paths(args.test_list))


def _train_and_classify(args: argparse.Namespace) -> None:
    recipe = _recipe(args)
    tracks = lists.read_labelled(args.train_list)
    test_paths = lists.read_paths(args.test_list)
    spec = _spec(args, [track.path for track in tracks] + test_paths)
    _train_model(args, tracks, recipe, spec)
    _classify_paths(args, test_paths)


def _train_model(
    args: argparse.Namespace, tracks: list[Track], recipe: Recipe, spec: FeatureSpec, feature_paths: Sequence[str] = ()
) -> None:
    from mirex_submission import submission

    submission.check_sizes(recipe, spec)
    submission.train(
        args.scratch,
        tracks,
        recipe,
        spec,
        threads=args.threads,
        feature_paths=feature_paths,
        name=args.name,
        max_bad=0.0 if args.strict else args.max_bad / 100,
    )


def _classify_paths(args: argparse.Namespace, paths: list[str]) -> None:
    from mirex_submission import submission

    submission.classify(
        args.scratch,
        paths,
        args.output,
        threads=args.threads,
        name=args.name,
        probabilities=args.probabilities,
        strict=args.strict,
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(**{name: getattr(args, name) for name in Recipe.__dataclass_fields__})


def _spec(args: argparse.Namespace, paths: list[str]) -> FeatureSpec:
    from mirex_submission import submission

    return submission.choose_spec(
        args.scratch, paths, rate=args.rate, n_bands=args.bands, n_frames=args.frames, threads=args.threads
    )


# Their arguments, in the order of MIREX: options, scratch folder, lists, output.


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-numThreads",
        "--threads",
        dest="threads",
        type=_positive(int),
        metavar="N",
        default=runtime.default_threads(),
        help="threads and processes for everything",
    )
    parser.add_argument("--strict", action="store_true", help="status 4 if any track cannot be used")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="say only warnings; twice: only errors")


def _add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features")
    group.add_argument(
        "--rate", choices=["auto", *map(str, WORKING_RATES_HZ)], default="auto", help="working sampling rate in Hz"
    )
    group.add_argument("--bands", type=_positive(int), metavar="N", default=DEFAULT_BANDS, help="Mel bands")
    group.add_argument("--frames", type=_positive(int), metavar="N", default=DEFAULT_FRAMES, help="frames a segment")


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training (the defaults are the paper's)")
    paper = Recipe()
    group.add_argument("--model", choices=MODELS, default=paper.model, help="network; all: the mean of the three")
    group.add_argument("--epochs", type=_positive(int), metavar="N", default=paper.epochs, help="passes over the data")
    group.add_argument(
        "--batch-size", type=_positive(int), metavar="N", default=paper.batch_size, help="segments a mini-batch"
    )
    group.add_argument(
        "--learning-rate", type=_positive(float), metavar="X", default=paper.learning_rate, help="of SGD, constant"
    )
    group.add_argument("--segments", choices=SEGMENT_CHOICES, default=paper.segments, help="where in a track")
    group.add_argument(
        "--segments-per-track",
        type=_positive(int),
        metavar="N",
        default=paper.segments_per_track,
        help="random segments of each track",
    )
    group.add_argument("--vote", choices=VOTES, default=paper.vote, help="how segments decide a track")
    group.add_argument("--seed", type=int, metavar="N", default=paper.seed, help="of everything random")
    group.add_argument(
        "--max-bad",
        type=_percent,
        metavar="PERCENT",
        default=MAX_BAD_PERCENT,
        help="most training tracks that may be unusable",
    )


def _add_model_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name", type=_name, help="of the model, to keep several in one scratch folder (default: none)"
    )


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUTPUT", help="file to write: path<TAB>label a line")
    parser.add_argument("--probabilities", metavar="CSV", help="also write each track's class probabilities")


def _add_scratch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scratch", metavar="SCRATCH", help="folder for features and models, kept between calls")


def _extract_arguments(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("feature_list", metavar="FEATURELIST", help="one path a line")
    _add_feature_arguments(parser)


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("feature_list", metavar="FEATURELIST", nargs="?", help="one path a line: all files of the task")
    parser.add_argument("train_list", metavar="TRAINLIST", help="path<TAB>label a line")
    _add_model_argument(parser)
    _add_feature_arguments(parser)
    _add_training_arguments(parser)


def _classify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("test_list", metavar="TESTLIST", help="one path a line")
    _add_output_arguments(parser)
    _add_model_argument(parser)


def _train_and_classify_arguments(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("train_list", metavar="TRAINLIST", help="path<TAB>label a line")
    parser.add_argument("test_list", metavar="TESTLIST", help="one path a line")
    _add_output_arguments(parser)
    _add_model_argument(parser)
    _add_feature_arguments(parser)
    _add_training_arguments(parser)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
        return value

    convert.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return convert


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 100")
    return value


def _name(text: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: use letters, digits, '_', '-' and '.' only")
    return text


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that takes a value and has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.nargs != 0 and action.default is not None else action.help


class _Command(NamedTuple):
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    summary: str


COMMANDS = {
    "extract": _Command(_extract_arguments, _extract, "Extract the features of all tracks of a list."),
    "train": _Command(_train_arguments, _train, "Train a model on labelled tracks; extracts what is missing."),
    "classify": _Command(_classify_arguments, _classify, "Write one label for each track of a test list."),
    "train-and-classify": _Command(
        _train_and_classify_arguments, _train_and_classify, "Train a model, then classify a test list with it."
    ),
}


def _overview() -> str:
    rows = "\n".join(f"  {name:20}{command.summary}" for name, command in COMMANDS.items())
    return f"usage: {PROGRAM} COMMAND [options] ...\n\n{rows}\n\n`{PROGRAM} COMMAND --help` shows a command's options."


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=COMMANDS[name].summary,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    COMMANDS[name].add_arguments(parser)
    _add_common_arguments(parser)
    return parser
