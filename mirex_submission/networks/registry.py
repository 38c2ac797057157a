"""Networks that installed packages add to the paper's three: found by name, loaded when they are computed.

A package registers a function, from standardised segments to features, as an entry point of GROUP (docs/networks.md).
Finding one reads the metadata of what is installed, and runs nothing. What a model in a scratch folder names is only
ever looked up here: neither a path nor a module that it holds is imported.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mirex_submission.errors import UsageError

GROUP = "mirex_submission.networks"
MODELS = ("1", "2", "3", "all")  # the paper's networks, and the mean of all three


def is_model(name: object) -> bool:
    """Return whether a model may have this name: one of MODELS, or a letter, then letters, digits, '_', '.', '-'."""
    return name in MODELS or (isinstance(name, str) and bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name)))


@functools.cache
def _registered() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        if is_model(entry.name) and entry.name not in MODELS:
            found.setdefault(entry.name, []).append(entry)
    return found


def names() -> list[str]:
    """The networks that installed packages add."""
    return sorted(_registered())


def package_of(name: str) -> tuple[str, str]:
    """The package that adds this network, and its version. Raises UsageError where none, or more than one, does."""
    return _package(_find(name))


def function_of(name: str) -> Callable[[Any], Any]:
    """The function that is registered: loads the package. Raises UsageError."""
    entry = _find(name)
    try:
        found = entry.load()
    except Exception as error:  # whatever a stranger's module raises
        raise UsageError(f"model {name}: {_said(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"model {name}: {_said(entry)} registers {entry.value}, which is no function")
    return found  # type: ignore[no-any-return]


def identity(name: str) -> str:
    """What a training with this network is known by: its package, version, and the text of its module."""
    from mirex_submission.system.atomic import digest

    function_of(name)
    entry = _find(name)
    file = sys.modules[entry.module].__file__
    return f"{name} {_said(entry)} {digest(Path(file).read_bytes()) if file else ''}"


def _find(name: str) -> EntryPoint:
    found = _registered().get(name, [])
    if not found:
        known = ", ".join([*MODELS, *names()])
        raise UsageError(
            f"model {name}: no installed package adds such a network: install it, or choose one of {known}"
        )
    if len({_package(entry) for entry in found}) > 1:
        raise UsageError(f"model {name}: {' and '.join(map(_said, found))} both add it: uninstall one of them")
    return found[0]


def _package(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("", "")


def _said(entry: EntryPoint) -> str:
    return " ".join(_package(entry))
