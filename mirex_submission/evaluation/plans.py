"""All calls that a cross-validation makes of one submission, and where everything lies:

    SCRATCH/systems/NAME/scratch      its scratch folder: for extraction, and with ours for everything, a model a fold
    SCRATCH/systems/NAME/folds/FOLD   any other's scratch folder for a fold
    SCRATCH/systems/NAME/calls        what was called, and how it ended
    OUT/NAME/outputs, probabilities, history, logs    a file a fold; a log a call

A fold of any submission but ours works in a copy of what extraction left, for its model has no name, and must not
depend on which folds ran before, beside or halfway. The copy goes when the fold has ended well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.calls import Step
from mirex_submission.evaluation.fold_lists import FoldLists, TaskLists
from mirex_submission.evaluation.submissions import Submission


@dataclass(frozen=True)
class FoldPlan:
    """The calls of one fold, in order, its scratch folder and the files that it leaves.

    copied : whether `scratch` is to be a copy of what extraction left. models_history : the learning curve in our own
    model's folder, which is kept as `history`; None, like `probabilities`, with other submissions.
    """

    lists: FoldLists
    steps: list[Step]
    scratch: Path
    copied: bool
    output: Path
    probabilities: Path | None
    models_history: Path | None
    history: Path

    @property
    def failed(self) -> Path:
        """Where the output of a call that failed is kept, under a name that is no output's."""
        return self.output.with_name(f"{self.output.name}.failed")


@dataclass(frozen=True)
class Plan:
    """The calls of one submission; extraction : None if it has no script for it. scratch : what extraction works in."""

    submission: Submission
    scratch: Path
    extraction: Step | None
    outputs: Path
    folds: list[FoldPlan]


def plan(
    task: TaskLists,
    submission: Submission,
    scratch: Path,
    out: Path,
    train_options: Sequence[str] = (),
    *,
    threads: int,
    device: str,
) -> Plan:
    """What to call of `submission`. Raises UsageError where `out` has outputs of other folds."""
    home, results = scratch / "systems" / submission.name, out / submission.name
    outputs, shared = results / "outputs", home / "scratch"
    names = {f"{lists.name}.txt" for lists in task.folds}
    others = sorted(path.name for path in outputs.glob("*.txt") if path.name not in names)
    if others:
        raise UsageError(f"{outputs}: has outputs of other folds ({', '.join(others[:3])}): give another --out")

    def step(
        call: str,
        argv: list[str],
        reads: Sequence[Path],
        after: str,
        *,
        fold: str = "",
        leaves: Sequence[Path] = (),
        folder: Path | None = None,
    ) -> Step:
        name = f"{fold}.{call}" if fold else call
        record, log = home / "calls" / f"{name}.json", results / "logs" / f"{name}.log"
        return Step(call, argv, reads, after, leaves, folder, log, record)

    def fold_plan(lists: FoldLists, after: str) -> FoldPlan:
        fold, own = lists.name, submission.own
        folder = shared if own else home / "folds" / fold
        output = outputs / f"{fold}.txt"
        probabilities = results / "probabilities" / f"{fold}.csv" if own else None
        models_history = folder / "models" / fold / "history.csv" if own else None
        if submission.separate:
            argv = submission.train(folder, lists.train, train_options, threads=threads, fold=fold, device=device)
            leaves = [models_history] if models_history else []
            train = step("train", argv, [lists.train], after, fold=fold, leaves=leaves, folder=folder)
            argv = submission.classify(
                folder, lists.test, output, threads=threads, fold=fold, device=device, probabilities=probabilities
            )
            leaves = [output, *([probabilities] if probabilities else [])]
            steps = [train, step("classify", argv, [lists.test], train.key, fold=fold, leaves=leaves)]
        else:
            argv = submission.train_and_classify(
                folder, lists.train, lists.test, output, train_options, threads=threads
            )
            steps = [step("trainAndClassify", argv, [lists.train, lists.test], after, fold=fold, leaves=[output])]
        history = results / "history" / f"{fold}.csv"
        return FoldPlan(lists, steps, folder, not own, output, probabilities, models_history, history)

    extraction = None
    if "extract" in submission.scripts:
        argv = submission.extract(shared, task.features, threads=threads)
        extraction = step("extract", argv, [task.features], submission.digest, folder=shared)
    after = extraction.key if extraction else submission.digest
    return Plan(submission, shared, extraction, outputs, [fold_plan(lists, after) for lists in task.folds])
