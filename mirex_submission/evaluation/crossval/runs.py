"""How the judged systems were run: the calls, times and training histories that `runs.json` beside the results names.

`crossval` writes the file; outputs that were made in another way have none, and nothing here is then known. Of a file
that it names and that cannot be read, a note says so.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.shape import fault_of
from mirex_submission.system.atomic import sha256

RUNS = "runs.json"
_CURVES = ("loss", "accuracy", "validation_loss", "validation_accuracy")
_CALL = {"call?": str, "argv?": [str], "status?": int, "seconds?": float, "peak_mb?": float, "log?": str, "fault?": str}
_FOLD = {
    "calls?": [_CALL],
    "probabilities?": str,
    "history?": str,
    "sha256?": {"probabilities?": str, "history?": str},
    "faults?": [str],
}
_SHAPE = {
    "systems?": {str: {"extraction?": _CALL, "folds?": {str: _FOLD}}},
    "versions?": {str: str},
    "lists?": {str: str},
    "started?": str,
    "commands?": [str],
}
_WHAT_TO_DO = "write it again with crossval, or take it away"


@dataclass(frozen=True)
class Call:
    """One call of a system's command; fold: None for the extraction, which serves all."""

    system: str
    fold: str | None
    call: str
    argv: list[str]
    status: int | None
    seconds: float | None
    peak_mb: float | None
    log: str | None
    fault: str | None


@dataclass
class Runs:
    """What is known of the runs of all systems.

    probabilities : (system, fold) -> file. faults : `SYSTEM FOLD` -> why its output does not count, or not all of it.
    histories : system -> network -> the columns of each training: epoch, loss, accuracy and perhaps validation_loss,
        validation_accuracy, float64 [shape=(n_epochs,)].
    """

    calls: list[Call] = field(default_factory=list)
    probabilities: dict[tuple[str, str], Path] = field(default_factory=dict)
    histories: dict[str, dict[str, list[dict[str, np.ndarray]]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    lists: dict[str, str] = field(default_factory=dict)
    started: str | None = None
    commands: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def seconds(self) -> dict[str, dict[str, float]]:
        """System -> call -> the seconds of all folds together, of what was timed."""
        spent: dict[str, dict[str, float]] = {}
        for call in self.calls:
            if call.seconds is not None:
                times = spent.setdefault(call.system, {})
                times[call.call] = times.get(call.call, 0.0) + call.seconds
        return spent


def read_runs(folder: Path) -> Runs:
    """What `runs.json` in the folder says, and the histories that it names; nothing where there is no such file.

    Raises ListError if it is there and cannot be read.
    """
    path = folder / RUNS
    if not path.exists():
        return Runs(notes=[f"no {RUNS} beside the results: times, memory and training histories are not known"])
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ListError(f"{path}: cannot be read: {error}: {_WHAT_TO_DO}") from error
    if fault := fault_of(said, _SHAPE):
        raise ListError(f"{path}: {fault}: {_WHAT_TO_DO}")
    return _runs(folder, said)


def _runs(folder: Path, said: dict[str, Any]) -> Runs:
    runs = Runs(
        versions=said.get("versions") or {},
        lists=said.get("lists") or {},
        started=said.get("started"),
        commands=said.get("commands") or [],
    )
    for system, ran in (said.get("systems") or {}).items():
        runs.calls += _calls(system, ran)
        for fold, of_fold in (ran.get("folds") or {}).items():
            if of_fold.get("faults"):
                runs.faults[f"{system} {fold}"] = of_fold["faults"]
            hashes = of_fold.get("sha256") or {}
            if of_fold.get("probabilities"):
                probabilities = folder / of_fold["probabilities"]
                if _is_of_run(probabilities, hashes.get("probabilities"), runs):
                    runs.probabilities[system, fold] = probabilities
            if of_fold.get("history"):
                history = folder / of_fold["history"]
                if not _is_of_run(history, hashes.get("history"), runs):
                    continue
                try:
                    curves = _read_history(history)
                except (OSError, ValueError) as error:
                    runs.notes.append(f"{history}: no history of a training could be read: {error}")
                    continue
                for network, columns in curves.items():
                    runs.histories.setdefault(system, {}).setdefault(network, []).append(columns)
    return runs


def _is_of_run(path: Path, sha256_then: str | None, runs: Runs) -> bool:
    """Whether a file is still what the run left there; it is what reads it that says if it is not there at all."""
    if sha256_then is None or not path.exists() or sha256(path) == sha256_then:
        return True
    runs.notes.append(f"{path}: left out: a later run has changed it")
    return False


def _calls(system: str, ran: dict[str, Any]) -> Iterator[Call]:
    extraction = [(None, ran["extraction"])] if ran.get("extraction") else []
    of_folds = [(fold, call) for fold, said in (ran.get("folds") or {}).items() for call in said.get("calls") or []]
    for fold, call in [*extraction, *of_folds]:
        yield Call(
            system=system,
            fold=fold,
            call=call.get("call") or "extract",
            argv=call.get("argv") or [],
            status=call.get("status"),
            seconds=call.get("seconds"),
            peak_mb=call.get("peak_mb"),
            log=call.get("log"),
            fault=call.get("fault"),
        )


def _read_history(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Network -> its columns, by epoch. Raises ValueError for what is no history."""
    with open(path, newline="", encoding="utf-8") as f:
        table = csv.DictReader(f, strict=True)
        lines = defaultdict(list)
        try:
            missing = {"model", "epoch", "loss", "accuracy"} - set(table.fieldnames or ())
            if missing:
                raise ValueError(f"it has no column {', '.join(sorted(missing))}")
            for line in table:
                lines[line["model"]].append(line)
        except csv.Error as error:
            raise ValueError(f"line {table.line_num}: {error}") from error
        named = ["epoch", *(name for name in _CURVES if name in (table.fieldnames or ()))]
    return {
        # Where a line lacks a value, its curve has a gap.
        network: {name: np.array([float(line[name] or "nan") for line in of_network]) for name in named}
        for network, of_network in lines.items()
    }
