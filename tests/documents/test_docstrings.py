"""The docstrings of the public API: complete by numpydoc's validation, with examples that run, and an overview."""

import doctest
import functools
import inspect
import pydoc

import numpy as np
import pytest
import soundfile

import mirex_submission

# Not required: text on the line below the quotes, and everywhere the sections See Also, Examples and extended summary.
NOT_CHECKED = {"GL01", "SA01", "EX01", "ES01"}
# The types that classify() and evaluate() return.
RESULTS = (
    "mirex_submission.runs.classification.Classification",
    "mirex_submission.evaluation.judging.evaluate.Evaluation",
)
# The order matters: an example trains the model that the next one uses.
IN_THE_ORDER_OF_A_TASK = ("extract", "train", "classify")


@functools.cache
def public():
    """Return the public names and objects, loaded when a test runs."""
    return {name: getattr(mirex_submission, name) for name in mirex_submission.__all__ if name != "__version__"}


def names_with_docstrings():
    """Return all public names and the classes of results, with the methods and properties of the classes."""
    for value in (*public().values(), *map(pydoc.locate, RESULTS)):
        name = f"{value.__module__}.{value.__qualname__}"
        yield name
        if inspect.isclass(value):
            members = [member for member in vars(value) if not member.startswith("_")]
            yield from (f"{name}.{member}" for member in members if is_documented(getattr(value, member, None)))


def is_documented(member):
    ours = getattr(member, "__module__", "").startswith("mirex_submission")
    return isinstance(member, property) or (inspect.isfunction(member) and ours)


def test_every_docstring_is_complete():
    from numpydoc.validate import validate

    problems = [
        (name, *problem)
        for name in names_with_docstrings()
        for problem in validate(name)["errors"]
        if problem[0] not in NOT_CHECKED
    ]
    assert problems == []


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with the lists of a task: high and low tones."""
    folder = tmp_path_factory.mktemp("task")
    rng = np.random.default_rng(0)
    lines = []
    for k in range(8):
        label, hz = ("high", 2000.0) if k % 2 else ("low", 200.0)
        samples = 0.3 * np.sin(2 * np.pi * hz * np.arange(3 * 11025) / 11025) + rng.normal(0, 0.01, 3 * 11025)
        soundfile.write(folder / f"{k}.wav", samples, 11025)
        lines.append(f"{folder / f'{k}.wav'}\t{label}")
    (folder / "train.txt").write_text("\n".join(lines[:4]) + "\n")
    (folder / "test.txt").write_text("".join(line.partition("\t")[0] + "\n" for line in lines[4:]))
    (folder / "features.txt").write_text("".join(line.partition("\t")[0] + "\n" for line in lines))
    return folder


def test_every_example_of_a_docstring_runs(task, monkeypatch):
    monkeypatch.chdir(task)
    runner, finder = doctest.DocTestRunner(), doctest.DocTestFinder(recurse=False)
    names = [*IN_THE_ORDER_OF_A_TASK, *(set(public()) - set(IN_THE_ORDER_OF_A_TASK))]
    examples = [test for name in names for test in finder.find(public()[name], name) if test.examples]
    assert [test.name for test in examples if runner.run(test).failed] == []
    functions = {name for name, value in public().items() if inspect.isfunction(value)}
    assert functions <= {test.name for test in examples}


def test_the_help_of_the_package_is_an_overview_of_all_public_names():
    overview = pydoc.plain(pydoc.render_doc(mirex_submission)).partition("PACKAGE CONTENTS")[0]
    assert [name for name in public() if f"`{name}`" not in overview] == []
