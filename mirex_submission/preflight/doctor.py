"""What this installation has and lacks, and the command that mends it: `mirex-submission doctor`."""

from __future__ import annotations

import functools
import importlib
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

from mirex_submission.errors import DeviceError, MirexError, StorageError, UsageError
from mirex_submission.system import installation, machine
from mirex_submission.system.installation import PROJECT, install_command
from mirex_submission.system.machine import size
from mirex_submission.version import __version__

FAULT, WARNING, OK, OPTION = "FAULT", "warning", "ok", "option"  # in the order in which they are told

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
    """state : FAULT, some call of MIREX cannot run; WARNING; OPTION, not there and seldom needed; OK.

    mend : the command that mends it, "" where nothing is to be done. kind : the error in which a fault would end.
    """

    part: str
    state: str
    found: str
    mend: str = ""
    kind: type[MirexError] = UsageError


def examine(device: str, *, threads: int) -> list[Fact]:
    """All facts, worst first, and last what is seldom needed.

    device : as --device; "gpu" asks Keras for its GPUs, which takes seconds.
    """
    found: list[Fact] = []
    for look in (
        _python, _packages, _scripts, _kernels, _audio, _backends, functools.partial(_gpus, device, threads),
        functools.partial(_processors, threads), _memory, _folders, _extras,
    ):  # fmt: skip
        try:
            found += look()
        except ModuleNotFoundError as error:  # what needs it cannot be looked at
            if not any(fact.part == error.name for fact in found):
                found.append(Fact(str(error.name), FAULT, "not installed", install_command()))
    return sorted(found, key=lambda fact: (FAULT, WARNING, OK, OPTION).index(fact.state))


def report(device: str, *, threads: int, as_json: bool) -> None:
    """Print all facts. Raises the error of the first fault."""
    facts = examine(device, threads=threads)
    faults = [fact for fact in facts if fact.state == FAULT]
    if as_json:
        told = {fact.part: {"state": fact.state, "found": fact.found, "mend": fact.mend or None} for fact in facts}
        status = faults[0].kind.exit_status if faults else 0
        print(json.dumps({"version": __version__, "status": status, "facts": told}, indent=1, ensure_ascii=False))
    else:
        print(f"mirex-submission {__version__} in {PROJECT}\n")
        width = max(len(fact.part) for fact in facts)
        for fact in facts:
            print(f"{fact.state:8} {fact.part:{width}}  {fact.found}")
            if fact.mend:
                print(f"{'':{9 + width}}  -> {fact.mend}")
        print(f"\n{'MIREX calls cannot all run here' if faults else 'the four MIREX calls can run here'}")
    if faults:
        raise faults[0].kind(f"{len(faults)} fault(s): {', '.join(fact.part for fact in faults)}")


def _python() -> Iterator[Fact]:
    from packaging.specifiers import SpecifierSet

    needed, version = installation.python_needed(), platform.python_version()
    fits = SpecifierSet(needed).contains(version, prereleases=True)
    mend = "" if fits else "install such a Python, or set MIREX_PYTHON to one"
    yield Fact("Python", OK if fits else FAULT, f"{version}, needs {needed or 'no other'}", mend)


def _packages() -> Iterator[Fact]:
    packages = installation.packages()
    if not packages:
        yield Fact("mirex-submission", WARNING, "not installed, so that its needs are not known", install_command())
    for package in packages:
        found = f"{package.found or 'not installed'}, needs {package.needed}"
        yield Fact(package.name, OK if package.fits else FAULT, found, "" if package.fits else install_command())


def _scripts() -> Iterator[Fact]:
    """The shell scripts, which an archive that was unpacked carelessly leaves without their right to run."""
    folder = PROJECT / "bin"
    closed = [path.name for path in sorted(folder.glob("*.sh")) if not os.access(path, os.X_OK)]
    if closed:
        yield Fact("shell scripts", FAULT, f"cannot be executed: {', '.join(closed)}", f"chmod +x {folder}/*.sh")
    elif folder.is_dir():
        yield Fact("shell scripts", OK, str(folder))


def _kernels() -> Iterator[Fact]:
    """The kernels in C, or what does the same more slowly."""
    for part, name, instead in (
        ("kernel of features", "features", "SciPy, at a fifth of the speed"),
        ("kernel of networks", "networks", "Keras, at a half to a quarter of the speed and with ten times the memory"),
    ):
        kernel = importlib.import_module(f"mirex_submission.{name}.compiled").kernel
        if kernel:
            yield Fact(part, OK, f"compiled, vectors of {kernel.LANES[-1]} floats")
        else:
            yield Fact(part, WARNING, f"not compiled: instead {instead}", f"{_COMPILER}{install_command()}")


def _audio() -> Iterator[Fact]:
    """libsndfile, and of each format whether it writes and reads a short clip."""
    try:
        import numpy as np
        import soundfile
    except OSError as error:  # soundfile finds no libsndfile
        yield Fact("libsndfile", FAULT, str(error), f"{install_command()}; or apt-get install libsndfile1")
        return
    yield Fact("libsndfile", OK, soundfile.__libsndfile_version__)
    for name in _AUDIO:
        file = io.BytesIO()
        try:
            soundfile.write(file, np.zeros(22050, np.float32), 22050, format=name)
            file.seek(0)
            soundfile.read(file)
        except (soundfile.SoundFileError, ValueError, TypeError):
            # MIREX's audio is WAV: without the others the calls can run.
            state = FAULT if name == "WAV" else WARNING
            mend = "libsndfile 1.1 or newer, as it comes with `pip install --force-reinstall soundfile`"
            yield Fact(f"{name} audio", state, "cannot be decoded", mend)
        else:
            yield Fact(f"{name} audio", OK, "can be decoded")


def _backends() -> Iterator[Fact]:
    chosen = os.environ.get("KERAS_BACKEND")
    for name, use in _BACKENDS.items():
        found = importlib.util.find_spec(name) is not None
        version = installation.installed(name)
        what = f"{version or 'there'}{', chosen by KERAS_BACKEND' if chosen == name else ''}"
        if found:
            yield Fact(f"Keras on {name}", OK, what)
        elif name != "tensorflow":  # which is among the packages that are needed
            yield Fact(f"Keras on {name}", OPTION, f"not installed; for {use}", install_command("backends"))


def _gpus(device: str, threads: int) -> Iterator[Fact]:
    from mirex_submission.networks import engine as engines

    asked = device.startswith("gpu")
    try:
        engines.check_device(device if asked else "gpu")
        started = engines.start(device, threads=threads, seed=0) if asked else None
        said = started.description if started else "the system has a device of one; "
    except DeviceError as error:
        if asked:
            yield Fact("GPU", FAULT, str(error), install_command("gpu"), DeviceError)
        else:
            yield Fact("GPU", OK, "the system shows none, and none is needed")
    else:
        yield Fact("GPU", OK, said if asked else f"{said}`doctor --device gpu` asks Keras for it, which takes 5 s")


def _processors(threads: int) -> Iterator[Fact]:
    affinity = len(os.sched_getaffinity(0))
    n = machine.processors()
    found = f"{n} may be used, of {os.cpu_count()} ({affinity} by affinity); -numThreads is {threads}"
    too_many = threads > n
    mend = f"give -numThreads {n}" if too_many else ""
    yield Fact("processors", WARNING if too_many else OK, found, mend)


def _memory() -> Iterator[Fact]:
    room = machine.memory_room()
    found = "; ".join(f"{by} leaves {size(n)}" for by, n in room.items())
    scarce = min(room.values(), default=machine.ENOUGH_BYTES) < machine.ENOUGH_BYTES
    mend = "end other programs, or raise the limit" if scarce else ""
    yield Fact("memory", WARNING if scarce else OK, found, mend)


def _folders() -> Iterator[Fact]:
    """/dev/shm, for the semaphores of several processes, and the folder for temporary files."""
    try:
        shm = os.statvfs("/dev/shm")
        multiprocessing.Semaphore()
    except OSError as error:
        found = f"{error.strerror or error}: extraction cannot use several processes"
        yield Fact("/dev/shm", WARNING, found, "mount -t tmpfs tmpfs /dev/shm")
    else:
        # Nothing large lies there: joblib's arrays are in SCRATCH.
        yield Fact("/dev/shm", OK, f"{size(shm.f_blocks * shm.f_frsize)}, of which next to nothing is used")
    try:
        folder = Path(tempfile.gettempdir())
        free, _ = machine.disk_room(folder)
    except (OSError, StorageError) as error:
        yield Fact("temporary folder", WARNING, str(error), "set TMPDIR to a folder that can be written")
    else:
        yield Fact("temporary folder", OK, f"{folder}, {size(free)} free")


def _extras() -> Iterator[Fact]:
    for extra, use in _EXTRAS.items():
        wanting = [package for package in installation.packages(extra) if not package.fits]
        if wanting:
            names = ", ".join(f"{package.name} {package.found or 'is not installed'}" for package in wanting)
            yield Fact(f"extra [{extra}]", OPTION, f"{names}; for {use}", install_command(extra))
        else:
            yield Fact(f"extra [{extra}]", OK, f"installed; for {use}")
