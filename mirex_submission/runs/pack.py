"""Pack a trained model as a folder that is a complete submission: it is installed, built and run without a network.

The pack is tried before it is put in place: its wheels are unpacked into an empty folder, and what they hold, without
any other package, has to classify a clip. The time and memory of that are what resources.json declares.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import psutil
import soundfile

from mirex_submission.errors import InstallationError, UsageError
from mirex_submission.features import kernel as feature_kernel
from mirex_submission.models import bundle as bundles
from mirex_submission.models import card, resources
from mirex_submission.models.bundle import AnyBundle, ViewBundle
from mirex_submission.networks import kernel as network_kernel
from mirex_submission.networks.sizes import ARCHITECTURES
from mirex_submission.runs.inference import copy
from mirex_submission.runs.options import PackOptions
from mirex_submission.system import machine, wheels
from mirex_submission.system.atomic import replace_folder, sha256, storage_error, temporary_folder, write_file
from mirex_submission.system.progress import shortened
from mirex_submission.version import __version__

log = logging.getLogger(__name__)

# What a prediction imports; setup.py names more, for training, evaluation and pictures.
_REQUIREMENTS = ("joblib", "msgspec", "numpy", "packaging", "soundfile", "soxr", "threadpoolctl", "xxhash")
# What a file of a pack's program is run by: nothing is imported from the current folder.
_CODE = "import sys; sys.path[:] = filter(None, sys.path); from mirex_submission.cli.main import main; sys.exit(main())"
_RATE_HZ, _REPEATS, _SAMPLE_S = 44100, 3, 0.01
_RESOURCES = "resources.json"


def pack(model: str | os.PathLike[str], output: str | os.PathLike[str], options: PackOptions, *, threads: int) -> Path:
    """Write a submission with a trained model inside.

    Parameters
    ----------
    model : path
        Scratch folder, or the folder of a model in it.
    output : path
        Folder to write; a former pack in its place is replaced.
    options : PackOptions
    threads : int
        Threads of the measurement.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError, ModelError, StorageError
        The call is wrong, the model is missing or damaged, the folder cannot be written.
    InstallationError
        A package is missing, damaged or cannot be downloaded, or the packed submission does not run.
    """
    folder, path = _model_folder(model, options.name), Path(os.path.realpath(output))
    bundle = bundles.load(folder)
    described = resources.describe(folder, bundle)
    _check_output(path)
    packages = wheels.needed(_requirements(bundle))
    log.info("packages of inference: %s", ", ".join(f"{p.name} {p.version}" for p in packages))
    try:
        with temporary_folder(path.parent) as beside:
            new = beside / path.name
            copy(folder, new / "model")
            clip = _write_clip(new / "example")
            _write_wheels(new / "wheels", packages, offline=options.offline)
            _write_requirements(new)
            measured = _measure(new, clip, beside / "tried", threads)
            _write_texts(new, path.name, bundle, options, measured)
            if options.harness == "dcase":
                _write_dcase(new, options.label)
            _write_resources(new, described, measured)
            _open_to_all(new)
            replace_folder(new, path)
    except OSError as error:
        raise storage_error(error, path) from error
    log.info("a clip of %d s: %.2f s, %s", resources.CLIP_S, measured["seconds"], measured["machine"]["processor"])
    log.info("packed for %s: %s, %s", options.harness, path, machine.size(_size(path)))
    return path


def _model_folder(model: str | os.PathLike[str], name: str | None) -> Path:
    """Return the folder of the model that is meant by a scratch folder and a name, or by itself."""
    given = Path(model).absolute()
    if (given / "bundle.json").exists() and not name:
        return given
    return bundles.folder_of(given, name)


def _check_output(path: Path) -> None:
    if path.is_dir() and os.listdir(path) and not (path / _RESOURCES).is_file():
        raise UsageError(f"{path}: not a pack, and its files would be lost: give another OUT", code="pack.output")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: a file, and a pack is a folder: give another OUT", code="pack.output")


def _requirements(bundle: AnyBundle) -> list[str]:
    """Return the packages that a prediction of this model imports."""
    names = [*_REQUIREMENTS, *(package for package, _ in bundle.packages.values())]
    if isinstance(bundle, ViewBundle):
        names.append("scipy")
    elif network_kernel.compiled is None or not set(bundle.recipe.networks) <= set(ARCHITECTURES):
        names += ["keras", "tensorflow"]
    if feature_kernel.compiled is None:
        names.append("librosa")
    return names


def _write_clip(folder: Path) -> Path:
    """Write a clip of a rising tone in noise, to try and to measure a submission on."""
    time_s = np.arange(resources.CLIP_S * _RATE_HZ) / _RATE_HZ
    noise = np.random.default_rng(0).normal(0, 0.05, len(time_s)) * np.square(np.sin(3 * time_s))
    samples = noise + 0.3 * np.sin(2 * np.pi * (100 + 20 * time_s) * time_s)
    folder.mkdir()
    soundfile.write(folder / "clip.wav", samples, _RATE_HZ, subtype="PCM_16")
    return folder / "clip.wav"


def _write_wheels(folder: Path, packages: Sequence[Distribution], *, offline: bool) -> None:
    folder.mkdir()
    wheels.build_own(folder, [f"{package.name}=={package.version}" for package in packages])
    local = [package for package in packages if offline or wheels.is_local(package)]
    for package in local:
        wheels.rebuild(package, folder)
    wheels.download([package for package in packages if package not in local], folder)


def _write_requirements(new: Path) -> None:
    """Pin each wheel by its version and hash."""
    lines = []
    for wheel in sorted((new / "wheels").iterdir()):
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{sha256(wheel)}\n")
    write_file(new / "requirements.txt", "".join(lines).encode())


def _measure(new: Path, clip: Path, site: Path, threads: int) -> dict[str, Any]:
    """Classify a clip with what the wheels hold; return time, memory and machine. Raises InstallationError."""
    wheels.unpack((new / "wheels").iterdir(), site)
    answer = site / "answer.txt"
    # -S: the packages of this installation are out of reach.
    command = [sys.executable, "-S", "-c", _CODE, "predict", "-q", "-numThreads", str(threads)]
    command += [str(new / "model"), str(clip), str(answer)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KERAS_"))}
    environment = {**inherited, "PYTHONPATH": str(site), "PYTHONUTF8": "1", "MIREX_DEVICE": "cpu"}
    measured = []
    for _ in range(1 + _REPEATS):  # the first one compiles
        with open(site / "log", "w+") as log_file:
            status, *figures = _timed(command, environment, log_file)
            measured.append(figures)
            if status or not answer.is_file():
                log_file.seek(0)
                text = f"the packed submission does not run (status {status}): {shortened(log_file.read().strip())}"
                raise InstallationError(text, code="pack.does-not-run")
    times_s, processor_s, peaks = zip(*measured[1:], strict=True)
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "clip_seconds": resources.CLIP_S,
        "seconds": round(statistics.median(times_s), 3),
        "processor_seconds": round(statistics.median(processor_s), 3),
        "peak_memory_bytes": max(peaks),
        "threads": threads,
        "runs": _REPEATS,
        "machine": {
            "processor": processor[1] if processor else platform.machine(),
            "processors": machine.processors(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }


def _timed(command: Sequence[str], environment: dict[str, str], output: TextIO) -> tuple[int, float, float, int]:
    """Run a command; return its status, seconds, processor seconds, and the peak memory of its largest process."""
    started_s, peak = time.perf_counter(), 0
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    pid = 0
    while not pid:
        time.sleep(_SAMPLE_S)
        peak = max(peak, _peak(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, time.perf_counter() - started_s, usage.ru_utime + usage.ru_stime, peak


def _peak(pid: int) -> int:
    """Return the peak memory so far of a process or a child of it; that of `wait4` holds what started the process."""
    peaks = [0]
    with contextlib.suppress(psutil.Error, OSError):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peaks += [1024 * int(kib) for kib in re.findall(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)]
    return max(peaks)


def _write_texts(new: Path, name: str, bundle: AnyBundle, options: PackOptions, measured: dict[str, Any]) -> None:
    """Write Dockerfile, run.sh and README.md."""
    values = {
        "tag": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "submission",
        "harness": options.harness,
        "label": options.label,
        "author": options.author,
        "version": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "machine": platform.machine(),
        "code": _CODE,
        "recipe": bundle.recipe.name,
        "views": isinstance(bundle, ViewBundle),
        "calibrated": bundle.calibration is not None,
        "classes": bundle.classes,
        "measured": measured,
        "clip_s": resources.CLIP_S,
        "clip_bytes": sum(4 * spec.n_columns * spec.rows_in(resources.CLIP_S) for spec in bundle.specs),
    }
    for template, file in (("dockerfile", "Dockerfile"), ("run.sh", "run.sh"), ("readme.md", "README.md")):
        write_file(new / file, card.render(f"pack_{template}.jinja", **values).encode())


def _write_dcase(new: Path, label: str) -> None:
    """Write the package LABEL, whose module LABEL_1 has DCASE's functions, with the model and their dummy clip."""
    package = new / label
    shutil.copytree(new / "model", package / "model")
    (package / "resources").mkdir()
    shutil.copyfile(new / "example/clip.wav", package / "resources/dummy.wav")
    write_file(package / f"{label}_1.py", card.render("pack_dcase.py.jinja").encode())
    names = "get_model_for_device, load_inputs, load_model, predict"
    write_file(package / "__init__.py", f"from .{label}_1 import {names}\n".encode())
    write_file(package / "resources/__init__.py", b"")
    project = (
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n\n'
        f'[project]\nname = "{label}"\nversion = "{__version__}"\n\n'
        f'[tool.setuptools]\npackages = ["{label}", "{label}.resources"]\n\n'
        f'[tool.setuptools.package-data]\n"*" = ["model/*", "*.wav"]\n'
    )
    write_file(new / "pyproject.toml", project.encode())


def _write_resources(new: Path, described: dict[str, Any], measured: dict[str, Any]) -> None:
    record = {
        "program": f"mirex-submission {__version__}",
        **described,
        "measured": measured,
        "size_bytes": {"model": _size(new / "model"), "wheels": _size(new / "wheels"), "pack": _size(new)},
        "model_sha256": hashlib.sha256((new / "model/bundle.json").read_bytes()).hexdigest(),
    }
    write_file(new / _RESOURCES, (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _open_to_all(folder: Path) -> None:
    """Let any user read the files: a container runs as a user that owns none of them."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.name == "run.sh" else 0o644)
