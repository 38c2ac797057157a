"""Run every system's classify script again on altered test audio.

The models are those of the cross-validation. Altered audio is made once for all systems, and is on the disk only while
their steps run. A step that has already succeeded is not repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mirex_submission.errors import coded
from mirex_submission.evaluation.crossval.plan import FoldPlan, Plan
from mirex_submission.evaluation.crossval.run import Runner, SystemRun
from mirex_submission.evaluation.folds.lists import TaskLists
from mirex_submission.evaluation.stress.altered import Variant, variants
from mirex_submission.system.atomic import remove
from mirex_submission.system.progress import Progress, duration
from mirex_submission.system.workers import Workers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stress:
    """The steps on altered audio of a cross-validation.

    Parameters
    ----------
    variants : dict of str to list of Variant
        {fold: its variants}.
    workers : Workers
        Processes that alter audio.
    limit_s : float
        Time after which no step starts.
    left_out : list of str
        Filled by `run`: variants left out because of the time limit.
    unaltered : set of str
        Filled by `run`: a note for each track that could not be altered.
    problems : dict of str to str
        Filled by `run`: {`SYSTEM FOLD VARIANT`: why the step failed}.
    """

    variants: dict[str, list[Variant]]
    workers: Workers
    limit_s: float
    left_out: list[str] = field(default_factory=list)
    unaltered: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_task(
        cls, task: TaskLists, scratch: Path, *, quick: bool, seed: int, n_processes: int, limit_s: float
    ) -> Stress:
        """Plan the variants of all folds, and write their lists. Raises StorageError."""
        test_lists = {fold.name: fold.test for fold in task.folds}
        of_folds = variants(test_lists, scratch / "stress", quick=quick, seed=seed)
        for variant in (variant for of_fold in of_folds.values() for variant in of_fold):
            variant.write_list()
        return cls(of_folds, Workers(n_processes), limit_s)

    @property
    def test_lists(self) -> Mapping[str, Mapping[str, Path]]:
        """The test list of each variant, as {fold: {variant: file}}."""
        return {
            fold: {variant.name: variant.test_list for variant in of_fold} for fold, of_fold in self.variants.items()
        }

    def run(self, runner: Runner, runs: Sequence[SystemRun]) -> None:
        """Run the steps that have not succeeded yet: for each variant all systems, fold by fold."""
        ends_s = time.monotonic() + self.limit_s
        for name in dict.fromkeys(run.plan.submission.name for run in runs if not run.plan.submission.separate):
            text = f"{name}: no stress test: without classify.sh it cannot classify altered audio with the same model"
            log.warning("%s", coded(text, code="stress.no-classify"))
        calls = {
            (k, fold): [(run.plan, run.plan.folds[number]) for run in runs if run.folds[number].output]
            for number, fold in enumerate(self.variants)
            for k in range(len(self.variants[fold]))
        }
        progress = Progress("stress", len(calls), unit="variants of test lists")
        for k, fold in sorted(calls, key=lambda call: call[0]):
            self._call(runner, self.variants[fold][k], fold, calls[k, fold], ends_s)
            progress.advance()
        progress.close()
        if self.left_out:
            text = f"{len(self.left_out)} altered test lists are left out, {self.left_out[0]} and later: the limit of "
            text += f"{duration(self.limit_s)} was reached: repeat the command with a longer --stress-limit to resume"
            log.warning("%s", coded(text, code="stress.time-limit"))
        for run in runs:
            for plan in (plan for plan in run.plan.folds if plan.copied and not plan.pending):
                remove(plan.scratch)

    def _call(
        self, runner: Runner, variant: Variant, fold: str, plans: Sequence[tuple[Plan, FoldPlan]], ends_s: float
    ) -> None:
        pending = [
            (plan, extra)
            for plan, of_fold in plans
            if (extra := of_fold.stress_steps.get(variant.name)) and not extra.step.finished()
        ]
        if not pending or time.monotonic() > ends_s:
            variant.remove()  # a run that was killed may have left it
            if pending:
                self.left_out.append(f"{fold} {variant.name}")
            return
        notes = variant.make(self.workers)
        left_s = max(1.0, ends_s - time.monotonic())
        for note in set(notes) - self.unaltered:
            log.warning("%s", coded(f"could not be altered, classified unaltered: {note}", code="stress.not-altered"))
        self.unaltered.update(notes)
        titles = [f"{plan.submission.name} {fold} {variant.name}" for plan, _ in pending]
        try:
            results = runner.side_by_side(
                [partial(runner.stress_step, *call, title, left_s) for call, title in zip(pending, titles, strict=True)]
            )
        finally:
            variant.remove()
        problems = {title: result.problem for title, result in zip(titles, results, strict=True) if result.problem}
        if problems and time.monotonic() > ends_s:
            self.left_out.append(f"{fold} {variant.name}")
        else:
            self.problems.update(problems)
