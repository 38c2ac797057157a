"""What installed packages add by entry points: found by name, loaded when it is used.

Finding something reads the metadata of what is installed, and runs nothing. What a model in a scratch folder names is
only ever looked up here: neither a path nor a module that it holds is imported.
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
    """What installed packages add of one kind.

    Parameters
    ----------
    group : str
        Group of the entry points.
    kind : str
        What they add, for messages.
    own : tuple of str
        Names that this package has itself, which no other one can take.
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
        """Return the package that adds this name, and its version. Raises UsageError where not exactly one does."""
        return _package(self._entry(name))

    def load(self, name: str) -> Any:
        """Load the package and return what it registers. Raises UsageError."""
        entry = self._entry(name)
        try:
            return entry.load()
        except Exception as error:  # whatever a stranger's module raises
            raise UsageError(
                f"{self.kind} {name}: {_label(entry)} cannot be loaded: {type(error).__name__}: {error}",
                code="usage.plugin-fails",
            ) from error

    def refused(self, name: str, needed: str) -> UsageError:
        """Make the error for what is registered, but is not what is `needed`."""
        entry = self._entry(name)
        text = f"{self.kind} {name}: {_label(entry)} registers {entry.value}, which is not {needed}"
        return UsageError(text, code="usage.plugin-fails")

    def identity(self, name: str) -> str:
        """Return what identifies it: its package, version, and the hash of its module's text. Raises UsageError."""
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
