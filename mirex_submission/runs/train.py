"""Train a model on a training list, as bin/train.sh does."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirex_submission.errors import UsageError
from mirex_submission.protocol import lists
from mirex_submission.protocol.in_memory import InMemoryList, ListSource, as_list
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.classification import Classification
from mirex_submission.runs.classify import check_confidence, classify_paths, load_model, on_disk, output_files
from mirex_submission.runs.options import (
    ClassificationOptions,
    FeatureOptions,
    RunOptions,
    TrainingOptions,
    check_recipe,
)
from mirex_submission.runs.scratch import choose_specs, scratch_folder
from mirex_submission.system.atomic import check_writable, make_folder
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import check_none_left, check_options, checked_path, with_fields
from mirex_submission.system.paths import full_path
from mirex_submission.system.unicode_forms import nfc
from mirex_submission.training.recipe import AnyRecipe, Recipe, ViewRecipe, as_recipe, refuse_fields_of_others

if TYPE_CHECKING:
    from mirex_submission.features.headers import Headers
    from mirex_submission.features.spec import Spec
    from mirex_submission.preflight.cost import Cost

log = logging.getLogger(__name__)


def train(
    scratch: str | os.PathLike[str],
    train_list: ListSource,
    feature_list: ListSource | None = None,
    *,
    features: FeatureOptions = FeatureOptions(),
    recipe: AnyRecipe | str = Recipe(),
    training: TrainingOptions = TrainingOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
    **fields: Any,
) -> Path:
    """Train a model and put it into the scratch folder; an interrupted training resumes.

    Parameters
    ----------
    scratch : path
        Folder for features and models, kept between runs.
    train_list : list file, folder or table, or paths and labels in memory
        The training tracks; for a folder, its subfolders are the classes.
    feature_list : list file, folder, table or audio file, or paths in memory, optional
        All tracks of the task, whose features are extracted too.
    features : FeatureOptions
        Sizes of the features.
    recipe : Recipe, ViewRecipe or name
        Recipe of the model. Recipe or "paper": networks. ViewRecipe or "modulation": a classifier of views.
    training, tables, run : TrainingOptions, TableOptions, RunOptions
        How the training runs; columns of a table; threads, device and strictness.
    **fields
        Single fields of these dataclasses, such as epochs=10.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    ListError
        A list has problems.
    AudioError
        Too many training tracks are unreadable.
    TrainingError
        The loss became NaN or infinite.
    DeviceError, StorageError, UsageError
        The device is missing; the disk is full; another training uses this model's folder.

    Examples
    --------
    With `train.txt` in the current folder, and fewer epochs than the 150 of the paper:

    >>> from mirex_submission import Recipe, TrainingOptions, train
    >>> folder = train("scratch", "train.txt", recipe=Recipe(epochs=2), training=TrainingOptions(name="fold1"))
    >>> folder.name
    'fold1'
    """
    recipe, features = with_fields(fields, as_recipe(recipe)), with_fields(fields, features)
    refuse_fields_of_others(type(recipe), fields)
    training, run = with_fields(fields, training), with_fields(fields, run)
    tables = with_fields(fields, tables)
    recipe = check_training_options(features, recipe, training, run, tables=tables)
    check_none_left(fields)
    scratch = scratch_folder(scratch)
    with prepared(scratch, threads=run.threads):
        from mirex_submission.features.headers import Headers

        tracks, task_paths, groups = _read(train_list, feature_list, training, recipe, tables)
        paths = [*task_paths, *(track.path for track in tracks)]
        check_sizes(recipe, features)
        make_folder(scratch)
        headers = Headers(run.threads, run.track_limit)
        specs = choose_specs(scratch, paths, recipe, features, headers, whole_task=feature_list is not None)
        _check(scratch, specs, paths, tracks, headers, recipe=recipe, training=training, run=run)
        del headers  # the headers of a million files take 200 MB
        return _fit(scratch, tracks, recipe, specs, training=training, run=run, feature_paths=task_paths, groups=groups)


def train_and_classify(
    scratch: str | os.PathLike[str],
    train_list: ListSource,
    test_list: ListSource,
    output: str | os.PathLike[str],
    *,
    features: FeatureOptions = FeatureOptions(),
    recipe: AnyRecipe | str = Recipe(),
    training: TrainingOptions = TrainingOptions(),
    classification: ClassificationOptions = ClassificationOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
) -> Classification:
    """Train a model, then classify a test list with it; see `train` and `classify`.

    The model has the name, the networks and the vote of the training, not those of `classification`.
    """
    recipe = check_training_options(features, recipe, training, run, tables=tables)
    check_options(classification=(classification, ClassificationOptions))
    classification = dataclasses.replace(classification, name=training.name, model=None, vote=None)
    check_confidence(classification, output)
    if classification.confidence is not None and not training.calibrate:
        raise UsageError("--confidence requires --calibrate", code="usage.confidence")
    scratch = scratch_folder(scratch)
    with prepared(scratch, threads=run.threads):
        from mirex_submission.features.headers import Headers

        inputs = [source for source in (train_list, test_list, training.groups) if source is not None]
        outputs = output_files(scratch, checked_path("output", output), classification.probabilities, inputs=inputs)
        for file in on_disk(outputs):
            check_writable(file)  # fails now instead of after the training
        tracks, test_paths, groups = _read(train_list, test_list, training, recipe, tables, for_evaluator=True)
        train_paths = [track.path for track in tracks]
        paths = [*train_paths, *test_paths]
        check_sizes(recipe, features)
        make_folder(scratch)
        headers = Headers(run.threads, run.track_limit)
        specs = choose_specs(scratch, paths, recipe, features, headers)
        _check(scratch, specs, paths, tracks, headers, recipe=recipe, training=training, run=run, readable=train_paths)
        del headers
        _fit(scratch, tracks, recipe, specs, training=training, run=run, groups=groups)
        model = load_model(scratch, classification, run)
        return classify_paths(scratch, test_paths, *outputs, classification=classification, model=model, run=run)


def dry_run(
    scratch: str | os.PathLike[str],
    train_list: ListSource,
    feature_list: ListSource | None = None,
    *,
    features: FeatureOptions = FeatureOptions(),
    recipe: AnyRecipe | str = Recipe(),
    training: TrainingOptions = TrainingOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
) -> list[str]:
    """Describe the steps of `train` and estimate their time, in lines to print; write nothing."""
    recipe = check_training_options(features, recipe, training, run, tables=tables)
    scratch = scratch_folder(scratch)
    with prepared(scratch, threads=run.threads):
        tracks, task_paths, _ = _read(train_list, feature_list, training, recipe, tables)
        return estimate(scratch, tracks, task_paths, features=features, recipe=recipe, training=training, run=run).lines


def estimate(
    scratch: Path,
    tracks: Sequence[Track],
    task_paths: Sequence[str] = (),
    *,
    features: FeatureOptions = FeatureOptions(),
    recipe: AnyRecipe,
    training: TrainingOptions = TrainingOptions(),
    run: RunOptions,
) -> Cost:
    """Describe the steps of `train` for these tracks and estimate their time; write nothing."""
    from mirex_submission.features.headers import Headers
    from mirex_submission.features.spec import FeatureSpec
    from mirex_submission.preflight import cost
    from mirex_submission.runs import fitting

    paths = [*task_paths, *(track.path for track in tracks)]
    check_sizes(recipe, features)
    headers = Headers(run.threads, run.track_limit)
    specs = choose_specs(scratch, paths, recipe, features, headers)
    _check(scratch, specs, paths, tracks, headers, recipe=recipe, training=training, run=run)
    if isinstance(recipe, ViewRecipe):
        return cost.plan_views(scratch, tracks, paths, recipe, specs, headers, threads=run.threads)
    (spec,) = (spec for spec in specs if isinstance(spec, FeatureSpec))
    start = functools.partial(fitting.start_engine, recipe, run)
    return cost.plan(scratch, tracks, paths, recipe, spec, headers, start=start, calibrate=training.calibrate)


def _fit(
    scratch: Path,
    tracks: Sequence[Track],
    recipe: AnyRecipe,
    specs: Sequence[Spec],
    *,
    training: TrainingOptions,
    run: RunOptions,
    feature_paths: Sequence[str] = (),
    groups: Mapping[str, str],
) -> Path:
    from mirex_submission.features.spec import FeatureSpec, ViewSpec
    from mirex_submission.runs import fitting, view_fitting

    log.info("recipe: %s", recipe.name)
    if isinstance(recipe, Recipe):
        (spec,) = (spec for spec in specs if isinstance(spec, FeatureSpec))
        return fitting.train(
            scratch, tracks, recipe, spec, training=training, run=run, feature_paths=feature_paths, groups=groups
        )
    of_views = [spec for spec in specs if isinstance(spec, ViewSpec)]
    return view_fitting.train(
        scratch, tracks, recipe, of_views, training=training, run=run, feature_paths=feature_paths, groups=groups
    )


def check_training_options(
    features: FeatureOptions,
    recipe: AnyRecipe | str,
    training: TrainingOptions,
    run: RunOptions,
    *,
    tables: TableOptions = TableOptions(),
) -> AnyRecipe:
    """Check the options of a training and return the recipe.

    Raises
    ------
    UsageError
        An argument has a wrong type, or an option belongs to another recipe.
    """
    check_options(
        features=(features, FeatureOptions),
        training=(training, TrainingOptions),
        tables=(tables, TableOptions),
        run=(run, RunOptions),
    )
    recipe = as_recipe(recipe)
    check_recipe(recipe, features, training, run)
    return recipe


def check_sizes(recipe: AnyRecipe, features: FeatureOptions) -> None:
    """Check that segments are large enough for every network of the recipe.

    Raises
    ------
    UsageError
        A segment is too small, or there is no network of this name.
    """
    from mirex_submission.networks.registry import NETWORKS
    from mirex_submission.networks.sizes import ARCHITECTURES, smallest_input

    for network in recipe.networks:
        if network not in ARCHITECTURES:
            NETWORKS.package_of(network)  # an added network checks the size of its input when it is built
            continue
        bands, frames = smallest_input(network)
        if features.bands < bands or features.frames < frames:
            raise UsageError(
                f"{features.bands} bands x {features.frames} frames are too few for model {network}: give at least "
                f"{bands} x {frames}",
                code="usage.segment-size",
            )


def _read(
    train_list: ListSource,
    paths: ListSource | None,
    training: TrainingOptions,
    recipe: AnyRecipe,
    tables: TableOptions,
    *,
    for_evaluator: bool = False,
) -> tuple[list[Track], list[str], Mapping[str, str]]:
    """Read the training tracks, the paths of the other list, and the group of each path; report all their problems."""
    from mirex_submission.features.list_sources import groups_of_folders, open_list

    of_folders = groups_of_folders(training.groups, tables)
    holds_out = not isinstance(recipe, Recipe) or recipe.patience or training.calibrate
    if (training.groups is not None or tables.group_column) and not holds_out:
        raise UsageError(
            "--groups requires --patience, --calibrate, or a recipe of views such as --recipe modulation",
            code="usage.groups",
        )

    def read_training() -> tuple[list[Track], Mapping[str, str]]:
        source = open_list("train_list", train_list, labelled=True, tables=tables, groups=of_folders)
        return lists.read_labelled(source), source.groups if isinstance(source, InMemoryList) else {}

    (tracks, groups_of_source), listed, groups = lists.read_all(
        read_training,
        lambda: [] if paths is None else lists.read_paths(
            open_list(
                "test_list" if for_evaluator else "feature_list", paths, labelled=False, tables=tables
            ),
            for_evaluator=for_evaluator,
        ),
        lambda: [] if training.groups is None or of_folders else lists.read_labelled(
            as_list("groups", training.groups, labelled=True), min_classes=1, for_evaluator=False
        ),
    )  # fmt: skip
    return tracks, listed, groups_of_source or {full_path(track.path): nfc(track.label) for track in groups}


def _check(
    scratch: Path,
    specs: tuple[Spec, ...],
    paths: Sequence[str],
    tracks: Sequence[Track],
    headers: Headers,
    *,
    recipe: AnyRecipe,
    training: TrainingOptions,
    run: RunOptions,
    readable: Sequence[str] = (),
) -> None:
    from mirex_submission.preflight import checks

    if run.no_check:
        return
    planned = checks.PlannedRun(
        scratch,
        specs,
        paths,
        trainings=[tracks],
        recipe=recipe,
        max_bad=training.max_bad / 100,
        readable=[readable or paths] if run.strict else [],
        strict=run.strict,
        threads=run.threads,
        n_jobs=run.threads,
        device=run.chosen_device,
        engine=run.engine,
    )
    checks.begin(planned, headers)
