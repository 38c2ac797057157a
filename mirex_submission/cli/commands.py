"""The commands on tracks and models: the arguments of each, and the run that it starts.

A run imports its libraries only when it starts.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path

from mirex_submission.cli.options import add_lists, add_options, given, path, read_options
from mirex_submission.errors import UsageError
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.options import (
    ClassificationOptions,
    ExtractionOptions,
    FeatureOptions,
    RunOptions,
    TaskLists,
    TrainingOptions,
    check_recipe,
)
from mirex_submission.runs.trial import TrialOptions
from mirex_submission.system.option import flag_of
from mirex_submission.system.progress import printable
from mirex_submission.training.recipe import RECIPES, AnyRecipe, Recipe, ViewRecipe, fields_of_others, recipe_class

log = logging.getLogger(__name__)

EXPORT_FORMATS = ("savedmodel", "onnx", "tflite")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", choices=tuple(RECIPES), help=f"what is trained (default: {Recipe.name})")


def _add_recipe_options(parser: argparse.ArgumentParser) -> None:
    _add_recipe(parser)
    add_options(parser, Recipe, title="recipe paper: networks (the defaults are the paper's)")
    own = [field.name for field in dataclasses.fields(ViewRecipe) if not hasattr(Recipe, field.name)]
    add_options(parser, ViewRecipe, *own, title="recipe modulation: a support vector machine on views")


def _recipe(args: argparse.Namespace) -> AnyRecipe:
    """Make the recipe that was asked for. Raises UsageError where an option is of another one."""
    kind = recipe_class(args.recipe or Recipe.name)
    for other, field in fields_of_others(kind):
        if getattr(args, field.name, None) is not None:
            raise UsageError(
                f"{flag_of(field)} is of the recipe {other}, not of {kind.name}: leave it out, or give "
                f"--recipe {other}",
                code="usage.other-recipe",
            )
    return kind(**given(args, kind))


def add_extract(parser: argparse.ArgumentParser) -> None:
    add_lists(parser, "feature_list")
    _add_recipe(parser)
    add_options(parser, ViewRecipe, "views")
    add_options(parser, FeatureOptions, title="features")
    add_options(parser, ExtractionOptions, title="extraction")
    _add_tables(parser, labelled=False)
    add_options(parser, RunOptions, "strict", "no_check", "track_limit")


def extract(args: argparse.Namespace) -> None:
    from mirex_submission.runs.extract import extract

    extract(
        args.scratch,
        args.feature_list,
        recipe=_recipe(args),
        features=read_options(args, FeatureOptions),
        extraction=read_options(args, ExtractionOptions),
        tables=read_options(args, TableOptions),
        run=read_options(args, RunOptions),
    )


def _add_tables(parser: argparse.ArgumentParser, *, labelled: bool = True) -> None:
    names = () if labelled else ("path_column", "root")
    add_options(parser, TableOptions, *names, title="tables in place of lists")


def add_train(parser: argparse.ArgumentParser) -> None:
    add_lists(parser, "feature_list?", "train_list")
    _add_training(parser)
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and how long it would take")


def _add_training(parser: argparse.ArgumentParser) -> None:
    add_options(parser, FeatureOptions, title="features")
    _add_recipe_options(parser)
    _add_tables(parser)
    add_options(parser, TrainingOptions, title="run")
    add_options(parser, RunOptions, "device", "engine", "strict", "no_check", "track_limit")


def train(args: argparse.Namespace) -> None:
    from mirex_submission.runs import train as training

    run = training.dry_run if args.dry_run else training.train
    result = run(
        args.scratch,
        args.train_list,
        args.feature_list,
        features=read_options(args, FeatureOptions),
        recipe=_recipe(args),
        training=read_options(args, TrainingOptions),
        tables=read_options(args, TableOptions),
        run=read_options(args, RunOptions),
    )
    if isinstance(result, list):
        print(*result, sep="\n")


def add_classify(parser: argparse.ArgumentParser) -> None:
    add_lists(parser, "test_list", "output")
    add_options(parser, ClassificationOptions, title="classification")
    _add_tables(parser, labelled=False)
    add_options(parser, RunOptions, "device", "engine", "strict", "no_check", "track_limit")


def classify(args: argparse.Namespace) -> None:
    from mirex_submission.runs.classify import classify

    classify(
        args.scratch,
        args.test_list,
        args.output,
        classification=read_options(args, ClassificationOptions),
        tables=read_options(args, TableOptions),
        run=read_options(args, RunOptions),
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    add_lists(parser)
    parser.add_argument("track", type=path, metavar="TRACK", help="an audio file")
    parser.add_argument(
        "--out", type=path, metavar="PATH", help="page to write, FILE.html, or a folder for it (default: this folder)"
    )
    add_options(parser, ClassificationOptions, "name", "model", "vote", title="classification")
    add_options(parser, RunOptions, "device", "engine", "track_limit")


def explain(args: argparse.Namespace) -> None:
    from mirex_submission.runs.explain import explain

    explain(
        args.scratch,
        args.track,
        args.out,
        classification=read_options(args, ClassificationOptions),
        run=read_options(args, RunOptions),
        command=args.command_line,
    )


def add_train_and_classify(parser: argparse.ArgumentParser) -> None:
    add_lists(parser, "train_list", "test_list", "output")
    _add_training(parser)
    add_options(parser, ClassificationOptions, "probabilities", "format", "confidence", title="classification")


def train_and_classify(args: argparse.Namespace) -> None:
    from mirex_submission.runs.train import train_and_classify

    train_and_classify(
        args.scratch,
        args.train_list,
        args.test_list,
        args.output,
        features=read_options(args, FeatureOptions),
        recipe=_recipe(args),
        training=read_options(args, TrainingOptions),
        classification=read_options(args, ClassificationOptions),
        tables=read_options(args, TableOptions),
        run=read_options(args, RunOptions),
    )


def add_check(parser: argparse.ArgumentParser) -> None:
    add_lists(parser)
    group = parser.add_argument_group("lists")
    for field in dataclasses.fields(TaskLists):
        words = {"metavar": field.metadata["metavar"], "help": field.metadata["help"]}
        group.add_argument(f"--{field.name}", type=path, nargs="+", action="extend", **words)
    add_options(parser, FeatureOptions, title="features")
    _add_recipe_options(parser)
    _add_tables(parser)
    add_options(parser, TrainingOptions, "name", "groups", "max_bad", title="run")
    add_options(parser, RunOptions, "device", "engine", "strict")


def check(args: argparse.Namespace) -> None:
    from mirex_submission.preflight.checks import ERROR, WARNING
    from mirex_submission.runs.check import check

    problems = check(
        args.scratch,
        read_options(args, TaskLists),
        features=read_options(args, FeatureOptions),
        recipe=_recipe(args),
        training=read_options(args, TrainingOptions),
        tables=read_options(args, TableOptions),
        run=read_options(args, RunOptions),
    )
    labels = {ERROR: "ERROR", WARNING: "warning"}
    for problem in problems:
        print(f"{labels.get(problem.severity, 'ok'):8} {printable(problem.text)}")
    errors = [problem for problem in problems if problem.severity == ERROR]
    if errors:
        kind = errors[0].kind
        text = f"{len(errors)} error(s); the first would end a run with status {kind.exit_status}"
        raise kind(text, code="check.errors")


def add_try(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=path, metavar="FOLDER", help="folder with a folder for each class, or a table")
    parser.add_argument("--scratch", type=path, metavar="SCRATCH", help="scratch folder (default: FOLDER's name.try)")
    parser.add_argument("--out", type=path, metavar="OUT", help="folder for the report (default: SCRATCH/results)")
    parser.add_argument(
        "--recipe", dest="recipes", action="append", choices=tuple(RECIPES),
        help="recipe to compare; repeatable (default: modulation, and paper if it takes less than an hour)",
    )  # fmt: skip
    add_options(parser, TrialOptions)
    add_options(parser, RunOptions, "device")


def try_folder(args: argparse.Namespace) -> None:
    from mirex_submission.runs.trial import try_folder

    try_folder(
        args.folder,
        args.scratch,
        args.out,
        read_options(args, TrialOptions),
        run=read_options(args, RunOptions),
        environment=args.environment,
        command_line=args.command_line,
        show=print,
    )


def add_features(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("track", type=path, metavar="TRACK", help="an audio file, or a stored feature file")
    parser.add_argument("--scratch", type=path, metavar="SCRATCH", help="scratch folder to look the track up in")
    parser.add_argument("--export", type=path, metavar="FILE", help="write them to FILE: .npy, .csv or .png")
    _add_recipe(parser)
    add_options(parser, ViewRecipe, "views")
    add_options(parser, FeatureOptions, title="features")


def features(args: argparse.Namespace) -> None:
    from mirex_submission.features import inspect
    from mirex_submission.runs.pictures import draw
    from mirex_submission.runs.scratch import specs_at
    from mirex_submission.system.atomic import write_output

    options, recipe = read_options(args, FeatureOptions), _recipe(args)
    check_recipe(recipe, options)
    scratch = Path(args.scratch).absolute() if args.scratch else None
    rate_hz = None if options.rate == "auto" else int(options.rate)
    features, source = inspect.find_features(
        args.track, scratch, rate_hz=rate_hz, specs_at=lambda rate_hz: specs_at(rate_hz, recipe, options)
    )
    if args.export and len(features) > 1:
        raise UsageError("--export writes one view: give --views with one name", code="usage.several-views")
    for header, matrix in features:
        if not args.export:
            print(inspect.summary(header, matrix))
        elif args.export.lower().endswith(".png"):
            write_output(args.export, draw(header, matrix, title=args.track))
        else:
            inspect.export(matrix, header.spec, args.export)
    if args.export:
        log.info("%s: %d x %d, %s", args.export, *features[0][1].shape, source)
    else:
        print(f"features  {source}")


def add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="SCRATCH/model, or SCRATCH/models/NAME")
    parser.add_argument("--format", choices=EXPORT_FORMATS, required=True, help="format of the export")
    parser.add_argument(
        "--output",
        type=path,
        metavar="PATH",
        help="file or folder to write (default: the model's name with the format)",
    )
    parser.add_argument(
        "--audio", type=path, metavar="FILE", action="append",
        help="audio to verify the export on; may be repeated (default: a training track of each class)",
    )  # fmt: skip


def export(args: argparse.Namespace) -> None:
    from mirex_submission.models import export

    export.export(
        Path(args.model).absolute(),
        args.format,
        args.output,
        audio_paths=args.audio or (),
        threads=read_options(args, RunOptions).threads,
    )


def add_doctor(parser: argparse.ArgumentParser) -> None:
    add_options(parser, RunOptions, "device")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def doctor(args: argparse.Namespace) -> None:
    from mirex_submission.preflight import doctor

    run = read_options(args, RunOptions)
    doctor.report(run.chosen_device, threads=run.threads, as_json=args.json)
