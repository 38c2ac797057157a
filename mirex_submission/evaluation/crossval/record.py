"""The file `runs.json`, beside `results.json`: times, memory, logs and exact commands of all steps.

The classes below define the format, for writing and reading. Paths of outputs, probabilities and histories are relative
to the folder of the file, so that the whole folder can be moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from mirex_submission.errors import ListError, reason_of
from mirex_submission.evaluation.crossval.run import FoldRun, SystemRun
from mirex_submission.evaluation.crossval.step import StepResult
from mirex_submission.evaluation.folds.lists import FoldLists, TaskLists
from mirex_submission.evaluation.judging import validate as validation
from mirex_submission.evaluation.records import Amount, Count, read_record
from mirex_submission.protocol import lists
from mirex_submission.protocol.findings import Kind
from mirex_submission.system.atomic import sha256, write_file
from mirex_submission.system.runtime import versions

RUNS = "runs.json"


class StepRecord(Struct, frozen=True):
    """One shell call of a system's script; problem: why it failed, None if it succeeded."""

    name: str = field(name="call", default="extract")
    argv: list[str] = []
    status: Count | None = None
    seconds: Amount | None = None
    cpu_seconds: Amount | None = None
    peak_mb: Amount | None = None
    log: str | None = None
    attempts: Count | None = None
    problem: str | None = field(name="fault", default=None)


class FoldRecord(Struct, frozen=True):
    """The steps of a fold and the files that they wrote; problems: why the output is left out or incomplete."""

    steps: list[StepRecord] = field(name="calls", default_factory=list)
    output: str | None = None
    probabilities: str | None = None
    history: str | None = None
    sha256: dict[str, str | None] = {}
    problems: list[str] = field(name="faults", default_factory=list)


class SystemRecord(Struct, frozen=True):
    """The steps of a system; all folds share the extraction."""

    command_dir: str = ""
    extraction: StepRecord | None = None
    folds: dict[str, FoldRecord] = {}


class RunRecord(Struct, frozen=True):
    """The whole file; lists: {path: SHA-256}."""

    systems: dict[str, SystemRecord]
    versions: dict[str, str] = {}
    lists: dict[str, str] = {}
    started: str | None = None
    commands: list[str] = []

    def steps(self) -> Iterator[tuple[str, str | None, StepRecord]]:
        """Yield system, fold (None for the extraction) and step."""
        for name, system in self.systems.items():
            if system.extraction:
                yield name, None, system.extraction
            for fold, fold_record in system.folds.items():
                yield from ((name, fold, step) for step in fold_record.steps)

    def problems(self) -> dict[str, list[str]]:
        """Return {`SYSTEM FOLD`: why its output is left out or incomplete}."""
        return {
            f"{name} {fold}": fold_record.problems
            for name, system in self.systems.items()
            for fold, fold_record in system.folds.items()
            if fold_record.problems
        }


def write_runs(
    path: Path, task: TaskLists, runs: Sequence[SystemRun], *, started: str, command: str
) -> dict[str, list[str]]:
    """Write runs.json; return {`SYSTEM FOLD`: its problems} for the folds that have problems."""
    record = RunRecord(
        systems={system.plan.submission.name: _system_record(system, path.parent) for system in runs},
        versions=versions(),
        lists=task.hashes(),
        started=started,
        commands=[command],
    )
    write_file(path, json.dumps(msgspec.to_builtins(record), indent=1).encode())
    return record.problems()


def _system_record(system: SystemRun, folder: Path) -> SystemRecord:
    folds = {}
    for fold, run in zip(system.plan.folds, system.folds, strict=True):
        files = {"output": run.output, "probabilities": run.probabilities, "history": run.history}
        folds[fold.lists.name] = FoldRecord(
            steps=[_step_record(step) for step in run.steps],
            **{name: str(file.relative_to(folder)) if file else None for name, file in files.items()},
            sha256={name: sha256(file) if file else None for name, file in files.items()},
            problems=_problems(fold.lists, run, system.extraction),
        )
    extraction = _step_record(system.extraction) if system.extraction else None
    return SystemRecord(str(system.plan.submission.folder), extraction, folds)


def _step_record(step: StepResult) -> StepRecord:
    return StepRecord(**msgspec.structs.asdict(step))


def _problems(fold: FoldLists, run: FoldRun, extraction: StepResult | None) -> list[str]:
    for step in filter(None, (extraction, *run.steps)):
        if step.problem:
            return [f"{step.name}: {step.problem}"]
    assert run.output  # as no step has a problem
    tracks, labelled = lists.read_unlabelled(fold.test), lists.read_labelled(fold.train, for_evaluator=False)
    findings = validation.output_findings(tracks, labelled, run.output)
    # White space in a path or label comes from the lists: the system only repeats it.
    return [str(finding) for finding in findings if finding.kind is not Kind.CUT_LINE]


def read_runs(folder: Path) -> RunRecord | None:
    """Read `runs.json` in the folder; return None if there is no such file.

    Raises
    ------
    ListError
        The file cannot be read, or is not in the format of `crossval`.
    """
    path = folder / RUNS
    try:
        return read_record(path, RunRecord)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        text = f"{path}: cannot be read: {reason_of(error)}: run crossval again, or remove the file"
        raise ListError(text, code="report.runs-invalid") from error
