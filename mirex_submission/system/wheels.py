"""Wheels of the packages that a program needs: downloaded, or without a network rebuilt from the installation.

A wheel is rebuilt from the installed files. The RECORD of the package lists them with their hashes, so that the wheel
is complete and unchanged; a package without a valid RECORD is refused.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PackagePath
from pathlib import Path, PurePosixPath

from mirex_submission.errors import InstallationError, UsageError
from mirex_submission.system.installation import NAME, PROJECT, distribution
from mirex_submission.system.progress import shortened

_SUFFIXES = (".py", ".css", ".jinja", ".typed")  # of our own package's files, beside compiled modules
_OF_INSTALLERS = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "RECORD.jws", "RECORD.p7s")


def needed(names: Iterable[str]) -> list[Distribution]:
    """Return the packages of these names and all their requirements, in order of name, without this package.

    Raises
    ------
    InstallationError
        One of them is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    packages: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name == NAME or (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        package = distribution(name)
        if package is None:
            raise InstallationError(
                f"the package {wanted} is not installed, and the model needs it: install this project again",
                code="pack.package",
            )
        packages[name] = package
        for line in package.requires or ():
            other = Requirement(line)
            extras = ("", *wanted.extras)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(other)
    return [packages[name] for name in sorted(packages)]


def is_local(package: Distribution) -> bool:
    """Return whether a package was installed from a folder or file: the package index may have another or none."""
    return package.read_text("direct_url.json") is not None


def download(packages: Sequence[Distribution], folder: Path) -> None:
    """Download the wheels of packages in their installed versions with pip. Raises UsageError."""
    if not packages:
        return
    if importlib.util.find_spec("pip") is None:
        raise UsageError("pip is not installed here, so nothing can be downloaded: give --offline", code="pack.pip")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder)]
    command += [f"{package.name}=={package.version}" for package in packages]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        reason = shortened(done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}")
        raise UsageError(
            f"pip download: {reason}: check the network, or give --offline, which takes what is installed",
            code="pack.download",
        )


def rebuild(package: Distribution, folder: Path) -> Path:
    """Make the wheel of an installed package from its files.

    Raises
    ------
    InstallationError
        Its RECORD is missing, lists a file that is missing or changed, or the package is installed with `-e`.
    """
    advice = f"install it again: {sys.executable} -m pip install --force-reinstall {package.name}=={package.version}"
    if package.files is None or not package.read_text("WHEEL"):
        raise InstallationError(f"{package.name}: no RECORD of its files: {advice}", code="pack.record")
    if _is_editable(package):
        raise InstallationError(
            f"{package.name}: installed with -e, from a folder that may change: install it without -e",
            code="pack.record",
        )
    return _write(folder, package, _installed_files(package, package.files, advice), package.read_text("WHEEL") or "")


def _installed_files(package: Distribution, files: Iterable[PackagePath], advice: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of a package's wheel. Raises InstallationError."""
    for file in files:
        name = PurePosixPath(file)
        is_of_installer = name.parent.suffix == ".dist-info" and name.name in _OF_INSTALLERS
        # Installers make scripts and bytecode again, and no program needs the tests of a package.
        is_needless = "tests" in name.parts or name.suffix == ".pyc" or is_of_installer
        if is_needless or ".." in name.parts or name.is_absolute():
            continue
        try:
            data = Path(str(file.locate())).read_bytes()
        except OSError as error:
            text = f"{package.name}: {name}: {error.strerror}: {advice}"
            raise InstallationError(text, code="pack.record") from error
        if file.hash is None or _hash(data, file.hash.mode) != file.hash.value:
            text = f"{package.name}: {name}: changed since it was installed: {advice}"
            raise InstallationError(text, code="pack.record")
        yield str(name), data


def build_own(folder: Path, requirements: Sequence[str]) -> Path:
    """Make the wheel of this package from its running files, with its compiled kernels.

    Parameters
    ----------
    folder : Path
        Where to write it.
    requirements : sequence of str
        Requirements of the wheel, which replace those of setup.py.

    Raises
    ------
    InstallationError
        This package is not installed.
    """
    package = distribution(NAME)
    if package is None:
        raise InstallationError("this package is only on Python's path: install it with pip", code="pack.package")
    top = PROJECT / "mirex_submission"
    compiled = str(sysconfig.get_config_var("EXT_SUFFIX"))
    paths = [path for path in sorted(top.rglob("*")) if path.suffix in _SUFFIXES or path.name.endswith(compiled)]
    files = {path.relative_to(PROJECT).as_posix(): path.read_bytes() for path in paths}
    info = f"mirex_submission-{package.version}.dist-info"
    for name in ("METADATA", "entry_points.txt", "licenses/LICENSE"):
        text = package.read_text(name)
        if name == "METADATA":
            text = text or package.read_text("PKG-INFO")  # a checkout has an `egg-info` folder
            header, blank, description = (text or "").partition("\n\n")
            lines = [line for line in header.splitlines() if not line.startswith(("Requires-Dist:", "Provides-Extra:"))]
            lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
            text = "\n".join(lines) + blank + description
        if text is not None:
            files[f"{info}/{name}"] = text.encode()
    is_pure = not any(name.endswith(compiled) for name in files)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    tag = "py3-none-any" if is_pure else f"{python}-{python}-{platform}"
    wheel = f"Wheel-Version: 1.0\nGenerator: mirex-submission\nRoot-Is-Purelib: {str(is_pure).lower()}\nTag: {tag}\n"
    files[f"{info}/WHEEL"] = wheel.encode()
    return _write(folder, package, files.items(), wheel)


def _is_editable(package: Distribution) -> bool:
    url = package.read_text("direct_url.json")
    return bool(url) and bool(json.loads(url or "{}").get("dir_info", {}).get("editable"))


def _hash(data: bytes, mode: str) -> str:
    return base64.urlsafe_b64encode(hashlib.new(mode, data).digest()).rstrip(b"=").decode()


def _write(folder: Path, package: Distribution, files: Iterable[tuple[str, bytes]], wheel: str) -> Path:
    """Write a wheel; the same files give the same bytes."""
    tags = [tag.split("-") for tag in re.findall(r"^Tag: *(\S+)", wheel, re.MULTILINE)]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    build = "".join(f"-{number}" for number in re.findall(r"^Build: *(\S+)", wheel, re.MULTILINE))
    name = re.sub(r"[-_.]+", "_", package.name).lower()
    path = folder / f"{name}-{package.version}{build}-{tag}.whl"
    record, info = [], ""
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in files:
            archive.writestr(_entry(file), data)
            record.append(f"{_field(file)},sha256={_hash(data, 'sha256')},{len(data)}\n")
            if file.endswith(".dist-info/METADATA"):
                info = file.removesuffix("/METADATA")
        archive.writestr(_entry(f"{info}/RECORD"), "".join([*record, f"{info}/RECORD,,\n"]))
    return path


def _entry(file: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(file)  # of 1980
    entry.external_attr, entry.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
    return entry


def _field(file: str) -> str:
    """Write a file's name as a field of CSV."""
    return '"' + file.replace('"', '""') + '"' if re.search('[",]', file) else file


def unpack(wheels: Iterable[Path], folder: Path) -> None:
    """Unpack wheels into one folder, for $PYTHONPATH."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
