"""Options are the same on the command line and in Python: their names, defaults, and the values that both take."""

import argparse
import dataclasses
import re

import pytest
from command_line import call

from mirex_submission.cli.main import _parser
from mirex_submission.cli.options import add_lists, add_options, read_options
from mirex_submission.errors import UsageError
from mirex_submission.runs.options import (
    ClassificationOptions,
    ExtractionOptions,
    FeatureOptions,
    RunOptions,
    TrainingOptions,
)
from mirex_submission.system import option as opt
from mirex_submission.training.recipe import Recipe

# The dataclasses of each command; of RunOptions, those that it takes.
COMMANDS = {
    "extract": ((FeatureOptions, ExtractionOptions), ("strict", "no_check")),
    "train": ((FeatureOptions, Recipe, TrainingOptions), ("device", "engine", "strict", "no_check")),
    "classify": ((ClassificationOptions,), ("device", "engine", "strict", "no_check")),
    "train-and-classify": (
        (FeatureOptions, Recipe, TrainingOptions),
        ("device", "engine", "strict", "no_check"),
    ),
    "check": ((FeatureOptions, Recipe), ("device", "engine", "strict")),
    "features": ((FeatureOptions,), ()),
    "doctor": ((), ("device",)),
}
ALL = (
    FeatureOptions, Recipe, ExtractionOptions, TrainingOptions, ClassificationOptions, RunOptions,
)  # fmt: skip
# Values of every kind of option, and what none takes.
TEXTS = (
    "", " ", "0", "1", "2", "4", "-1", "1.5", "0.02", "1e-3", "1e400", "nan", "inf", "100", "100001", "4294967295",
    "4294967296", "1_0", "all", "x", "x.y", "../x", "-x", "ä", "20h", "5m", "1.5d", "5 m", "-5m", "cpu", "gpu",
    "gpu:1,2", "gpu:1,1", "gpu:", "2/3", "4/3", "0/3", "a/b", "3", "auto", "44100", "48000", "random", "balanced",
    "mean", "majority", "float32", "none", "native", "keras", "loky", "dask", "ray", "True", "None",
)  # fmt: skip


def fields_of(command):
    dataclasses_of_command, of_run = COMMANDS[command]
    for options in dataclasses_of_command:
        yield from dataclasses.fields(options)
    yield from (field for field in dataclasses.fields(RunOptions) if field.name in ("threads", *of_run))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_with_its_default_and_its_choices(command):
    text = call(command, "--help").stdout
    blocks = {}
    for block in re.split(r"\n  (?=-)", text)[1:]:
        blocks.update(dict.fromkeys(re.findall(r"(?:^|, )(--?[\w-]+)", block.split("  ")[0]), " ".join(block.split())))
    for field in fields_of(command):
        block = blocks[opt.flag_of(field)]
        assert blocks[f"--{field.name.replace('_', '-')}"] == block
        assert field.metadata["help"] in block
        assert ("{" + ",".join(field.metadata["choices"]) + "}" in block) == bool(field.metadata["choices"])
        if field.default is None or isinstance(field.default, bool):
            assert "(default: True" not in block and "(default: None" not in block
        else:
            shown = "/".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
            assert f"(default: {shown})" in block


def test_run_options_that_a_command_does_not_take_are_not_shown():
    assert "--device" not in call("extract", "--help").stdout
    assert "--no-check" not in call("doctor", "--help").stdout


@pytest.mark.parametrize("options", ALL)
def test_the_defaults_of_the_command_line_are_those_of_the_dataclass(options):
    parser = argparse.ArgumentParser()
    add_options(parser, options)
    assert read_options(parser.parse_args([]), options) == options()


def taken(make):
    """The value, or None with the reason that it is refused."""
    try:
        return make(), ""
    except (UsageError, argparse.ArgumentError) as error:
        return None, str(error)


@pytest.mark.parametrize("options", ALL)
def test_the_command_line_and_the_dataclass_take_and_refuse_the_same_values(options):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser, options)
    n_taken = 0
    for field in dataclasses.fields(options):
        # `groups` may also be a list in memory; a switch takes no text.
        for text in () if field.name == "groups" or isinstance(field.default, bool) else TEXTS:
            here, reason = taken(lambda field=field, text=text: options(**{field.name: text}))
            there, _ = taken(
                lambda field=field, text=text: read_options(
                    parser.parse_args([f"{opt.flag_of(field)}={text}"]), options
                )
            )
            assert here == there, (field.name, text)
            assert here or (opt.flag_of(field) in reason and reason.endswith("[usage.option]"))
            n_taken += here is not None
    assert n_taken > 3


def test_a_switch_is_a_boolean():
    parser = argparse.ArgumentParser()
    add_options(parser, RunOptions)
    assert read_options(parser.parse_args(["--strict"]), RunOptions) == RunOptions(strict=True)
    for value in (1, "yes", None):
        with pytest.raises(UsageError, match="--strict"):
            RunOptions(strict=value)


def test_flags_that_have_two_names_are_one_option():
    parser = argparse.ArgumentParser()
    add_options(parser, RunOptions, "threads")
    assert {parser.parse_args([flag, "3"]).threads for flag in ("-numThreads", "--threads")} == {3}


def test_values_keep_the_type_of_python():
    options = TrainingOptions(time_limit=90, checkpoint_every="1h", max_bad="5", tensorboard="events")
    assert (options.time_limit, options.checkpoint_every, options.max_bad) == (90.0, 3600.0, 5.0)
    assert options.tensorboard.name == "events"
    assert ExtractionOptions(shard=(2, 3)) == ExtractionOptions(shard="2/3")
    assert FeatureOptions(rate=44100) == FeatureOptions(rate="44100")
    assert Recipe(model=1) == Recipe(model="1") and ClassificationOptions(model=1).model == "1"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recipe(epochs=2.0),
        lambda: Recipe(epochs=None),
        lambda: Recipe(seed=True * 1.0),
        lambda: Recipe(learning_rate=float("nan")),
        lambda: Recipe(learning_rate=[0.1]),
        lambda: TrainingOptions(checkpoint_every=None),
        lambda: TrainingOptions(name=3),
        lambda: ExtractionOptions(shard=(4, 3)),
        lambda: ExtractionOptions(shard=3),
        lambda: ExtractionOptions(plot=3),
        lambda: RunOptions(threads=0),
    ],
)
def test_values_of_python_that_no_option_takes_are_usage_errors(make):
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.code == "usage.option" and caught.value.exit_status == 2


def test_lists_are_positionals_in_mirexs_order_and_some_may_be_left_out():
    parser = argparse.ArgumentParser()
    add_lists(parser, "feature_list?", "train_list")
    read = parser.parse_intermixed_args(["s", "features", "train"])
    assert (read.scratch, read.feature_list, read.train_list) == ("s", "features", "train")
    read = parser.parse_intermixed_args(["s", "train"])
    assert (read.scratch, read.feature_list, read.train_list) == ("s", None, "train")


def test_train_and_check_have_the_same_defaults():
    train = vars(_parser("train").parse_args(["s", "train"]))
    check = vars(_parser("check").parse_args(["s"]))
    shared = train.keys() & check.keys() - {"scratch"}
    assert len(shared) > 15 and all(train[name] == check[name] for name in shared)
