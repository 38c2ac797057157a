"""Compare recipes on a folder of labelled music: folds, cross-validation, report, and a model of the best recipe."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirex_submission.errors import ListError, UsageError, examples
from mirex_submission.evaluation.options import GROUPS, CrossvalOptions, FoldsOptions
from mirex_submission.protocol.groups import GroupedTrack
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.runs.train import estimate, train
from mirex_submission.system import option as opt
from mirex_submission.system.atomic import make_folder, write_file
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import option
from mirex_submission.system.progress import duration
from mirex_submission.training.recipe import RECIPES, Recipe, ViewRecipe, as_recipe

log = logging.getLogger(__name__)

_DEFAULT_S = 3600.0  # the recipe of networks is a default up to this time
_START_S = 5.0  # of each step of a cross-validation
_MODEL = "all"  # name of the model of all tracks


@dataclass(frozen=True)
class TrialOptions(TableOptions):
    """Options of `try`.

    Parameters
    ----------
    recipes : sequence of str
        Recipes to compare; default: modulation, and paper if it takes less than an hour.
    groups : {"folder", "auto", "none"}
        Whether the tracks of one folder below their class, such as that of an artist, stay together.
    folds : int
        Number of folds.
    seed : int
        Random seed of the folds.
    """

    recipes: Sequence[str] = ()
    groups: str = option("auto", "keep tracks of one subfolder of a class together", choices=(*GROUPS, "none"))
    folds: int = option(3, "number of folds", convert=opt.integer, metavar="K")
    seed: int = option(0, "random seed of the folds", convert=opt.seed, metavar="N")


def try_folder(
    folder: str | os.PathLike[str],
    scratch: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    options: TrialOptions = TrialOptions(),
    *,
    run: RunOptions = RunOptions(),
    environment: Mapping[str, str] = os.environ,
    command_line: Sequence[str] = (),
    show: Callable[[str], object] = lambda text: None,
) -> Path:
    """Cross-validate recipes on labelled music, write a report, and train a model of all tracks with the best recipe.

    A repeated call resumes.

    Parameters
    ----------
    folder : path
        Holds a folder for each class; or a table.
    scratch : path, optional
        Folder for features and models; default: the folder's name with `.try`, in the current folder.
    out : path, optional
        Folder for outputs, figures and the report; default: `results` in `scratch`.
    options, run : TrialOptions, RunOptions
        Recipes and folds; threads and device.
    environment : mapping
        Environment of the steps of the cross-validation.
    command_line : sequence of str
        The command line, for the records.
    show : callable
        Called with the summary.

    Returns
    -------
    Path
        Folder of the model.

    Raises
    ------
    ListError, UsageError
        The folder or the options cannot be used.
    SubmissionError
        A step failed.
    """
    source = os.path.abspath(folder)
    if not os.path.exists(source):
        raise ListError(f"{source}: no such folder or table: check its path", code="list.unreadable")
    scratch = Path(scratch or default_scratch(source)).absolute()
    out = Path(out).absolute() if out else scratch / "results"
    for place in (scratch, out):
        if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(source)):
            text = f"{place}: is inside {source}, whose folders are classes: give other folders as --scratch and --out"
            raise UsageError(text, code="usage.scratch-inside")
    from mirex_submission.evaluation.crossval.crossvalidate import cross_validate
    from mirex_submission.evaluation.report.page import write_report

    tracks = _folds(source, scratch / "folds", options)
    home = own_scratch(scratch)
    recipes = _recipes(tracks, home, options, run)
    groups = scratch / "folds" / "groups.txt"
    of_views = [name for name in recipes if RECIPES[name] is ViewRecipe] if groups.exists() else []
    cross_validate(
        scratch / "folds",
        scratch,
        out,
        CrossvalOptions(
            recipes=recipes,
            train_options=[(name, ["--groups", str(groups)]) for name in of_views],
            threads=run.threads,
            device=run.chosen_device,
        ),
        environment=environment,
        command_line=command_line,
        show=show,
    )
    for note in write_report(out, out / "report.html", command_line):
        log.warning("%s", note)
    best, accuracies = _best(out)
    log.info("the best recipe is %s: it now trains a model on all %d tracks", best, len(tracks))
    training = TrainingOptions(name=_MODEL, groups=str(groups) if best in of_views else None)
    pairs = [(track.path, track.label) for track in tracks]
    model = _publish(train(home, pairs, recipe=best, training=training, run=run), scratch / "model")
    others = "".join(f"; {name}, {accuracy:.2%}" for name, accuracy in accuracies.items() if name != best)
    show(f"best: {best}, {accuracies[best]:.2%} right{others}\nreport: {out / 'report.html'}\nmodel: {model}")
    log.info("for copies and leaks in the data: mirex-submission audit %s --out %s", scratch / "folds", out)
    return model


def default_scratch(source: str) -> str:
    """Return the name of the default scratch folder of a folder or a table."""
    return f"{os.path.basename(os.path.abspath(source)) or 'root'}.try"


def own_scratch(scratch: Path) -> Path:
    """Return the scratch folder in which a cross-validation runs this program."""
    from mirex_submission.evaluation.crossval.system import OWN_FOLDER, find

    return scratch / "submissions" / find(OWN_FOLDER).home / "scratch"


def _folds(source: str, folder: Path, options: TrialOptions) -> list[GroupedTrack]:
    """Write the folds, and return all tracks. Raises ListError where a class cannot be trained and tested."""
    from mirex_submission.evaluation.folds.make import labelled_tracks, write_folds
    from mirex_submission.features.folders import check_no_loose_audio

    columns = {name: getattr(options, name) for name in ("path_column", "label_column", "group_column", "root")}
    folds = FoldsOptions(
        **columns,
        labelled=source,
        groups=options.groups if os.path.isdir(source) and options.groups != "none" else None,
        out=str(folder),
        folds=options.folds,
        seed=options.seed,
    )
    tracks = labelled_tracks(folds)
    if os.path.isdir(source):
        check_no_loose_audio(source)
    groups: dict[str, set[str]] = {}
    for track in tracks:
        groups.setdefault(track.label, set()).add(track.group)
    few = [label for label, of_class in groups.items() if len(of_class) < 2]
    if few and len(groups) > 1:
        text = f"{source}: {len(few):,} class(es) of a single track or group: {examples(few)}"
        advice = "a class needs one to train and one to test: add tracks, or remove these classes"
        raise ListError(f"{text}: {advice}", code="folds.few-groups")
    write_folds(tracks, folds)
    return tracks


def _recipes(tracks: Sequence[GroupedTrack], home: Path, options: TrialOptions, run: RunOptions) -> list[str]:
    """Choose the recipes to compare, and log how long they take."""
    names = list(dict.fromkeys(options.recipes)) or [ViewRecipe.name, Recipe.name]
    total_s, chosen = 0.0, []
    with prepared(home, threads=run.threads):
        for name in names:
            cost = estimate(home, tracks, recipe=as_recipe(name), run=run)
            # All folds together train on each track in all folds but one; the best recipe once more on all.
            seconds = cost.extraction_s + options.folds * cost.training_s + (2 * options.folds + 2) * _START_S
            if not options.recipes and name == Recipe.name and seconds > _DEFAULT_S:
                text = "recipe %s: about %s, left out: add it with --recipe %s --recipe %s"
                log.info(text, name, duration(seconds), ViewRecipe.name, name)
                continue
            log.info("recipe %s: about %s", name, duration(seconds))
            total_s += seconds
            chosen.append(name)
    log.info("this takes about %s in all, or less if an earlier run did a part of it", duration(total_s))
    return chosen


def _best(out: Path) -> tuple[str, dict[str, float]]:
    """Return the recipe with the highest accuracy, the first of equal ones, and the accuracies of all."""
    from mirex_submission.evaluation.judging.results import RESULTS, read

    accuracies = {system.name: system.overall.accuracy for system in read(out / RESULTS).systems}
    return max(accuracies, key=lambda name: accuracies[name]), accuracies


def _publish(model: Path, target: Path) -> Path:
    """Copy a model to where `classify` looks for it; the file that names the others comes last."""
    from mirex_submission.models.bundle import locked

    with locked(make_folder(target)):
        files = [file for file in model.iterdir() if file.is_file() and not file.name.startswith(".")]
        for file in sorted(files, key=lambda file: file.name == "bundle.json"):
            write_file(target / file.name, file.read_bytes())
    return target
