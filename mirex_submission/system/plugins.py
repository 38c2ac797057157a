"""Entry points of installed packages, which add networks and views: looked up by name, loaded when they are used.

A look-up reads the metadata of installed packages and runs no code. A name in a model's files is only looked up here;
no path or module from a scratch folder is imported.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from mirex_submission.errors import UsageError
from mirex_submission.system.atomic import digest

NAME = r"[A-Za-z][A-Za-z0-9_.-]*"


@dataclass(frozen=True)
class Plugins:
    """All entry points of one group.

    Parameters
    ----------
    group : str
        Group of the entry points.
    kind : str
        Word for one of them, such as "view", for messages.
    own : tuple of str
        Names of this package itself, which no other package can use.
    """

    group: str
    kind: str
    own: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names that installed packages add."""
        return sorted(self._entries)

    @property
    def _entries(self) -> dict[str, list[EntryPoint]]:
        return {name: entries for name, entries in _entries(self.group).items() if name not in self.own}

    def package_of(self, name: str) -> tuple[str, str]:
        """Return name and version of the package that adds this name. Raises UsageError unless exactly one does."""
        return _package(self._entry(name))

    def load(self, name: str) -> Any:
        """Load the package and return the registered object. Raises UsageError."""
        entry = self._entry(name)
        try:
            return entry.load()
        except Exception as error:  # the package's module may raise anything
            raise UsageError(
                f"{self.kind} {name}: {_label(entry)} cannot be loaded: {type(error).__name__}: {error}",
                code="usage.plugin-fails",
            ) from error

    def refused(self, name: str, needed: str) -> UsageError:
        """Make the error for a registered object that is not what is needed, such as "a function"."""
        entry = self._entry(name)
        text = f"{self.kind} {name}: {_label(entry)} registers {entry.value}, which is not {needed}"
        return UsageError(text, code="usage.plugin-fails")

    def identity(self, name: str) -> str:
        """Return a text of name, package, version and the hash of the module's source. Raises UsageError."""
        self.load(name)
        entry = self._entry(name)
        file = sys.modules[entry.module].__file__
        return f"{name} {_label(entry)} {digest(Path(file).read_bytes()) if file else ''}"

    def _entry(self, name: str) -> EntryPoint:
        entries = self._entries.get(name, [])
        if not entries:
            known = ", ".join([*self.own, *self.names])
            raise UsageError(
                f"{self.kind} {name}: no installed package adds it: install the package, or choose one of {known}",
                code="usage.plugin-missing",
            )
        if len({_package(entry) for entry in entries}) > 1:
            raise UsageError(
                f"{self.kind} {name}: {' and '.join(map(_label, entries))} both add it: uninstall one of them",
                code="usage.plugin-twice",
            )
        return entries[0]


@functools.cache
def _entries(group: str) -> dict[str, list[EntryPoint]]:
    registered: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        if re.fullmatch(NAME, entry.name):
            registered.setdefault(entry.name, []).append(entry)
    return registered


def _package(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("", "")


def _label(entry: EntryPoint) -> str:
    return " ".join(_package(entry))
