"""All calls that a cross-validation makes of one submission, and where everything lies:

    SCRATCH/submissions/HOME/scratch          its scratch folder: for extraction, and with ours for all models
    SCRATCH/submissions/HOME/folds/NAME.FOLD  any other's scratch folder for a fold
    SCRATCH/submissions/HOME/calls            what was called, and how it ended
    OUT/NAME/outputs, probabilities, history, logs    a file a fold; a log a call

Systems of one folder that differ in their options share its HOME: what they call alike is called once, as extraction
is, and with ours a training that several classify with. A fold of any submission but ours works in a copy of what
extraction left, for its model has no name, and must not depend on which folds ran before, beside or halfway. The copy
goes when the fold has ended well.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.crossval.step import Step
from mirex_submission.evaluation.crossval.system import OWN_OPTIONS, Submission
from mirex_submission.evaluation.folds.lists import FoldLists, TaskLists


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
    classify_options: Sequence[str] = (),
    *,
    threads: int,
    device: str,
) -> Plan:
    """What to call of `submission`.

    Raises UsageError for options of a script that it does not have, for those of ours that are set here, and for names
    of folds that no model of ours can have.
    """
    if classify_options and not submission.separate:
        raise UsageError(f"{submission.name}: has no classify.sh for --classify-options")
    home, results = scratch / "submissions" / submission.home, out / submission.name
    outputs, shared = results / "outputs", home / "scratch"
    if submission.own:
        set_here = {word.partition("=")[0] for word in [*train_options, *classify_options]} & set(OWN_OPTIONS)
        if set_here:
            raise UsageError(f"{submission.name}: {', '.join(sorted(set_here))}: each fold is given its own")
        for lists in task.folds:
            if not re.fullmatch(r"\w[\w.-]*", lists.name):
                raise UsageError(
                    f"{lists.test}: {submission.name} cannot name a model {lists.name!r}: rename its lists, with "
                    "letters, digits, '_', '-' and '.' only"
                )

    def step(
        call: str,
        argv: list[str],
        reads: Sequence[Path],
        after: str,
        *,
        fold: str = "",
        where: str = "",
        leaves: Sequence[Path] = (),
        folder: Path | None = None,
    ) -> Step:
        """where : what tells the records of this call from those of the other folds and systems."""
        record = home / "calls" / (f"{where}.{call}.json" if where else f"{call}.json")
        log = results / "logs" / (f"{fold}.{call}.log" if fold else f"{call}.log")
        return Step(call, argv, reads, after, leaves, folder, log, record)

    def fold_plan(lists: FoldLists, after: str) -> FoldPlan:
        fold, own = lists.name, submission.own
        alone = f"{submission.name}.{fold}"
        model = f"{fold}{_mark(train_options)}"
        folder = shared if own else home / "folds" / alone
        output = outputs / f"{fold}.txt"
        probabilities = results / "probabilities" / f"{fold}.csv" if own else None
        models_history = folder / "models" / model / "history.csv" if own else None
        if submission.separate:
            argv = submission.train(folder, lists.train, train_options, threads=threads, model=model, device=device)
            leaves = [models_history, models_history.with_name("bundle.json")] if models_history else []
            where = model if own else alone
            train = step("train", argv, [lists.train], after, fold=fold, where=where, leaves=leaves, folder=folder)
            argv = submission.classify(
                folder,
                lists.test,
                output,
                classify_options,
                threads=threads,
                model=model,
                device=device,
                probabilities=probabilities,
            )
            leaves = [output, *([probabilities] if probabilities else [])]
            steps = [train, step("classify", argv, [lists.test], train.key, fold=fold, where=alone, leaves=leaves)]
        else:
            argv = submission.train_and_classify(
                folder, lists.train, lists.test, output, train_options, threads=threads
            )
            reads = [lists.train, lists.test]
            steps = [step("trainAndClassify", argv, reads, after, fold=fold, where=alone, leaves=[output])]
        history = results / "history" / f"{fold}.csv"
        return FoldPlan(lists, steps, folder, not own, output, probabilities, models_history, history)

    extraction = None
    if "extract" in submission.scripts:
        argv = submission.extract(shared, task.features, threads=threads)
        extraction = step("extract", argv, [task.features], submission.digest, folder=shared)
    after = extraction.key if extraction else submission.digest
    return Plan(submission, shared, extraction, outputs, [fold_plan(lists, after) for lists in task.folds])


def _mark(options: Sequence[str]) -> str:
    """What tells a model that was trained with these options from others of the same fold."""
    return f"-{hashlib.sha256(json.dumps(list(options)).encode()).hexdigest()[:8]}" if options else ""
