"""The recipe: its defaults are the paper's, and what no training can follow is refused by name."""

import dataclasses

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.training.recipe import Recipe


def test_the_defaults_are_the_papers():
    recipe = Recipe()
    assert recipe.model == "2"
    assert recipe.epochs == 150
    assert recipe.batch_size == 40
    assert recipe.learning_rate == 0.02
    assert (recipe.segments, recipe.segments_per_track) == ("random", 30)
    assert recipe.class_weights == "none"
    assert recipe.vote == "mean"
    assert recipe.seed == 0


@pytest.mark.parametrize(("model", "networks"), [("1", ("1",)), ("2", ("2",)), ("3", ("3",)), ("all", ("1", "2", "3"))])
def test_a_model_names_the_networks_to_train(model, networks):
    assert Recipe(model=model).networks == networks


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "4"),
        ("segments", "all"),
        ("class_weights", "equal"),
        ("class_weights", None),
        ("vote", "median"),
        ("epochs", 0),
        ("batch_size", -1),
        ("segments_per_track", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -0.02),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_invalid_values_are_refused_by_name_and_value(name, value):
    with pytest.raises(UsageError, match=rf"^--{name.replace('_', '-')}: .*{value}.*\[usage\.option\]"):
        Recipe(**{name: value})


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_seeds_of_32_bits_are_taken(seed):
    assert Recipe(seed=seed).seed == seed


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("segments", ("random", "consecutive", "fresh")),
        ("class_weights", ("none", "balanced")),
        ("vote", ("mean", "majority")),
    ],
)
def test_every_choice_is_taken(name, values):
    for value in values:
        assert getattr(Recipe(**{name: value}), name) == value


OTHER = {
    "model": "3",
    "epochs": 151,
    "batch_size": 41,
    "learning_rate": 0.021,
    "segments": "fresh",
    "precision": "auto",
    "patience": 3,
    "segments_per_track": 31,
    "class_weights": "balanced",
    "vote": "majority",
    "seed": 1,
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_decides_an_epoch_except_model_epochs_patience_and_vote(name):
    changed = Recipe(**{name: OTHER[name]})
    assert changed != Recipe()
    assert (changed.of_one_epoch == Recipe().of_one_epoch) == (name in {"model", "epochs", "patience", "vote"})


def test_a_recipe_never_changes():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 3
