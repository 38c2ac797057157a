"""Installed versions of this project's requirements (setup.py), and the commands that install them."""

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
_BUILDS = {"tensorflow": ("tensorflow-cpu",)}  # other names of the same package, built for fewer devices
PROJECT = Path(__file__).resolve().parents[2]  # holds setup.py, unless the package is installed elsewhere


@dataclass(frozen=True)
class Package:
    """A requirement.

    Parameters
    ----------
    name : str
        Name of the package.
    version : str
        Installed version; empty if it is not installed.
    needed : str
        Versions that this project needs, in the syntax of pip.
    fits : bool
        Whether the installed version is one of them.
    """

    name: str
    version: str
    needed: str
    fits: bool


def packages(extra: str = "") -> list[Package]:
    """Return the requirements of this project, or the additional ones of an extra.

    The list is empty if the project is not installed, but only on Python's path.
    """
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    requirements = [Requirement(line) for line in lines]
    return [
        Package(r.name, version, str(r.specifier), bool(version) and r.specifier.contains(version, prereleases=True))
        for r in requirements
        if (r.marker.evaluate({"extra": extra}) if r.marker else not extra)
        for version in [installed(r.name)]
    ]


def python_needed() -> str:
    """Return the versions of Python that this project needs, in the syntax of pip; empty if it is not installed."""
    try:
        return importlib.metadata.metadata(NAME)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def installed(name: str) -> str:
    """Return the version of a package, in any of its builds; empty if it is not installed."""
    package = distribution(name)
    return package.version if package else ""


def distribution(name: str) -> importlib.metadata.Distribution | None:
    """Return the metadata of a package, in any of its builds; None if it is not installed."""
    for build in (name, *_BUILDS.get(name, ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.distribution(build)
    return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of all requirements, empty if not installed; import none of them."""
    required = {package.name: package.version for package in packages()}
    return {"Python": platform.python_version(), **dict(sorted(required.items())), "libsndfile": _libsndfile()}


def _libsndfile() -> str:
    """Return the version of the library that soundfile loads: from its wheel, or else from the system."""
    spec = importlib.util.find_spec("_soundfile_data")
    wheel = [path for folder in (spec and spec.submodule_search_locations) or () for path in Path(folder).glob("*.so")]
    for library in (*wheel, "libsndfile.so.1"):
        with contextlib.suppress(OSError):
            version_string = ctypes.CDLL(str(library)).sf_version_string
            version_string.restype = ctypes.c_char_p
            return str(version_string().decode()).removeprefix("libsndfile-")
    return ""


def install_extra(extra: str) -> str:
    """Return the advice for a missing package of an extra."""
    return f"install this project with its extra `{extra}`: {install_command(extra)}"


def install_command(extra: str = "") -> str:
    """Return the command that installs this project with its requirements and those of an extra."""
    project = str(PROJECT) if (PROJECT / "setup.py").is_file() else "PROJECT_FOLDER"
    # An environment without pip can be installed into by the pip of another one.
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["pip", "--python", sys.executable]
    # Some versions in constraints.txt need Python 3.11.
    constraints = ["-c", f"{project}/constraints.txt"] if sys.version_info >= (3, 11) else []
    return shlex.join([*pip, "install", *constraints, f"{project}[{extra}]" if extra else project])
