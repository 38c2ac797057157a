"""Check the installation and print fixes: `mirex-submission doctor`."""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import DeviceError, MirexError, StorageError, UsageError, reason_of
from mirex_submission.system import compiled, installation, machine
from mirex_submission.system.installation import PROJECT, install_command
from mirex_submission.system.machine import size
from mirex_submission.version import __version__

ERROR, WARNING, OK, OPTIONAL = "error", "warning", "ok", "optional"  # in the order of the report

_AUDIO = ("WAV", "FLAC", "OGG", "MP3")
_EXTRAS = {
    "mirdata": "folds --from-mirdata",
    "completion": "completion",
    "dask": "extract --backend dask",
    "ray": "extract --backend ray",
    "export": "export --format onnx",
}
_BACKENDS = {"tensorflow": "a GPU, or KERAS_BACKEND", "jax": "KERAS_BACKEND=jax", "torch": "KERAS_BACKEND=torch"}
_COMPILER = "on Debian: apt-get install gcc python3-dev; then "


@dataclass(frozen=True)
class Fact:
    """One part of the installation.

    Parameters
    ----------
    part : str
        Name of the part.
    state : {"error", "warning", "ok", "optional"}
        "error": a MIREX command cannot run; "optional": missing and seldom needed.
    value : str
        Version, or another description.
    fix : str
        Command that repairs it; empty if there is nothing to do.
    error_type : type of MirexError
        Error that is raised if the state is "error".
    """

    part: str
    state: str
    value: str
    fix: str = ""
    error_type: type[MirexError] = UsageError


def examine(device: str, *, threads: int) -> list[Fact]:
    """Examine all parts of the installation; errors first, optional parts last.

    Parameters
    ----------
    device : str
        Device as in --device; for "gpu", Keras is started to list its GPUs, which takes seconds.
    threads : int
        Threads that the runs would use.
    """
    facts: list[Fact] = []
    for look in (
        _python, _packages, _scripts, _kernels, _audio, _backends, functools.partial(_gpus, device, threads),
        functools.partial(_processors, threads), _memory, _folders, _extras,
    ):  # fmt: skip
        try:
            facts += look()
        except ModuleNotFoundError as error:  # the part that needs the package cannot be examined
            if not any(fact.part == error.name for fact in facts):
                facts.append(Fact(str(error.name), ERROR, "not installed", install_command()))
    return sorted(facts, key=lambda fact: (ERROR, WARNING, OK, OPTIONAL).index(fact.state))


def report(device: str, *, threads: int, as_json: bool) -> None:
    """Print the state of all parts of the installation.

    Parameters
    ----------
    device, threads : str, int
        As in `examine`.
    as_json : bool
        Print one JSON object instead of lines.

    Raises
    ------
    MirexError
        The error of the first part whose state is "error".
    """
    facts = examine(device, threads=threads)
    errors = [fact for fact in facts if fact.state == ERROR]
    if as_json:
        parts = {fact.part: {"state": fact.state, "value": fact.value, "fix": fact.fix or None} for fact in facts}
        status = errors[0].error_type.exit_status if errors else 0
        print(json.dumps({"version": __version__, "status": status, "facts": parts}, indent=1, ensure_ascii=False))
    else:
        print(f"mirex-submission {__version__} in {PROJECT}\n")
        width = max(len(fact.part) for fact in facts)
        for fact in facts:
            label = fact.state.upper() if fact.state == ERROR else fact.state
            print(f"{label:8} {fact.part:{width}}  {fact.value}")
            if fact.fix:
                print(f"{'':{9 + width}}  -> {fact.fix}")
        print(f"\n{'some MIREX commands cannot run here' if errors else 'all MIREX commands can run here'}")
    if errors:
        text = f"{len(errors)} error(s): {', '.join(fact.part for fact in errors)}"
        raise errors[0].error_type(f"{text}: run the command below each error", code="check.installation")


def _python() -> Iterator[Fact]:
    from packaging.specifiers import SpecifierSet

    needed, version = installation.python_needed(), platform.python_version()
    fits = SpecifierSet(needed).contains(version, prereleases=True)
    fix = "" if fits else "install a Python of this version, or set MIREX_PYTHON to one"
    yield Fact("Python", OK if fits else ERROR, f"{version}, needs {needed or 'no other'}", fix)


def _packages() -> Iterator[Fact]:
    packages = installation.packages()
    if not packages:
        yield Fact("mirex-submission", WARNING, "not installed, so its requirements are unknown", install_command())
    for package in packages:
        value = f"{package.version or 'not installed'}, needs {package.needed}"
        yield Fact(package.name, OK if package.fits else ERROR, value, "" if package.fits else install_command())


def _scripts() -> Iterator[Fact]:
    """Check that the shell scripts are executable; unpacking an archive may remove this permission."""
    folder = PROJECT / "bin"
    closed = [path.name for path in sorted(folder.glob("*.sh")) if not os.access(path, os.X_OK)]
    if closed:
        yield Fact("shell scripts", ERROR, f"cannot be executed: {', '.join(closed)}", f"chmod +x {folder}/*.sh")
    elif folder.is_dir():
        yield Fact("shell scripts", OK, str(folder))


def _kernels() -> Iterator[Fact]:
    """Check the compiled kernels, or name their slower replacements."""
    for part, name, instead in (
        ("kernel of features", "features", "librosa, at a seventh of the speed"),
        ("kernel of networks", "networks", "Keras, at a half to a quarter of the speed, in ten times the memory"),
    ):
        kernel = compiled.load(f"mirex_submission.{name}._kernel")
        if kernel:
            yield Fact(part, OK, f"compiled, vectors of {kernel.LANES[-1]} floats")
        else:
            yield Fact(part, WARNING, f"not compiled; replaced by {instead}", f"{_COMPILER}{install_command()}")


def _audio() -> Iterator[Fact]:
    """Check libsndfile, and that it writes and reads a short clip of every format."""
    try:
        import numpy as np
        import soundfile
    except OSError as error:  # soundfile finds no libsndfile
        yield Fact("libsndfile", ERROR, str(error), f"{install_command()}; or apt-get install libsndfile1")
        return
    yield Fact("libsndfile", OK, soundfile.__libsndfile_version__)
    for name in _AUDIO:
        file = io.BytesIO()
        try:
            soundfile.write(file, np.zeros(22050, np.float32), 22050, format=name)
            file.seek(0)
            soundfile.read(file)
        except (soundfile.SoundFileError, ValueError, TypeError):
            # MIREX's audio is WAV.
            state = ERROR if name == "WAV" else WARNING
            fix = "pip install --force-reinstall soundfile (with libsndfile 1.1 or newer)"
            yield Fact(f"{name} audio", state, "cannot be decoded", fix)
        else:
            yield Fact(f"{name} audio", OK, "can be decoded")


def _backends() -> Iterator[Fact]:
    chosen = os.environ.get("KERAS_BACKEND")
    for name, use in _BACKENDS.items():
        if importlib.util.find_spec(name):
            note = ", chosen by KERAS_BACKEND" if chosen == name else ""
            yield Fact(f"Keras on {name}", OK, f"{installation.installed(name) or 'installed'}{note}")
        elif name != "tensorflow":  # it is among the requirements
            yield Fact(f"Keras on {name}", OPTIONAL, f"not installed; for {use}", install_command("backends"))


def _gpus(device: str, threads: int) -> Iterator[Fact]:
    from mirex_submission.networks import engine as engines

    requested = device.startswith("gpu")
    try:
        engines.check_device(device if requested else "gpu")
        value = "the system has one; `doctor --device gpu` checks it with Keras, which takes 5 s"
        if requested:
            value = engines.start(device, threads=threads, seed=0).description
    except DeviceError as error:
        if requested:
            yield Fact("GPU", ERROR, str(error), install_command("gpu"), DeviceError)
        else:
            yield Fact("GPU", OK, "none, and none is needed")
    else:
        yield Fact("GPU", OK, value)


def _processors(threads: int) -> Iterator[Fact]:
    affinity = len(os.sched_getaffinity(0))
    n = machine.processors()
    value = f"{n} of {os.cpu_count()} may be used ({affinity} by affinity); -numThreads is {threads}"
    too_many = threads > n
    fix = f"give -numThreads {n}" if too_many else ""
    yield Fact("processors", WARNING if too_many else OK, value, fix)


def _memory() -> Iterator[Fact]:
    room = machine.memory_room()
    value = "; ".join(f"{limit} leaves {size(n)}" for limit, n in room.items())
    scarce = min(room.values(), default=machine.ENOUGH_BYTES) < machine.ENOUGH_BYTES
    fix = "end other programs, or raise the limit" if scarce else ""
    yield Fact("memory", WARNING if scarce else OK, value, fix)


def _folders() -> Iterator[Fact]:
    """Check /dev/shm, which holds the semaphores of several processes, and the folder for temporary files."""
    try:
        shm = os.statvfs("/dev/shm")
        multiprocessing.Semaphore()
    except OSError as error:
        value = f"{reason_of(error)}: extraction cannot use several processes"
        yield Fact("/dev/shm", WARNING, value, "mount -t tmpfs tmpfs /dev/shm")
    else:
        # It only holds semaphores; joblib's arrays are in the scratch folder.
        yield Fact("/dev/shm", OK, f"{size(shm.f_blocks * shm.f_frsize)}; a few kilobytes are used")
    try:
        folder = Path(tempfile.gettempdir())
        free, _ = machine.disk_room(folder)
    except (OSError, StorageError) as error:
        yield Fact("temporary folder", WARNING, str(error), "set TMPDIR to a writable folder")
    else:
        yield Fact("temporary folder", OK, f"{folder}, {size(free)} free")


def _extras() -> Iterator[Fact]:
    for extra, use in _EXTRAS.items():
        missing = [package for package in installation.packages(extra) if not package.fits]
        if missing:
            names = ", ".join(f"{package.name} {package.version or 'is not installed'}" for package in missing)
            yield Fact(f"extra [{extra}]", OPTIONAL, f"{names}; for {use}", install_command(extra))
        else:
            yield Fact(f"extra [{extra}]", OK, f"installed; for {use}")
