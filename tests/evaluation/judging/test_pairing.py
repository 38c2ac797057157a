"""Which list belongs to which fold, by file names."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.pairing import fold_truths, outputs_of


@pytest.fixture
def pair(tmp_path):
    """{fold: the system's file} for the names of the files in the truth's and in a system's folder."""

    def run(truths, outputs):
        for folder, names in (("truth", truths), ("system", outputs)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        folds = fold_truths(tmp_path / "truth")
        found = outputs_of(tmp_path / "system", folds)
        return {fold.name: path and path.name for fold, path in zip(folds, found, strict=True)}

    return run


@pytest.mark.parametrize(
    ("truths", "outputs", "expected"),
    [
        (["a.txt", "b.txt"], ["results.tcca.a.txt", "results.tcca.b.txt"], {"a": 0, "b": 1}),
        (["fold1.truth.txt", "fold2.truth.txt"], ["fold1.txt", "fold2.txt"], {"fold1": 0, "fold2": 1}),
        (["fold1.gt.txt", "fold2.gt.txt"], ["out_2.txt", "out_1.txt"], {"fold1": 1, "fold2": 0}),
        (["latin_1_truth.txt", "latin_2_truth.txt"], ["01.txt", "02.txt"], {"latin_1": 0, "latin_2": 1}),
        (["1.txt", "2.txt"], ["mirex2016.Fold-1.txt", "mirex2016.Fold-2.txt"], {"1": 0, "2": 1}),
        (["1.txt", "2.txt"], ["svm2.fold1.txt", "svm2.fold2.txt"], {"1": 0, "2": 1}),
        (["truth.txt"], ["whatever.txt"], {"truth": 0}),
        (["fold1.truth.txt"], ["fold1.txt"], {"fold1": 0}),
    ],
)
def test_the_names_that_people_give(pair, truths, outputs, expected):
    assert pair(truths, outputs) == {fold: outputs[k] for fold, k in expected.items()}


def test_other_lists_and_other_files_beside_the_truth_and_the_outputs_do_not_count(pair):
    truths = [f"fold{k}.{kind}.txt" for k in (1, 2) for kind in ("truth", "train", "test")] + [
        "features.txt",
        "counts.tsv",
    ]
    outputs = ["fold1.txt", "fold1.csv", "fold1.log", ".fold2.txt", "fold2.txt"]
    assert pair(truths, outputs) == {"fold1": "fold1.txt", "fold2": "fold2.txt"}


def test_folds_are_in_the_order_of_their_numbers(pair):
    names = [f"fold{k}.txt" for k in range(1, 13)]
    assert list(pair(names, names)) == [f"fold{k}" for k in range(1, 13)]


def test_folds_without_an_output_are_none_whichever_they_are(pair):
    repeats = [f"repeat{r}.fold{f}.truth.txt" for r in (1, 2) for f in (1, 2, 3)]
    found = pair(repeats, ["repeat1.fold1.txt", "repeat1.fold3.txt", "repeat2.fold1.txt"])
    assert {fold for fold, path in found.items() if path} == {"repeat1.fold1", "repeat1.fold3", "repeat2.fold1"}
    assert all(path in (None, f"{fold}.txt") for fold, path in found.items())


def test_a_system_without_any_output_has_none_for_each_fold(pair):
    assert pair(["a.txt", "b.txt"], []) == {"a": None, "b": None}


@pytest.mark.parametrize(
    "outputs",
    [["first.txt", "second.txt"], ["a.one.txt", "a.two.txt"], ["a.b.txt"], ["a.txt", "b.txt", "c.txt"]],
)
def test_a_doubt_is_an_error_that_names_the_files_and_what_to_name_them(pair, outputs):
    with pytest.raises(ListError, match=r"which file is the output of which fold\?") as caught:
        pair(["a.gt.txt", "b.gt.txt"], outputs)
    assert all(name in str(caught.value) for name in [*outputs, "a.gt.txt", "b.gt.txt"])
    assert str(caught.value).endswith("name the outputs a.txt, b.txt")


def test_a_folder_that_is_not_there_or_has_no_truth_is_an_error(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(ListError, match=rf"{re.escape(str(missing))}: cannot be read: No such file.*: give the folder"):
        fold_truths(missing)
    (tmp_path / "truth.csv").touch()
    with pytest.raises(ListError, match=r"no \.txt file: give the folder with one truth list a fold"):
        fold_truths(tmp_path)


words = st.text("abcxyz", min_size=1, max_size=4)


@given(
    words.filter(lambda word: word not in ("truth", "gt")), st.sets(st.integers(0, 999), min_size=2, max_size=9), words
)
@settings(deadline=None, max_examples=40)
def test_any_prefix_and_suffix_that_all_outputs_share_is_seen_through(tmp_path_factory, prefix, numbers, suffix):
    folder = tmp_path_factory.mktemp("pairing")
    for number in numbers:
        (folder / f"fold{number}.truth.txt").touch()
    folds = fold_truths(folder)
    system = folder / "system"
    system.mkdir()
    for number in numbers:
        (system / f"{prefix}.{number:04}.{suffix}.txt").touch()
    expected = [f"{prefix}.{number:04}.{suffix}.txt" for number in sorted(numbers)]
    assert [path.name for path in outputs_of(system, folds)] == expected
    assert [fold.name for fold in folds] == [f"fold{number}" for number in sorted(numbers)]
