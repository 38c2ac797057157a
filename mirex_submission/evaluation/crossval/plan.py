"""Plan the steps of a cross-validation for one submission, and the places of all files:

    SCRATCH/submissions/HOME/scratch          scratch folder for extraction; of our own system also for all models
    SCRATCH/submissions/HOME/folds/NAME.FOLD  scratch folder of a fold of any other system
    SCRATCH/submissions/HOME/steps            record of each step
    SCRATCH/submissions/HOME/stress           copies of trained folders, each for one step on altered audio
    OUT/NAME/outputs, probabilities, history, logs    one file per fold; one log per step
    OUT/NAME/stress                           one file per fold and variant of its test list

Systems of the same folder with different options share its HOME. Equal steps run only once for all of them: the
extraction, and for our own system a training that several systems classify with. A fold of any other system works in a
copy of the folder after extraction: its model has no name, and a fold must not depend on other folds that ran before or
at the same time. The copy is removed when the fold has succeeded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.crossval.step import Step
from mirex_submission.evaluation.crossval.system import Submission
from mirex_submission.evaluation.folds.lists import FoldLists, TaskLists
from mirex_submission.evaluation.judging.probabilities import CROSSVAL_OUTPUTS, CROSSVAL_PROBABILITIES
from mirex_submission.system.inner import inner_folder
from mirex_submission.system.option import FILE_NAME
from mirex_submission.training.recipe import Recipe

_OWN_OPTIONS = ("--name", "--probabilities")  # options of our scripts that are set for each fold here


@dataclass(frozen=True)
class StepOptions:
    """Options of the steps of one system, in addition to MIREX's arguments.

    Parameters
    ----------
    train, classify : sequence of str
        Options of its train script (or trainAndClassify) and of its classify script.
    threads : int
        -numThreads of each step.
    device : str
        --device of our own scripts.
    """

    train: Sequence[str] = ()
    classify: Sequence[str] = ()
    threads: int = 1
    device: str = "auto"

    @property
    def of_networks(self) -> bool:
        """True if our own scripts train the recipe of networks, which is the default."""
        words = _values(self.train, ("--recipe",))
        return not words or words[-1].removeprefix("--recipe=") == Recipe.name


@dataclass(frozen=True)
class StressStep:
    """An additional classify step, on altered audio, in its own scratch folder.

    Parameters
    ----------
    step : Step
        The step.
    source, target : Path
        The trained folder, and the copy of it that the step uses.
    scratch : Path
        The scratch folder (the copy, or the folder with the copy); it is removed after the step.
    """

    step: Step
    source: Path
    target: Path
    scratch: Path


@dataclass(frozen=True)
class FoldPlan:
    """The steps of one fold, in order.

    Parameters
    ----------
    lists : FoldLists
        The fold's lists.
    steps : list of Step
        Train and classify, or a single step for both.
    scratch : Path
        The scratch folder.
    copied : bool
        True if `scratch` must be a copy of the folder after extraction.
    output : Path
        File of the predictions.
    probabilities : Path
        File of the probabilities: of our own classification, or the file that another system may write beside its
        output.
    models_history : Path or None
        The training history in the folder of our own model, which is copied to `history`.
    history : Path
        The copy of the training history.
    stress_steps : dict of str to StressStep
        {name of a variant of the test list: step that classifies it}.
    """

    lists: FoldLists
    steps: list[Step]
    scratch: Path
    copied: bool
    output: Path
    probabilities: Path
    models_history: Path | None
    history: Path
    stress_steps: dict[str, StressStep]

    @property
    def pending(self) -> list[StressStep]:
        """The additional steps that have not succeeded yet; they need the trained folder of the fold."""
        return [extra for extra in self.stress_steps.values() if not extra.step.finished()]

    @property
    def failed(self) -> Path:
        """File name for the output of a failed step, which differs from any output."""
        return self.output.with_name(f"{self.output.name}.failed")


@dataclass(frozen=True)
class Plan:
    """The steps of one submission.

    Parameters
    ----------
    submission : Submission
        The system.
    scratch : Path
        Scratch folder of the extraction.
    extraction : Step or None
        None if the system has no script for extraction.
    outputs : Path
        Folder of the predictions.
    folds : list of FoldPlan
        In the order of the task's folds.
    """

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
    options: StepOptions,
    variants: Mapping[str, Mapping[str, Path]] = MappingProxyType({}),
) -> Plan:
    """Plan the steps of one submission.

    Parameters
    ----------
    task : TaskLists
        Lists of all folds.
    submission : Submission
        The system.
    scratch, out : Path
        Folder for scratch folders and records, and folder for outputs and logs.
    options : StepOptions
        Options of its steps.
    variants : mapping of str to mapping of str to Path
        {fold: {name: variant of its test list that is also classified}}.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        For options of a script that the system does not have, for options of our scripts that are set here, and for a
        name of a fold that cannot name a model of our own system.
    """
    _check(task, submission, options)
    for name in ("scratch", "steps", "folds", "stress"):
        inner_folder(scratch, "submissions", submission.home, name)
    for name in ("logs", CROSSVAL_OUTPUTS, CROSSVAL_PROBABILITIES, "history", "stress"):
        inner_folder(out, submission.name, name)
    home, results = scratch / "submissions" / submission.home, out / submission.name
    return _Planner(submission, home, results, options, variants).plan(task)


def _check(task: TaskLists, submission: Submission, options: StepOptions) -> None:
    if options.classify and not submission.separate:
        problem = f"{submission.name}: it has no classify.sh, so --classify-options cannot be used"
        raise UsageError(problem, code="crossval.no-script")
    if not submission.own:
        return
    set_here = {word.partition("=")[0] for word in [*options.train, *options.classify]} & set(_OWN_OPTIONS)
    if set_here:
        problem = f"{submission.name}: leave out {', '.join(sorted(set_here))}: crossval sets it for each fold"
        raise UsageError(problem, code="crossval.own-option")
    for lists in task.folds:
        if not re.fullmatch(FILE_NAME, lists.name):
            raise UsageError(
                f"{lists.test}: {submission.name} cannot name its model {lists.name!r} after this fold: rename the "
                "lists of the fold with letters, digits, '_', '-' and '.' only",
                code="crossval.fold-name",
            )


@dataclass(frozen=True)
class _Planner:
    """Plans one submission; home : folder of its scratch folders and records; results : of its outputs and logs."""

    submission: Submission
    home: Path
    results: Path
    options: StepOptions
    variants: Mapping[str, Mapping[str, Path]]

    def plan(self, task: TaskLists) -> Plan:
        scratch, extraction = self.home / "scratch", None
        if "extract" in self.submission.scripts:
            options = _of_features(self.options.train) if self.submission.own else []
            argv = self.submission.argv("extract", options, scratch, task.features, threads=self.options.threads)
            log = self.results / "logs" / "extract.log"
            # All our systems with the same features share one extraction.
            record = self.home / "steps" / f"extract{_mark(options)}.json"
            extraction = Step("extract", argv, [task.features], self.submission.digest, [], scratch, log, record)
        after = extraction.key if extraction else self.submission.digest
        folds = [self._fold(lists, after, scratch) for lists in task.folds]
        return Plan(self.submission, scratch, extraction, self.results / CROSSVAL_OUTPUTS, folds)

    def _fold(self, lists: FoldLists, after: str, shared: Path) -> FoldPlan:
        own, fold = self.submission.own, lists.name
        scratch = shared if own else self.home / "folds" / f"{self.submission.name}.{fold}"
        output = self.results / CROSSVAL_OUTPUTS / f"{fold}.txt"
        probabilities = self.results / CROSSVAL_PROBABILITIES / f"{fold}.csv" if own else output.with_suffix(".csv")
        model = f"{fold}{_mark(self.options.train)}"
        folder = scratch / "models" / model if own else None
        # Only networks have a training history: the other recipes have no epochs.
        models_history = folder / "history.csv" if folder and self.options.of_networks else None
        stress_steps = {}
        if self.submission.separate:
            train = self._train(lists, after, scratch, model, folder, models_history)
            steps = [train, self._classify(lists, train.key, scratch, output, model, probabilities if own else None)]
            for variant, test_list in self.variants.get(fold, {}).items():
                stress_steps[variant] = self._stress_step(fold, variant, test_list, train.key, model, folder or scratch)
        else:
            steps = [self._train_and_classify(lists, after, scratch, output)]
        history = self.results / "history" / f"{fold}.csv"
        return FoldPlan(lists, steps, scratch, not own, output, probabilities, models_history, history, stress_steps)

    def _train(
        self, lists: FoldLists, after: str, scratch: Path, model: str, folder: Path | None, history: Path | None
    ) -> Step:
        options = [*self._own_options(model), *self.options.train]
        argv = self.submission.argv("train", options, scratch, lists.train, threads=self.options.threads)
        outputs = [*([history] if history else []), *([folder / "bundle.json"] if folder else [])]
        # All our systems with the same training options share one training.
        record = self._record("train", model if self.submission.own else f"{self.submission.name}.{lists.name}")
        return Step("train", argv, [lists.train], after, outputs, scratch, self._log(lists, "train"), record)

    def _classify(
        self, lists: FoldLists, after: str, scratch: Path, output: Path, model: str, probabilities: Path | None
    ) -> Step:
        options = self._own_options(model)
        if probabilities:
            options += ["--probabilities", str(probabilities)]
        options += self.options.classify
        argv = self.submission.argv("classify", options, scratch, lists.test, output, threads=self.options.threads)
        outputs = [output, *([probabilities] if probabilities else [])]
        record = self._record("classify", f"{self.submission.name}.{lists.name}")
        return Step("classify", argv, [lists.test], after, outputs, None, self._log(lists, "classify"), record)

    def _stress_step(
        self, fold: str, variant: str, test_list: Path, after: str, model: str, source: Path
    ) -> StressStep:
        owner = f"{self.submission.name}.{fold}.{variant}"
        scratch, output = self.home / "stress" / owner, self.results / "stress" / f"{fold}.{variant}.txt"
        options = [*self._own_options(model), *self.options.classify]
        argv = self.submission.argv("classify", options, scratch, test_list, output, threads=self.options.threads)
        log = self.results / "logs" / f"{fold}.{variant}.classify.log"
        step = Step("classify", argv, [test_list], after, [output], None, log, self._record("classify", owner))
        # Our own classification needs only the folder of the model.
        return StressStep(step, source, scratch / "models" / model if self.submission.own else scratch, scratch)

    def _train_and_classify(self, lists: FoldLists, after: str, scratch: Path, output: Path) -> Step:
        name, paths = "trainAndClassify", (scratch, lists.train, lists.test, output)
        argv = self.submission.argv(name, self.options.train, *paths, threads=self.options.threads)
        record = self._record(name, f"{self.submission.name}.{lists.name}")
        return Step(name, argv, [lists.train, lists.test], after, [output], None, self._log(lists, name), record)

    def _own_options(self, model: str) -> list[str]:
        if not self.submission.own:
            return []
        # The other recipes do not use a GPU.
        return ["--name", model, "--device", self.options.device if self.options.of_networks else "cpu"]

    def _log(self, lists: FoldLists, step: str) -> Path:
        return self.results / "logs" / f"{lists.name}.{step}.log"

    def _record(self, step: str, owner: str) -> Path:
        return self.home / "steps" / f"{owner}.{step}.json"


def _of_features(options: Sequence[str]) -> list[str]:
    """Return the options of our train script that decide its features."""
    return _values(options, ("--recipe", "--views", "--rate", "--bands", "--frames"))


def _values(options: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the words of these options with their values, as `--option value` or `--option=value`."""
    words: list[str] = []
    for k, word in enumerate(options):
        if word in names:
            words += options[k : k + 2]
        elif word.partition("=")[0] in names:
            words.append(word)
    return words


def _mark(options: Sequence[str]) -> str:
    """Return a suffix of the model's name that distinguishes training options within a fold."""
    return f"-{hashlib.sha256(json.dumps(list(options)).encode()).hexdigest()[:8]}" if options else ""
