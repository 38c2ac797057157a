"""Check lists, audio, disk, memory and device before a long run."""

from __future__ import annotations

import os
from pathlib import Path

from mirex_submission.errors import DeviceError, ListError, ModelError
from mirex_submission.preflight.checks import ERROR, NOTE, WARNING, Problem
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.options import FeatureOptions, RunOptions, TaskLists, TrainingOptions
from mirex_submission.runs.scratch import choose_specs, scratch_folder
from mirex_submission.runs.train import check_sizes, check_training_options
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import check_options, checked_path
from mirex_submission.training.recipe import AnyRecipe, Recipe


def check(
    scratch: str | os.PathLike[str],
    task_lists: TaskLists = TaskLists(),
    *,
    features: FeatureOptions = FeatureOptions(),
    recipe: AnyRecipe | str = Recipe(),
    training: TrainingOptions = TrainingOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
) -> list[Problem]:
    """Check lists, audio, disk, memory and device for runs over these lists; write nothing.

    Parameters
    ----------
    scratch : path
        Folder for features and models.
    task_lists : TaskLists
        The lists of the runs.
    features, recipe, training, run : FeatureOptions, Recipe or ViewRecipe or name, TrainingOptions, RunOptions
        Options of the runs; `training.groups` is a list file.
    tables : TableOptions
        Columns of tables among the lists.

    Returns
    -------
    list of Problem
        Errors first, then warnings and notes.
    """
    check_options(task_lists=(task_lists, TaskLists))
    recipe = check_training_options(features, recipe, training, run, tables=tables)
    scratch = scratch_folder(scratch)
    with prepared(scratch, threads=run.threads):
        from mirex_submission.features.headers import Headers
        from mirex_submission.preflight import checks
        from mirex_submission.preflight.task_lists import compare_contents, read_task

        check_sizes(recipe, features)
        groups = None if training.groups is None else checked_path("groups", training.groups)
        task, problems = read_task(task_lists.features, task_lists.train, task_lists.test, groups, tables)
        line_of = {t.path: f"{task_list.path}:{t.line}: " for task_list in reversed(task.all) for t in task_list.tracks}
        problems += [Problem(WARNING, text, ListError) for text in compare_contents(task)]
        headers = Headers(run.threads, run.track_limit)
        planned = checks.PlannedRun(
            scratch,
            choose_specs(scratch, list(line_of), recipe, features, headers),
            list(line_of),
            trainings=[task_list.tracks for task_list in task.training],
            recipe=recipe,
            max_bad=training.max_bad / 100,
            readable=[[track.path for track in task_list.tracks] for task_list in (*task.features, *task.test)],
            strict=run.strict,
            threads=run.threads,
            n_jobs=run.threads,
            device=run.chosen_device,
            engine=run.engine,
            line_of=line_of,
        )
        problems += [*checks.check(planned, headers), _model(scratch, training.name)]
        wants_gpu = recipe.networks and run.chosen_device.startswith("gpu")
        if wants_gpu and not any(problem.kind is DeviceError for problem in problems):
            problems.append(_backend(run))
        return checks.worst_first(problems)


def _model(scratch: Path, name: str | None) -> Problem:
    """Check the model that bin/classify.sh would load."""
    from mirex_submission.models import bundle as bundles

    folder = bundles.folder_of(scratch, name)
    try:
        os.stat(folder / "bundle.json")
    except (FileNotFoundError, NotADirectoryError):
        return Problem(NOTE, f"{folder}: no trained model yet")
    except OSError:
        pass  # load() reports why it is unreadable
    try:
        model = bundles.load(folder)
        if isinstance(model, bundles.ViewBundle):
            bundles.load_classifier(folder, model)
        else:
            for network in model.recipe.networks:
                bundles.load_weights(folder, model, network)
        if model.calibration:
            bundles.load_likeness(folder, model)
    except ModelError as error:
        return Problem(WARNING, str(error), ModelError)
    training = f"{len(model.tracks)} tracks of {len(model.classes)} classes, with {model.engine}"
    kind = f"model {model.recipe.model}" if isinstance(model, bundles.Bundle) else f"recipe {model.recipe.name}"
    return Problem(NOTE, f"{folder}: {kind}, trained on {training}")


def _backend(run: RunOptions) -> Problem:
    """Check with Keras that the requested GPUs can be used, which takes seconds."""
    from mirex_submission.networks import engine as engines

    try:
        return Problem(NOTE, engines.start(run.chosen_device, threads=run.threads, seed=0).description)
    except DeviceError as error:
        return Problem(ERROR, str(error), DeviceError)
