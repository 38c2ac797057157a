"""One step of a cross-validation: a shell call of a submission, which is not repeated after it has succeeded."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from mirex_submission.errors import coded
from mirex_submission.evaluation.crossval.script import cause_of_failure
from mirex_submission.evaluation.crossval.supervise import Outcome, Stop, supervise
from mirex_submission.evaluation.records import Amount, Count, read_record
from mirex_submission.system.atomic import sha256, write_file
from mirex_submission.system.progress import duration

_MOST_BYTES = 1 << 20  # maximum size of a record
_KILLED = 137  # status of a command that was ended by SIGKILL


class StepResult(msgspec.Struct, frozen=True):
    """The result of a step.

    Parameters
    ----------
    name : str
        "extract", "train", "classify" or "trainAndClassify".
    argv : list of str
        The command.
    status, seconds, cpu_seconds, peak_mb
        As in `supervise.Outcome`.
    log : str
        File with its stdout and stderr.
    attempts : int
        Number of times that it was started.
    problem : str or None
        Why it failed, None if it succeeded.
    """

    name: str
    argv: list[str]
    status: Count
    seconds: Amount
    cpu_seconds: Amount
    peak_mb: Amount
    log: str
    attempts: Count
    problem: str | None


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The record of a step: its key, number of attempts, result, and {file that it wrote: SHA-256}."""

    key: str
    attempts: Count = 0
    result: StepResult | None = None
    left: dict[str, str | None] | None = None


@dataclass(frozen=True)
class Step:
    """A step to run.

    Parameters
    ----------
    name : str
        "extract", "train", "classify" or "trainAndClassify".
    argv : list of str
        The command.
    lists : sequence of Path
        Input files of the command.
    after : str
        Key of the step whose results it needs.
    outputs : sequence of Path
        Files that it has to write.
    folder : Path or None
        A folder that it also writes.
    log, record : Path
        File for its stdout and stderr, and file for its record.
    """

    name: str
    argv: list[str]
    lists: Sequence[Path]
    after: str
    outputs: Sequence[Path]
    folder: Path | None
    log: Path
    record: Path

    @cached_property
    def key(self) -> str:
        """A hash of everything that decides the result of the step: equal keys, equal steps."""
        decides = json.dumps([self.argv, [sha256(path) for path in self.lists], self.after])
        return hashlib.sha256(decides.encode()).hexdigest()

    def attempts(self) -> int:
        """Return the number of times that the step was started before."""
        return self._read_record().attempts

    def earlier_result(self) -> StepResult | None:
        """Return the earlier result of the step, or None if it has not succeeded."""
        result = self._read_record().result
        return result if result and not result.problem else None

    def finished(self) -> StepResult | None:
        """Return the earlier result if the files of the step are still there, unchanged; otherwise None."""
        left = self._output_hashes()
        intact = left == self._read_record().left and None not in left.values()
        return self.earlier_result() if intact and (self.folder is None or self.folder.is_dir()) else None

    def run(
        self, *, environment: Mapping[str, str], limit_s: float, stop: Stop, folder: Path | None = None
    ) -> StepResult:
        """Run the step now, and record its result.

        Parameters
        ----------
        environment : mapping
            Environment of the command.
        limit_s : float
            Time limit in seconds.
        stop : Stop
            Stops the step when it is set.
        folder : Path, optional
            Working folder of the command; default: the current folder.

        Returns
        -------
        StepResult

        Raises
        ------
        Stopped
            If `stop` is set before the step ends.
        StorageError
            If the log or the record cannot be written.
        """
        attempts = self.attempts() + 1
        self._write_record(_Record(self.key, attempts))
        outcome = supervise(self.argv, self.log, environment=environment, limit_s=limit_s, stop=stop, folder=folder)
        # Replace links by copies: the file that a link points to may be removed later.
        for path in (path for path in self.outputs if path.is_symlink() and path.is_file()):
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                path.unlink()
                write_file(path, content)
        left = self._output_hashes()
        result = StepResult(
            name=self.name,
            argv=self.argv,
            status=outcome.status,
            seconds=outcome.seconds,
            cpu_seconds=outcome.cpu_seconds,
            peak_mb=outcome.peak_mb,
            log=str(self.log),
            attempts=attempts,
            problem=self._problem(outcome, left, limit_s),
        )
        self._write_record(_Record(self.key, attempts, result, left))
        return result

    def lost(self, problem: str) -> StepResult:
        """Return the result of a step whose worker was lost before its end."""
        return StepResult(self.name, self.argv, _KILLED, 0.0, 0.0, 0.0, str(self.log), self.attempts(), problem)

    def _problem(self, outcome: Outcome, left: Mapping[str, str | None], limit_s: float) -> str | None:
        log = f"last line of its log {self.log}: {outcome.last_line}"
        if outcome.timed_out:
            return coded(f"stopped at the time limit of {duration(limit_s)}; {log}", code="crossval.time-limit")
        cause = cause_of_failure(Path(self.argv[0]), outcome.status)
        cause = cause and f"{cause}; "
        if outcome.status:
            return coded(f"status {outcome.status}; {cause}{log}", code="crossval.status")
        missing = next((path for path, content in left.items() if content is None), None)
        if missing:
            return coded(f"status 0, but it did not write {missing}; {cause}{log}", code="crossval.no-output")
        return None

    def _output_hashes(self) -> dict[str, str | None]:
        """Return {file that the step has to write: its hash, None if it is missing}."""
        return {str(path): sha256(path) if path.is_file() else None for path in self.outputs}

    def _read_record(self) -> _Record:
        """Return the record of the step with this key, or an empty one."""
        try:
            record = read_record(self.record, _Record, most_bytes=_MOST_BYTES)
        except (OSError, ValueError):
            return _Record(self.key)
        return record if record.key == self.key else _Record(self.key)

    def _write_record(self, record: _Record) -> None:
        write_file(self.record, json.dumps(msgspec.to_builtins(record), indent=1).encode())


@dataclass(frozen=True)
class StepCall:
    """A step with everything that it needs to run in this process or in another one.

    Parameters
    ----------
    step : Step
        The step.
    prepare : callable
        Prepares its folders.
    environment : mapping
        Environment of the command.
    limit_s : float
        Time limit in seconds.
    folder : Path, optional
        Working folder of the command; default: the current folder.
    """

    step: Step
    prepare: Callable[[], object]
    environment: Mapping[str, str]
    limit_s: float
    folder: Path | None = None

    def run(self, stop: Stop) -> StepResult:
        """Prepare and run the step; as `Step.run`."""
        self.prepare()
        return self.step.run(environment=self.environment, limit_s=self.limit_s, stop=stop, folder=self.folder)
