"""Options as fields of frozen dataclasses, which define name, default, choices, converter and help text once.

The command line makes its arguments from these fields, and Python callers construct the dataclasses; both go through
the same converters, so that both accept and refuse the same values.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from mirex_submission.errors import UsageError

Converter = Callable[[Any], Any]
FILE_NAME = r"\w[\w.-]*"
MAX_THREADS = 100_000  # joblib fails on more
_MOST_SECONDS = 10_000 * 86_400  # the system's timers fail on very long times


def option(
    default: Any,
    description: str,
    *,
    convert: Converter | None = None,
    choices: Sequence[str] = (),
    metavar: str | None = None,
    flag: str | None = None,
) -> Any:
    """Define an option as a dataclass field.

    Parameters
    ----------
    default : object
        Value of the option if the caller gives none. ``True`` or ``False`` make a switch.
    description : str
        Help text.
    convert : callable, optional
        Converter from text or from a Python value; raises ValueError or TypeError with the reason.
    choices : sequence of str
        All allowed values.
    metavar : str, optional
        Placeholder of the value in help texts.
    flag : str, optional
        Name on the command line, if it is not the field's name with dashes.
    """
    metadata = {"help": description, "convert": convert, "choices": tuple(choices), "metavar": metavar, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def flag_of(field: dataclasses.Field[Any]) -> str:
    """Return the name of an option on the command line."""
    return field.metadata["flag"] or f"--{field.name.replace('_', '-')}"


def converted(field: dataclasses.Field[Any], value: Any) -> Any:
    """Convert and check the value of an option.

    Raises
    ------
    ValueError
        The value is not allowed; the message gives the reason.
    """
    if isinstance(field.default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither True nor False")
        return value
    if (value is None and field.default is None) or "help" not in field.metadata:
        return value
    choices, convert = field.metadata["choices"], field.metadata["convert"]
    if choices:
        if str(value) not in choices:
            raise ValueError(f"{value!r}: choose one of {', '.join(choices)}")
        return str(value)
    try:
        return convert(value) if convert else value
    except TypeError as error:
        raise ValueError(f"{value!r}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of all option dataclasses: every option is converted and checked when an instance is made.

    A field that is not made by `option` is not an argument of the command line, and is not checked.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            try:
                object.__setattr__(self, field.name, converted(field, getattr(self, field.name)))
            except ValueError as error:
                raise UsageError(f"{flag_of(field)}: {error}", code="usage.option") from error


OptionsType = TypeVar("OptionsType", bound=Options)


def with_fields(fields: dict[str, Any], options: OptionsType) -> OptionsType:
    """Remove from `fields` the values of the dataclass's fields; return the dataclass with these values.

    Raises
    ------
    UsageError
        A value is not allowed.
    """
    if not isinstance(options, Options):
        return options  # check_options() refuses it
    own = {field.name for field in dataclasses.fields(options)} & fields.keys()
    return dataclasses.replace(options, **{name: fields.pop(name) for name in own}) if own else options


def check_none_left(fields: Mapping[str, Any]) -> None:
    """Check that no option of a call is left over that none of its dataclasses has. Raises UsageError."""
    if fields:
        raise UsageError(f"no option {', '.join(map(repr, fields))} in this call", code="usage.option")


def check_options(**options: tuple[object, type[Options] | tuple[type[Options], ...]]) -> None:
    """Check the option dataclasses of a call.

    Parameters
    ----------
    **options : (object, type of Options or tuple of them)
        For each name of an argument its value and the allowed classes.

    Raises
    ------
    UsageError
        An argument is of another type.
    """
    for name, (value, kinds) in options.items():
        if not isinstance(value, kinds):
            kind = kinds[0] if isinstance(kinds, tuple) else kinds
            given = value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"
            raise UsageError(
                f"{name}: {given} is not a {kind.__name__} object: give {name}={kind.__name__}(...)",
                code="usage.option-type",
            )


def integer(value: Any) -> int:
    """Convert to a whole number; floats and truth values are refused."""
    try:
        is_text = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value)
        return int(value) if is_text else operator.index(_not_bool(value))
    except TypeError:
        raise ValueError(f"{value!r} is not a whole number") from None


def number(value: Any) -> float:
    """Convert to a finite number."""
    try:
        x = float(_not_bool(value))
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None
    except OverflowError:
        x = math.inf
    if not math.isfinite(x):
        raise ValueError(f"{value!r} is not finite")
    return x


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError("a truth value is not a number")
    return value


def integer_between(low: int, high: float = math.inf) -> Converter:
    """Make a converter to whole numbers from `low` to `high`."""

    def convert(value: Any) -> int:
        n = integer(value)
        if not low <= n <= high:
            raise ValueError(f"{value!r} is not {f'from {low} to {high}' if high < math.inf else f'at least {low}'}")
        return n

    return convert


def positive_number(value: Any) -> float:
    """Convert to a finite number above 0."""
    x = number(value)
    if x <= 0:
        raise ValueError(f"{value!r} is not above 0")
    return x


def share(value: Any) -> float:
    """Convert to a number between 0 and 1, both excluded."""
    x = number(value)
    if not 0 < x < 1:
        raise ValueError(f"{value!r} is not between 0 and 1")
    return x


def percent(value: Any) -> float:
    """Convert to a number from 0 to 100."""
    x = number(value)
    if not 0 <= x <= 100:
        raise ValueError(f"{value!r} is not from 0 to 100")
    return x


def seconds(value: Any) -> float:
    """Convert a duration such as 20h, 90m, 30s or 30 to seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if not match:
            raise ValueError(f"{value!r}: give a number and s, m, h or d, such as 20h")
        x = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
    else:
        x = number(value)
    if not 0 <= x <= _MOST_SECONDS:
        raise ValueError(f"{value!r} is not between 0 and 10000 days")
    return x


def positive_seconds(value: Any) -> float:
    """Convert a duration above 0 to seconds."""
    x = seconds(value)
    if x <= 0:
        raise ValueError(f"{value!r} is not above 0")
    return x


def path(value: Any) -> str:
    """Convert a path to text; an empty path is refused."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{value!r} is not a path")
    text = os.fsdecode(value)
    if not text:
        raise ValueError("an empty path: is a variable unset?")
    if "\0" in text:
        raise ValueError(f"{text!r}: a NUL byte, which no path can have")
    return text


def checked_path(name: str, value: Any) -> str:
    """Convert the path of the argument `name` to text. Raises UsageError."""
    try:
        return path(value)
    except ValueError as error:
        raise UsageError(f"{name}: {error}", code="usage.path") from error


def file_name(value: Any) -> str:
    """Check a name that becomes the name of a file or folder."""
    if not isinstance(value, str) or not re.fullmatch(FILE_NAME, value):
        raise ValueError(f"{value!r}: use letters, digits, '_', '-' and '.' only")
    return value


def device(value: Any) -> str:
    """Convert a device: auto, cpu, gpu, or numbers of GPUs."""
    numbers = str(value).partition(":")[2].split(",")
    if not re.fullmatch(r"auto|cpu|gpu(:\d+(,\d+)*)?", str(value)) or len(set(numbers)) < len(numbers):
        raise ValueError(f"{value!r}: give auto, cpu, gpu, or the numbers of GPUs, such as gpu:1,2")
    return str(value)


seed = integer_between(0, 2**32 - 1)
threads = integer_between(1, MAX_THREADS)
