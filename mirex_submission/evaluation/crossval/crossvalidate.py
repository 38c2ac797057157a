"""The command `crossval`: run any submissions on the same folds, then score them."""

from __future__ import annotations

import datetime
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.errors import SubmissionError, UsageError
from mirex_submission.evaluation.crossval.plan import Plan, StepOptions, plan
from mirex_submission.evaluation.crossval.run import SystemRun, run
from mirex_submission.evaluation.crossval.system import OWN_FOLDER, find
from mirex_submission.evaluation.folds.lists import TaskLists, find_lists
from mirex_submission.evaluation.names import check_system_names
from mirex_submission.evaluation.options import CrossvalOptions
from mirex_submission.protocol.lists import read_unlabelled

if TYPE_CHECKING:
    from mirex_submission.evaluation.stress.stress import Stress


def cross_validate(
    folder: str | Path,
    scratch: Path,
    out: Path,
    options: CrossvalOptions,
    *,
    environment: Mapping[str, str],
    command_line: Sequence[str] = (),
    show: Callable[[str], object] = lambda text: None,
) -> None:
    """Run submissions on the folds of a folder, score them, and write figures, outputs and `runs.json`.

    Parameters
    ----------
    folder : path-like
        Folder of the lists.
    scratch, out : Path
        Folder for the scratch folders of all systems, and folder for outputs, logs and figures.
    options : CrossvalOptions
        The systems and how to run them.
    environment : mapping
        The caller's environment, for the steps.
    command_line : sequence of str
        The command line, which is stored in the results.
    show : callable
        Called with the summary.

    Raises
    ------
    UsageError
        For an invalid submission, option or name.
    ListError
        For wrong lists, and with `strict` for any problem for the organisers' evaluator.
    SubmissionError
        If a submission failed or its output is incomplete, after everything else is done.
    """
    options.check_scheduler()
    started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    task = find_lists(folder)
    _check_tags(task, options)
    stress = _stress(task, scratch, options) if options.stress != "none" else None
    plans = _plans(task, scratch, out, options, stress)
    runs = run(
        plans,
        scratch,
        n_jobs=options.jobs,
        cluster=options,
        device=options.device,
        limit_s=math.inf if options.time_limit is None else options.time_limit,
        environment=environment,
        then=stress.run if stress else lambda runner, runs: None,
    )
    _judge(task, runs, stress, out, options, started=started, command_line=command_line, show=show)


def _stress(task: TaskLists, scratch: Path, options: CrossvalOptions) -> Stress:
    from mirex_submission.evaluation.stress.stress import Stress

    return Stress.of_task(
        task,
        scratch,
        quick=options.stress == "quick",
        seed=options.seed,
        n_processes=(options.jobs or 1) * options.threads,
        limit_s=math.inf if options.stress_limit is None else options.stress_limit,
    )


def _plans(task: TaskLists, scratch: Path, out: Path, options: CrossvalOptions, stress: Stress | None) -> list[Plan]:
    own = [(name, str(OWN_FOLDER)) for name in options.recipes]
    submissions = [find(path, name) for name, path in [*options.submissions, *own] or [(None, str(OWN_FOLDER))]]
    names = [submission.name for submission in submissions]
    check_system_names(names)
    of_recipes = [(name, ["--recipe", name]) for name in options.recipes]
    train = _options_of_systems("--train-options", [*of_recipes, *options.train_options], names)
    classify = _options_of_systems("--classify-options", options.classify_options, names)
    return [
        plan(
            task,
            submission,
            scratch,
            out,
            StepOptions(train[submission.name], classify[submission.name], options.threads, options.device),
            stress.test_lists if stress else {},
        )
        for submission in submissions
    ]


def _check_tags(task: TaskLists, options: CrossvalOptions) -> None:
    """Read groups and strata before the run, so that it does not fail after hours."""
    if options.groups or options.strata:
        from mirex_submission.evaluation.judging.tags import read_groups, read_strata

        tracks = [track.path for fold in task.folds for track in read_unlabelled(fold.test)]
        if options.groups:
            read_groups(options.groups, tracks)
        if options.strata:
            read_strata(options.strata, tracks)


def _options_of_systems(
    option: str, given: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]
) -> dict[str, list[str]]:
    """Return {system: all options that were given for it}."""
    words: dict[str, list[str]] = {name: [] for name in names}
    for name, more in given:
        if name not in words:
            problem = f"{option}: no system {name!r}: give one of {', '.join(names)}"
            raise UsageError(problem, code="crossval.unknown-system")
        words[name] += more
    return words


def _judge(
    task: TaskLists,
    runs: Sequence[SystemRun],
    stress: Stress | None,
    out: Path,
    options: CrossvalOptions,
    *,
    started: str,
    command_line: Sequence[str],
    show: Callable[[str], object],
) -> None:
    # Imported after the steps: a step is forked from this program, so its peak memory includes that of this program.
    from mirex_submission.evaluation.crossval.record import write_runs
    from mirex_submission.evaluation.judging.evaluate import judge
    from mirex_submission.evaluation.judging.pairing import FoldTruth
    from mirex_submission.evaluation.judging.publish import publish, refuse_findings, refuse_probabilities

    problems = write_runs(out / "runs.json", task, runs, started=started, command=shlex.join(command_line))
    truths = [FoldTruth(fold.name, fold.truth) for fold in task.folds]
    outputs = {run.plan.submission.name: [fold.output for fold in run.folds] for run in runs}
    tables = {run.plan.submission.name: [fold.probabilities for fold in run.folds] for run in runs}
    evaluation = judge(
        truths, outputs, probabilities=tables, seed=options.seed, groups=options.groups, strata=options.strata
    )
    publish(evaluation, out, command_line, show, wiki=options.wiki)
    if stress:
        from mirex_submission.evaluation.stress import results

        record = results.judge(stress, runs, evaluation)
        results.write_stress(record, out)
        show(f"\n{results.summary(record)}")
        problems |= {title: [problem] for title, problem in record.problems.items()}
    if problems:  # before `strict`, which must not hide that a submission failed
        lines = (
            f"{owner}: {first}" + (f" (and {len(others):,} more)" if others else "")
            for owner, (first, *others) in problems.items()
        )
        raise SubmissionError("\n".join(lines))
    refuse_probabilities(evaluation)
    if options.strict:
        refuse_findings(evaluation, out)
