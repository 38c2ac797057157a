"""The recipes: all settings that decide a training, frozen.

`Recipe` is the recipe `paper`: networks on segments. `ViewRecipe` is the recipe `modulation`: a support vector machine
on views.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from mirex_submission.errors import UsageError
from mirex_submission.networks.registry import MODELS, is_model
from mirex_submission.system.option import Options, check_options, integer_between, option, positive_number, seed
from mirex_submission.system.plugins import NAME

SEGMENT_CHOICES = ("random", "consecutive", "fresh")
CLASS_WEIGHTS = ("none", "balanced")
VOTES = ("mean", "majority")
PRECISIONS = ("float32", "auto")
MAX_SEGMENTS = 100_000  # of a track; more would fill the memory


def model(value: Any) -> str:
    """Convert the name or the number of a network."""
    name = str(value) if type(value) is int else value
    if not is_model(name):
        raise ValueError(f"{value!r}: choose one of {', '.join(MODELS)}, or a network that a package adds")
    return str(name)


@dataclass(frozen=True)
class Recipe(Options):
    """Settings that decide the weights of a model, and how it predicts.

    Parameters
    ----------
    model : {"1", "2", "3", "all"} or str
        Network; "all" averages the probabilities of the three; another name is a network that a package adds.
    epochs, batch_size, learning_rate : int, int, float
        Settings of plain SGD with a constant learning rate on categorical cross-entropy.
    segments : {"random", "consecutive", "fresh"}
        "random" draws `segments_per_track` start frames for each track once; "fresh" draws new ones in every epoch;
        "consecutive" takes adjacent segments.
    segments_per_track : int
        Random segments for each track.
    class_weights : {"none", "balanced"}
        "balanced" weighs the loss of a segment by the inverse of the share of its class.
    vote : {"mean", "majority"}
        How the segments of a track decide its class.
    precision : {"float32", "auto"}
        "auto" trains in bfloat16 where a GPU supports it.
    patience : int
        Stop after this many epochs without a lower loss on held-out tracks; 0: never.
    seed : int
        Seed of initial weights, segments, order and dropout.

    Examples
    --------
    >>> from mirex_submission import Recipe
    >>> Recipe(model="all", epochs=10).networks
    ('1', '2', '3')
    >>> Recipe(epochs=0)
    Traceback (most recent call last):
    mirex_submission.errors.UsageError: --epochs: 0 is not at least 1 [usage.option]
    """

    model: str = option(
        "2", "network; all: the mean of the three; NAME: one from an installed package", convert=model,
        metavar="|".join((*MODELS, "NAME")),
    )  # fmt: skip
    epochs: int = option(150, "passes over the data", convert=integer_between(1), metavar="N")
    batch_size: int = option(40, "segments a mini-batch", convert=integer_between(1), metavar="N")
    learning_rate: float = option(0.02, "constant learning rate of SGD", convert=positive_number, metavar="X")
    segments: str = option("random", "how segments are chosen", choices=SEGMENT_CHOICES)
    segments_per_track: int = option(
        30, "random segments of each track", convert=integer_between(1, MAX_SEGMENTS), metavar="N"
    )
    class_weights: str = option("none", "balanced: rare classes weigh more", choices=CLASS_WEIGHTS)
    vote: str = option("mean", "how segments decide a track", choices=VOTES)
    precision: str = option("float32", "auto: the fastest, bfloat16 on GPUs that have it", choices=PRECISIONS)
    patience: int = option(
        0, "stop after N epochs without a lower loss on held-out tracks", convert=integer_between(0), metavar="N"
    )
    seed: int = option(0, "random seed", convert=seed, metavar="N")

    name: ClassVar[str] = "paper"

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that this recipe trains."""
        return ("1", "2", "3") if self.model == "all" else (self.model,)

    @property
    def of_one_epoch(self) -> dict[str, object]:
        """Settings that affect the weights after one epoch."""
        others = ("model", "epochs", "vote", "patience")
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in others}


def views(value: Any) -> tuple[str, ...]:
    """Convert names of views, separated by commas or in a sequence."""
    names = tuple(value.split(",") if isinstance(value, str) else value if isinstance(value, Iterable) else (value,))
    if not names or not all(isinstance(name, str) and re.fullmatch(NAME, name) for name in names):
        raise ValueError(f"{value!r}: give names of views, separated by commas")
    if len(set(names)) < len(names):
        raise ValueError(f"{value!r}: names a view twice")
    return names


@dataclass(frozen=True)
class ViewRecipe(Options):
    """Settings that decide a model of views: a support vector machine with a Gaussian kernel.

    Parameters
    ----------
    views : tuple of str, or str
        Names of the views, in a sequence or separated by commas.
    c : float
        Penalty of errors.
    gamma : float, optional
        Width of the kernel: exp(-gamma * squared distance), where the mean squared distance of two training tracks is
        the number of views. Default: 0.6 divided by the number of views.
    tune : bool
        Choose c and gamma from a grid of 12, by cross-validation inside the training tracks.
    seed : int
        Seed of the folds inside the training tracks, and of the landmarks of a large training.

    Examples
    --------
    >>> from mirex_submission import ViewRecipe
    >>> ViewRecipe().views, ViewRecipe().chosen_gamma
    (('mel-modulation', 'vqt-modulation'), 0.3)
    """

    views: tuple[str, ...] = option(
        "mel-modulation,vqt-modulation", "what is computed of a track; more are added by packages", convert=views,
        metavar="NAME,...",
    )  # fmt: skip
    c: float = option(3.0, "penalty of errors", convert=positive_number, metavar="X")
    gamma: float | None = option(
        None, "width of the kernel (default: 0.6 divided by the number of views)", convert=positive_number, metavar="X"
    )
    tune: bool = option(False, "choose c and gamma inside the training tracks")
    seed: int = option(0, "random seed", convert=seed, metavar="N")

    name: ClassVar[str] = "modulation"
    networks: ClassVar[tuple[str, ...]] = ()

    @property
    def chosen_gamma(self) -> float:
        """The width of the kernel as given, or else 0.6 divided by the number of views."""
        return 0.6 / len(self.views) if self.gamma is None else self.gamma


AnyRecipe: TypeAlias = Recipe | ViewRecipe
RECIPES: dict[str, type[Recipe] | type[ViewRecipe]] = {kind.name: kind for kind in (Recipe, ViewRecipe)}


def recipe_class(name: object) -> type[Recipe] | type[ViewRecipe]:
    """Return the class of the recipe of this name. Raises UsageError."""
    if not isinstance(name, str) or name not in RECIPES:
        raise UsageError(f"recipe {name!r}: choose one of {', '.join(RECIPES)}", code="usage.recipe")
    return RECIPES[name]


def fields_of_others(kind: type[Options]) -> list[tuple[str, dataclasses.Field[Any]]]:
    """Return the options that other recipes have and this one has not, each with the name of its recipe."""
    own = {field.name for field in dataclasses.fields(kind)}
    return [
        (name, field) for name, other in RECIPES.items() for field in dataclasses.fields(other) if field.name not in own
    ]


def refuse_fields_of_others(kind: type[Recipe] | type[ViewRecipe], names: Container[str]) -> None:
    """Raise UsageError if one of the names is that of a parameter of another recipe only."""
    for other, field in fields_of_others(kind):
        if field.name in names:
            raise UsageError(
                f"{field.name} is a parameter of the recipe {other}, not of {kind.name}: leave it out, or give "
                f"recipe={other!r}",
                code="usage.other-recipe",
            )


def as_recipe(recipe: AnyRecipe | str) -> AnyRecipe:
    """Return a recipe unchanged, or for a name the recipe with its defaults. Raises UsageError for anything else."""
    if isinstance(recipe, str):
        return recipe_class(recipe)()
    check_options(recipe=(recipe, (Recipe, ViewRecipe)))
    return recipe
