"""The command line: `mirex-submission COMMAND ...`. The shell scripts in bin/ pass their arguments straight on to it.

Parsing has no side effects and loads nothing heavy; a command's libraries are loaded when it runs. Everything said
goes to stderr. How a run ends, and with which exit status, is process.py's.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mirex_submission.cli import commands, judging
from mirex_submission.cli import exit as process
from mirex_submission.cli import options as arguments
from mirex_submission.errors import UsageError
from mirex_submission.system import installation, runtime
from mirex_submission.system.progress import duration
from mirex_submission.version import __version__

log = logging.getLogger("mirex_submission")

PROGRAM = "mirex-submission"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    argv[:1] = [MIREX_NAMES.get(name, name) for name in argv[:1]]
    process.open_standard_streams()
    if argv and argv[0] == "--version":
        return process.status_of(_version)
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


def _version() -> None:
    print(f"{PROGRAM} {__version__}")
    for name, version in installation.versions().items():
        print(f"{name} {version or 'is not installed'}")


def _run(command: Callable[[argparse.Namespace], object], args: argparse.Namespace, name: str) -> None:
    started_s = time.monotonic()
    args.scratch = Path(args.scratch).absolute() if args.scratch else None
    runtime.prepare(args.scratch, threads=args.threads)
    command(args)
    sys.stdout.flush()  # what cannot be said is a fault now, and not a traceback at the end
    peaks_kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    elapsed = duration(time.monotonic() - started_s)
    log.info("%s: done in %s, peak memory %d MiB a process", name, elapsed, max(peaks_kib) // 1024)


class _Command(NamedTuple):
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], object]
    summary: str


def _completion(args: argparse.Namespace) -> None:
    from mirex_submission.cli import completion

    parsers = {name: (_parser(name), command.summary) for name, command in COMMANDS.items()}
    print(completion.script(PROGRAM, parsers, args.shell))


COMMANDS = {
    "extract": _Command(arguments.extract, commands.extract, "Extract the features of all tracks of a list."),
    "train": _Command(arguments.train, commands.train, "Train a model on labelled tracks; extracts what is missing."),
    "classify": _Command(arguments.classify, commands.classify, "Write one label for each track of a test list."),
    "train-and-classify": _Command(
        arguments.train_and_classify, commands.train_and_classify, "Train a model, then classify a test list with it."
    ),
    "check": _Command(
        arguments.check, commands.check, "Say what can be known before hours of work: all faults at once."
    ),
    "completion": _Command(
        arguments.completion, _completion, "Print the completion of commands and options for a shell."
    ),
    "doctor": _Command(
        arguments.doctor, commands.doctor, "Say what this installation has and lacks, and how to mend it."
    ),
    "export": _Command(
        arguments.export, commands.export, "Write a trained model as a SavedModel, for ONNX or for TFLite."
    ),
    "features": _Command(arguments.features, commands.features, "Print or export the features of one track."),
    "folds": _Command(judging.add_folds, judging.folds, "Write folds of labelled tracks as MIREX lists."),
    "validate": _Command(
        judging.add_validate,
        judging.validate,
        "Say whether the evaluator would take an output and count every track.",
    ),
    "crossval": _Command(
        judging.add_crossval,
        judging.crossval,
        "Run submissions through their shell calls over folds, and judge them.",
    ),
    "evaluate": _Command(
        judging.add_evaluate, judging.evaluate, "Compute MIREX's figures for the outputs of one or several systems."
    ),
    "report": _Command(judging.add_report, judging.report, "Show what evaluate found, as one page to read or print."),
}


# As MIREX calls its scripts: those of the image are called by these names.
MIREX_NAMES = {"extractFeatures": "extract", "trainAndClassify": "train-and-classify"}


def _overview() -> str:
    rows = "\n".join(f"  {name:20}{command.summary}" for name, command in COMMANDS.items())
    last = f"`{PROGRAM} COMMAND --help` shows a command's options, `{PROGRAM} --version` what is installed."
    return f"usage: {PROGRAM} COMMAND [options] ...\n\n{rows}\n\n{last}"


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
