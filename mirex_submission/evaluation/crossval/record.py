"""What was called, as `runs.json` beside results.json: from it a report has times, memory, logs and exact commands.

systems      {name: command_dir, extraction (a call, or null), folds {name: calls, output, probabilities, history,
             sha256 of these three, faults}}: paths from here, or null for what there is not; faults: why an output
             does not count, or not all of it
a call       call, argv, status, seconds, cpu_seconds, peak_mb, log, attempts, fault: see step.StepResult
versions, lists {path: SHA-256}, started, commands
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mirex_submission.evaluation.crossval.run import FoldRun, SystemRun
from mirex_submission.evaluation.crossval.step import StepResult
from mirex_submission.evaluation.folds.lists import FoldLists, TaskLists
from mirex_submission.evaluation.judging import validate as validation
from mirex_submission.protocol import lists
from mirex_submission.protocol.outputs import Kind
from mirex_submission.system.atomic import sha256, write_file
from mirex_submission.system.runtime import versions


def write_runs(
    path: Path, task: TaskLists, runs: Sequence[SystemRun], *, started: str, command: str
) -> dict[str, list[str]]:
    """Write runs.json; returns {`NAME FOLD`: its faults} for those that have any."""
    faults = {}
    systems: dict[str, Any] = {}
    for system in runs:
        name = system.plan.submission.name
        folds = {}
        for fold, run in zip(system.plan.folds, system.folds, strict=True):
            found = _faults(fold.lists, run, system.extraction)
            if found:
                faults[f"{name} {fold.lists.name}"] = found
            files = {name: getattr(run, name) for name in ("output", "probabilities", "history")}
            folds[fold.lists.name] = {
                "calls": [_call(result) for result in run.steps],
                **{name: file and _within(file, path.parent) for name, file in files.items()},
                "sha256": {name: file and sha256(file) for name, file in files.items()},
                "faults": found,
            }
        systems[name] = {
            "command_dir": system.plan.submission.folder,
            "extraction": system.extraction and _call(system.extraction),
            "folds": folds,
        }
    record = {
        "systems": systems,
        "versions": versions(),
        "lists": task.hashes(),
        "started": started,
        "commands": [command],
    }
    write_file(path, json.dumps(record, indent=1, default=str).encode())
    return faults


def _call(result: StepResult) -> dict[str, Any]:
    """A step as the file has it."""
    names = {"name": "call", "problem": "fault"}
    return {names.get(name, name): value for name, value in msgspec.structs.asdict(result).items()}


def _within(file: Path, folder: Path) -> str:
    """Its path from the folder: results that are moved as a whole stay whole."""
    return str(file.relative_to(folder))


def _faults(fold: FoldLists, run: FoldRun, extraction: StepResult | None) -> list[str]:
    for result in filter(None, (extraction, *run.steps)):
        if result.problem:
            return [f"{result.name}: {result.problem}"]
    assert run.output  # as no call has a fault
    tracks, labelled = lists.read_unlabelled(fold.test), lists.read_labelled(fold.train, for_evaluator=False)
    findings = validation.output_findings(tracks, labelled, run.output)
    # White space that cuts a line is in the lists' own paths and labels: no fault of who repeats them.
    return [str(finding) for finding in findings if finding.kind is not Kind.CUT_LINE]
