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
    registered: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        if is_model(entry.name) and entry.name not in MODELS:
            registered.setdefault(entry.name, []).append(entry)
    return registered


def names() -> list[str]:
    """Return the networks that installed packages add."""
    return sorted(_registered())


def package_of(name: str) -> tuple[str, str]:
    """Return the package that adds this network, and its version. Raises UsageError where not exactly one does."""
    return _package(_find(name))


def function_of(name: str) -> Callable[[Any], Any]:
    """Load the package and return the registered function. Raises UsageError."""
    entry = _find(name)
    try:
        function = entry.load()
    except Exception as error:  # whatever a stranger's module raises
        raise UsageError(
            f"model {name}: {_label(entry)} cannot be loaded: {type(error).__name__}: {error}",
            code="model.network-fails",
        ) from error
    if not callable(function):
        raise UsageError(
            f"model {name}: {_label(entry)} registers {entry.value}, which is not a function",
            code="model.network-fails",
        )
    return function  # type: ignore[no-any-return]


def identity(name: str) -> str:
    """Return what identifies the network of a training: its package, version, and the hash of its module's text."""
    from mirex_submission.system.atomic import digest

    function_of(name)
    entry = _find(name)
    file = sys.modules[entry.module].__file__
    return f"{name} {_label(entry)} {digest(Path(file).read_bytes()) if file else ''}"


def _find(name: str) -> EntryPoint:
    entries = _registered().get(name, [])
    if not entries:
        known = ", ".join([*MODELS, *names()])
        raise UsageError(
            f"model {name}: no installed package adds such a network: install it, or choose one of {known}",
            code="usage.model",
        )
    if len({_package(entry) for entry in entries}) > 1:
        raise UsageError(
            f"model {name}: {' and '.join(map(_label, entries))} both add it: uninstall one of them",
            code="model.network-twice",
        )
    return entries[0]


def _package(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("", "")


def _label(entry: EntryPoint) -> str:
    return " ".join(_package(entry))
