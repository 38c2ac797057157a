"""The command line: `mirex-submission COMMAND ...`. The shell scripts in bin/ pass it their arguments unchanged.

Parsing has no side effects and loads nothing heavy; a command's libraries are loaded when it runs. Every message
goes to stderr. The module exit.py handles the end of a run and its exit status.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mirex_submission.cli import commands, completion, judging, options, packing
from mirex_submission.cli import exit as ending
from mirex_submission.errors import UsageError, coded
from mirex_submission.runs.options import RunOptions
from mirex_submission.system import environment, installation
from mirex_submission.system.progress import duration
from mirex_submission.version import __version__

log = logging.getLogger("mirex_submission")

PROGRAM = "mirex-submission"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    argv[:1] = [MIREX_NAMES.get(name, name) for name in argv[:1]]
    ending.open_standard_streams()
    if argv and argv[0] == "--version":
        return ending.status_of(_version)
    if not argv or argv[0] in ("-h", "--help"):
        print(_overview(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else UsageError.exit_status
    if argv[0] not in COMMANDS:
        print(coded(f"{PROGRAM}: no command {argv[0]!r}", code="usage.command"), file=sys.stderr)
        print(f"\n{_overview()}", file=sys.stderr)
        return UsageError.exit_status
    args = _parser(argv[0]).parse(argv[1:])
    args.command_line, args.environment = [PROGRAM, *argv], dict(os.environ)  # as the caller gave them
    ending.start_log(args.verbose, args.quiet)
    return ending.status_of(lambda: _run(COMMANDS[argv[0]].run, args, argv[0]))


def _version() -> None:
    print(f"{PROGRAM} {__version__}")
    for name, version in installation.versions().items():
        print(f"{name} {version or 'is not installed'}")


def _run(command: Callable[[argparse.Namespace], object], args: argparse.Namespace, name: str) -> None:
    started_s = time.monotonic()
    scratch = getattr(args, "scratch", None)
    environment.prepare(scratch and os.path.abspath(scratch), threads=options.read_options(args, RunOptions).threads)
    command(args)
    sys.stdout.flush()  # reports an error of standard output now, not as a traceback at the end
    peaks_kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    elapsed = duration(time.monotonic() - started_s)
    log.info("%s: done in %s, peak memory %d MiB a process", name, elapsed, max(peaks_kib) // 1024)


class _Command(NamedTuple):
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], object]
    summary: str


def add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=completion.SHELLS, help="shell to print completions for")


def _completion(args: argparse.Namespace) -> None:
    parsers = {name: (_parser(name), command.summary) for name, command in COMMANDS.items()}
    print(completion.script(PROGRAM, parsers, args.shell))


COMMANDS = {
    "extract": _Command(commands.add_extract, commands.extract, "Extract the features of all tracks of a list."),
    "train": _Command(commands.add_train, commands.train, "Train a model on a training list."),
    "classify": _Command(commands.add_classify, commands.classify, "Predict the label of each track of a test list."),
    "train-and-classify": _Command(
        commands.add_train_and_classify, commands.train_and_classify, "Train a model, then classify a test list."
    ),
    "explain": _Command(
        commands.add_explain, commands.explain, "Show why a model chose the class of one track, as an HTML page."
    ),
    "check": _Command(commands.add_check, commands.check, "Check lists, audio, disk, memory and device."),
    "completion": _Command(add_completion, _completion, "Print completions of commands and options for a shell."),
    "doctor": _Command(commands.add_doctor, commands.doctor, "Check the installation and print fixes."),
    "export": _Command(commands.add_export, commands.export, "Export a model as SavedModel, ONNX or TFLite."),
    "pack": _Command(packing.add_pack, packing.pack, "Pack a model as a submission that runs offline."),
    "predict": _Command(packing.add_predict, packing.predict, "Predict labels with a model in a read-only folder."),
    "features": _Command(commands.add_features, commands.features, "Print or export the features of one track."),
    "try": _Command(
        commands.add_try, commands.try_folder, "Cross-validate recipes on a folder and train the best one."
    ),
    "folds": _Command(judging.add_folds, judging.folds, "Write folds of labelled tracks as MIREX lists."),
    "validate": _Command(
        judging.add_validate, judging.validate, "Check that the evaluator accepts an output and counts every track."
    ),
    "audit": _Command(judging.add_audit, judging.audit, "Find copies, leaks, shortcuts and wrong labels in the data."),
    "crossval": _Command(judging.add_crossval, judging.crossval, "Run systems on the same folds and score them."),
    "evaluate": _Command(judging.add_evaluate, judging.evaluate, "Compute MIREX's figures for outputs of systems."),
    "report": _Command(judging.add_report, judging.report, "Write the result of evaluate as one HTML page."),
}


# The container image is called by the names of MIREX's scripts.
MIREX_NAMES = {"extractFeatures": "extract", "trainAndClassify": "train-and-classify"}


def _overview() -> str:
    rows = "\n".join(f"  {name:20}{command.summary}" for name, command in COMMANDS.items())
    last = f"`{PROGRAM} COMMAND --help` shows a command's options, `{PROGRAM} --version` the versions."
    return f"usage: {PROGRAM} COMMAND [options] ...\n\n{rows}\n\n{last}"


def _parser(name: str) -> options.Parser:
    parser = options.Parser(
        prog=f"{PROGRAM} {name}",
        description=COMMANDS[name].summary,
        allow_abbrev=False,
    )
    COMMANDS[name].add_arguments(parser)
    options.add_options(parser, RunOptions, "threads")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="print more")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="print only warnings; twice: only errors")
    return parser
