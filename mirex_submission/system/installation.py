"""What of this project's requirements (setup.py) is installed, and the commands that install it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

NAME = "mirex-submission"
_BUILDS = {"tensorflow": ("tensorflow-cpu",)}  # the same package under other names, built for fewer devices
PROJECT = Path(__file__).resolve().parents[2]  # where setup.py is, unless the package was installed elsewhere


@dataclass(frozen=True)
class Package:
    """found : the version that is installed, "" if none is. needed : versions that will do, as pip writes them."""

    name: str
    found: str
    needed: str
    fits: bool


def packages(extra: str = "") -> list[Package]:
    """What this project needs, or what one of its extras needs beside that.

    Empty where the project is not installed, but only lies on the path.
    """
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    needed = [Requirement(line) for line in lines]
    return [
        Package(each.name, found, str(each.specifier), bool(found) and each.specifier.contains(found, prereleases=True))
        for each in needed
        if (each.marker.evaluate({"extra": extra}) if each.marker else not extra)
        for found in [installed(each.name)]
    ]


def python_needed() -> str:
    """The versions of Python that will do; "" where the project is not installed."""
    try:
        return importlib.metadata.metadata(NAME)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def installed(name: str) -> str:
    """The version of a package, in whichever of its builds, "" if it is not installed."""
    for build in (name, *_BUILDS.get(name, ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(build)
    return ""


def versions() -> dict[str, str]:
    """Python's and those of all that this project needs, "" for what is not there. Nothing is imported to ask."""
    found = {package.name: package.found for package in packages()}
    return {"Python": platform.python_version(), **dict(sorted(found.items())), "libsndfile": _libsndfile()}


def _libsndfile() -> str:
    """The library that soundfile loads: the one of its wheel, or else the system's."""
    spec = importlib.util.find_spec("_soundfile_data")
    of_wheel = [
        path for folder in (spec and spec.submodule_search_locations) or () for path in Path(folder).glob("*.so")
    ]
    for library in (*of_wheel, "libsndfile.so.1"):
        with contextlib.suppress(OSError):
            say = ctypes.CDLL(str(library)).sf_version_string
            say.restype = ctypes.c_char_p
            return str(say().decode()).removeprefix("libsndfile-")
    return ""


def install_extra(extra: str) -> str:
    """What to do where a package of an extra is missing."""
    return f"install this project with its extra `{extra}`: {install_command(extra)}"


def install_command(extra: str = "") -> str:
    """The command that installs this project with all that it needs, and what an extra needs."""
    there = (PROJECT / "setup.py").is_file()
    project = str(PROJECT) if there else "PROJECT_FOLDER"
    # An environment made without pip takes what another one's installs into it.
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip", "--python", sys.executable]
    # Some of the versions that we prove need Python 3.11.
    constraints = ["-c", f"{project}/constraints.txt"] if sys.version_info >= (3, 11) else []
    return shlex.join([*pip, "install", *constraints, f"{project}[{extra}]" if extra else project])
