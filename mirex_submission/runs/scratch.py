"""The scratch folder of a run, and the features that it holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.features.spec import VIEW_RATES_HZ, FeatureSpec, Spec
from mirex_submission.runs.options import FeatureOptions
from mirex_submission.system.option import checked_path
from mirex_submission.training.recipe import AnyRecipe, Recipe

if TYPE_CHECKING:
    from mirex_submission.features.headers import Headers

log = logging.getLogger(__name__)


def scratch_folder(scratch: str | os.PathLike[str]) -> Path:
    """Return the absolute path of the scratch folder. Raises UsageError if it is not a path."""
    return Path(checked_path("scratch", scratch)).absolute()


def choose_specs(
    scratch: Path,
    paths: Sequence[str],
    recipe: AnyRecipe,
    features: FeatureOptions,
    headers: Headers,
    *,
    whole_task: bool = False,
) -> tuple[Spec, ...]:
    """Choose the features of a task: log-Mel frames for networks, or one kind for each view.

    Parameters
    ----------
    scratch : Path
        Scratch folder, which remembers the working rate of the last whole task.
    paths : sequence of str
        Tracks of the run.
    recipe : Recipe or ViewRecipe
    features : FeatureOptions
        Sizes. A rate of "auto" is that of the last whole task if it holds all of `paths`, so that every fold has the
        rate of its task. Otherwise the headers of the files decide the rate.
    headers : Headers
        Headers that were read already.
    whole_task : bool
        Whether `paths` are all tracks of a task; then the rate is chosen again and stored.

    Raises
    ------
    UsageError
        A view is missing.
    """
    from mirex_submission.features.rate import choose_rate

    given_hz = None if features.rate == "auto" else int(features.rate)
    rate_hz = choose_rate(scratch, paths, headers, whole_task=whole_task, given_hz=given_hz)
    return specs_at(rate_hz, recipe, features)


def specs_at(rate_hz: int, recipe: AnyRecipe, features: FeatureOptions) -> tuple[Spec, ...]:
    """Return the features that a recipe needs at this working rate; views have a highest rate."""
    if isinstance(recipe, Recipe):
        return (FeatureSpec(rate_hz, features.bands, features.frames),)
    from mirex_submission.features.views import view_spec

    if rate_hz > max(VIEW_RATES_HZ):
        rate_hz = max(VIEW_RATES_HZ)
        log.info("views are computed at %d Hz, their highest rate", rate_hz)
    return tuple(view_spec(name, rate_hz) for name in recipe.views)
