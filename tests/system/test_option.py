"""Converters of options, from text and from Python values, and the dataclasses that use them."""

import contextlib
import dataclasses
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.errors import UsageError
from mirex_submission.runs.options import shard
from mirex_submission.system import option as opt
from mirex_submission.system.option import Options, device, flag_of, integer_between, option
from mirex_submission.training.recipe import model

up_to_9 = integer_between(1, 9)
at_least_1 = integer_between(1)


@pytest.mark.parametrize(
    ("convert", "value", "result"),
    [
        (opt.integer, "12", 12), (opt.integer, "-3", -3), (opt.integer, 12, 12), (opt.integer, np.int64(12), 12),
        (up_to_9, "1", 1), (up_to_9, 9, 9), (at_least_1, 10**30, 10**30),
        (opt.number, "0.5", 0.5), (opt.number, "-1e3", -1000.0), (opt.number, 2, 2.0),
        (opt.number, np.float32(0.5), 0.5),
        (opt.positive_number, "1e-9", 1e-9), (opt.positive_number, 3, 3.0),
        (opt.percent, "0", 0.0), (opt.percent, 100, 100.0), (opt.percent, 12.5, 12.5),
        (opt.seconds, "30", 30.0), (opt.seconds, "30s", 30.0), (opt.seconds, "90m", 5400.0),
        (opt.seconds, "1.5h", 5400.0),
        (opt.seconds, "2d", 172800.0), (opt.seconds, "0", 0.0), (opt.seconds, 12.5, 12.5), (opt.seconds, 0, 0.0),
        (opt.positive_seconds, "1", 1.0), (opt.positive_seconds, 0.1, 0.1),
        (opt.path, "a b", "a b"), (opt.path, Path("a/b"), "a/b"), (opt.path, os.fsdecode(b"\xff"), "\udcff"),
        (opt.file_name, "fold-1.x_ä", "fold-1.x_ä"), (opt.file_name, "1", "1"),
        (opt.seed, "4294967295", 2**32 - 1), (opt.seed, 0, 0), (opt.threads, "100000", 100_000),
        (device, "auto", "auto"), (device, "cpu", "cpu"), (device, "gpu", "gpu"), (device, "gpu:0,12", "gpu:0,12"),
        (shard, "1/1", (1, 1)), (shard, "2/3", (2, 3)), (shard, (2, 3), (2, 3)), (shard, [2, 3], (2, 3)),
        (model, "1", "1"), (model, 2, "2"), (model, "all", "all"), (model, "my-net.2", "my-net.2"),
    ],
)  # fmt: skip
def test_converters_take_text_and_python_values(convert, value, result):
    converted = convert(value)
    assert converted == result and type(converted) is type(result)


@pytest.mark.parametrize(
    ("convert", "values"),
    [
        (opt.integer, ["", "1.0", "x", 1.0, None, [1], "1e3"]),
        (up_to_9, ["0", "10", 0, 10, "x", 1.5]),
        (at_least_1, ["0", -1]),
        (opt.number, ["", "x", "nan", "inf", math.inf, None, [1], 10**400]),
        (opt.positive_number, ["0", "-1", 0, -0.5]),
        (opt.percent, ["-1", "100.1", 101, -1]),
        (
            opt.seconds,
            ["", "h", "5 m", "-5", "5w", "1e3", "9" * 400 + "d", "99999999999h", 1e12, -1, None, math.nan, [1]],
        ),
        (opt.positive_seconds, ["0", "0h", 0, 0.0]),
        (opt.path, ["", None, 3, b"a", ["a"]]),
        (opt.file_name, ["", ".x", "-x", "a/b", "../x", "a b", None, 3, Path("a")]),
        (opt.seed, ["-1", "4294967296", 2**32]),
        (opt.threads, ["0", "100001", "9" * 30]),
        (device, ["", "tpu", "gpu:", "gpu:x", "gpu:1,1", "cpu:0", None, 3]),
        (shard, ["", "3", "0/3", "4/3", "a/b", "-1/3", "1/2/3", (4, 3), (1, 2, 3), ()]),
        (model, ["", "0", "4", "-x", "../x", "a b", 4]),
    ],
)
def test_converters_refuse_other_values_with_a_reason(convert, values):
    for value in values:
        with pytest.raises(ValueError, match=r".+"):
            convert(value)


@given(st.text() | st.floats() | st.integers() | st.none() | st.lists(st.integers(), max_size=3) | st.binary())
def test_any_value_is_converted_or_a_value_error(value):
    for convert in (
        opt.integer, opt.number, opt.percent, opt.seconds, opt.path, opt.file_name, opt.seed, device, model,
    ):  # fmt: skip
        with contextlib.suppress(ValueError):
            convert(value)


@dataclasses.dataclass(frozen=True)
class Example(Options):
    n: int = option(3, "a number", convert=up_to_9, metavar="N", flag="-number")
    some_choice: str = option("a", "a choice", choices=("a", "b"))
    switch: bool = option(False, "a switch")
    nothing: str | None = option(None, "a path", convert=opt.path)
    pair: tuple[int, int] = option((1, 1), "a pair", convert=shard)


def test_a_dataclass_converts_its_fields_and_its_defaults():
    assert Example(n="4", some_choice="b", switch=True, nothing=Path("x"), pair="2/3") == Example(
        4, "b", True, "x", (2, 3)
    )
    assert dataclasses.astuple(Example()) == (3, "a", False, None, (1, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example().n = 4


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"n": 10}, "-number"),
        ({"n": None}, "-number"),
        ({"some_choice": "c"}, "--some-choice"),
        ({"some_choice": None}, "--some-choice"),
        ({"switch": 1}, "--switch"),
        ({"switch": None}, "--switch"),
        ({"nothing": ""}, "--nothing"),
        ({"pair": 3}, "--pair"),
    ],
)
def test_a_value_that_is_refused_is_a_usage_error_that_names_the_option(values, flag):
    with pytest.raises(UsageError) as caught:
        Example(**values)
    assert caught.value.code == "usage.option" and str(caught.value).startswith(f"{flag}: ")
    with pytest.raises(UsageError):
        dataclasses.replace(Example(), **values)


def test_the_name_of_an_option_is_that_of_its_field_with_dashes():
    assert [flag_of(field) for field in dataclasses.fields(Example)] == [
        "-number", "--some-choice", "--switch", "--nothing", "--pair",
    ]  # fmt: skip
