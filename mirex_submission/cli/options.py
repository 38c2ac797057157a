"""Arguments of the command line, made from the fields of option dataclasses.

This module has no side effects and imports nothing heavy, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from mirex_submission.errors import coded
from mirex_submission.system import option as opt
from mirex_submission.system.option import Converter, Options

OptionsType = TypeVar("OptionsType", bound=Options)


def typed(convert: Converter) -> Converter:
    """Make a type for argparse from a converter of option values, so that argparse prints why it refuses a value."""

    def convert_text(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    convert_text.converter = convert  # type: ignore[attr-defined]
    return convert_text


path = typed(opt.path)


def add_options(parser: argparse.ArgumentParser, options: type[Options], *names: str, title: str | None = None) -> None:
    """Add the fields of an option dataclass to a parser.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Parser of a command.
    options : type of Options
        The dataclass.
    *names : str
        Fields to add; all if no name is given.
    title : str, optional
        Title of their group in the help.
    """
    group = parser.add_argument_group(title) if title else parser
    for field in dataclasses.fields(options):
        if "help" in field.metadata and (not names or field.name in names):
            flags = dict.fromkeys([opt.flag_of(field), f"--{field.name.replace('_', '-')}"])
            # None: the option was not given. The dataclass has the defaults.
            group.add_argument(*flags, dest=field.name, default=None, help=_help(field), **_arguments(field))


def _help(field: dataclasses.Field[Any]) -> str:
    text = str(field.metadata["help"])
    return text if field.default is None or field.default is False else f"{text} (default: {field.default})"


def _arguments(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if isinstance(field.default, bool):
        return {"action": "store_true"}
    if field.metadata["choices"]:
        return {"choices": field.metadata["choices"]}
    return {"metavar": field.metadata["metavar"], "type": typed(field.metadata["convert"] or opt.path)}


def given(args: argparse.Namespace, options: type[Options]) -> dict[str, Any]:
    """Return those fields of an option dataclass that the parser has read; the others keep their defaults."""
    names = [field.name for field in dataclasses.fields(options)]
    return {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}


def read_options(args: argparse.Namespace, options: type[OptionsType]) -> OptionsType:
    """Make an option dataclass from the arguments that the parser has read."""
    return options(**given(args, options))


def add_lists(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the scratch folder and then the positional arguments with these names, in MIREX's order."""
    descriptions = {
        "scratch": "folder for features and models, kept between runs",
        "feature_list": "list of all tracks, one path per line; or folder, table, audio file",
        "train_list": "list with path<TAB>label per line, folder of class folders, or table",
        "test_list": "list with one path per line, folder, table or audio file",
        "output": "file to write, path<TAB>label per line; - is standard output",
    }
    for name in ("scratch", *names):
        optional = name.endswith("?")
        name = name.removesuffix("?")
        metavar = name.upper().replace("_", "")
        parser.add_argument(name, type=path, metavar=metavar, nargs="?" if optional else None, help=descriptions[name])


class Parser(argparse.ArgumentParser):
    """Parser whose error message ends with the code of the problem."""

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse arguments; those after `--` are files and folders, even if their names begin with a hyphen."""
        if "--" in argv:
            k = argv.index("--")
            argv = [
                *argv[:k],
                *(f"./{name}" if name.startswith("-") and name != "-" else name for name in argv[k + 1 :]),
            ]
        return self.parse_intermixed_args(argv)

    def error(self, message: str) -> NoReturn:
        super().error(coded(message, code="usage.arguments"))
