"""Shell completion of commands, options and file names, which shtab makes from the parsers of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from mirex_submission.errors import UsageError
from mirex_submission.networks.registry import MODELS, NETWORKS
from mirex_submission.system import option as opt
from mirex_submission.system.installation import install_extra
from mirex_submission.training.recipe import model

SHELLS = ("bash", "zsh")


def script(program: str, parsers: Mapping[str, tuple[argparse.ArgumentParser, str]], shell: str) -> str:
    """Return the script that a shell reads to complete commands.

    Parameters
    ----------
    program : str
        Name of the program.
    parsers : mapping of str to (ArgumentParser, str)
        Parser and summary of each command.
    shell : {"bash", "zsh"}
        The shell.

    Raises
    ------
    UsageError
        shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the Python package 'shtab' is missing: {install_extra('completion')}", code="usage.package"
        ) from error
    whole = argparse.ArgumentParser(prog=program)
    whole.add_argument("--version", action="store_true", help="print the versions of this program and its libraries")
    commands = whole.add_subparsers()
    for name, (parser, summary) in parsers.items():
        command = commands.add_parser(name, parents=[parser], add_help=False, help=summary)
        for action in command._actions:
            converter = getattr(action.type, "converter", None)
            if converter is opt.path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif converter is model:
                action.choices = [*MODELS, *NETWORKS.names]
    return str(shtab.complete(whole, shell))
