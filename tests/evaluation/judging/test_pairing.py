"""Assignment of files to folds: equal stems, patterns, and single files."""

import pytest

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.pairing import fold_truths, outputs_of


@pytest.fixture
def pair(tmp_path):
    """A function from the file names in the folders of the truth and of a system to {fold: the system's file}."""

    def run(truths, outputs, truth_pattern="", output_pattern=""):
        for folder, names in (("truth", truths), ("system", outputs)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        folds = fold_truths(tmp_path / "truth" / truth_pattern)
        paths = outputs_of(tmp_path / "system" / output_pattern, folds)
        return {fold.name: path and path.name for fold, path in zip(folds, paths, strict=True)}

    return run


@pytest.mark.parametrize(
    ("truths", "outputs", "expected"),
    [
        (["a.txt", "b.txt"], ["a.txt", "b.txt"], {"a": 0, "b": 1}),
        (["fold1.truth.txt", "fold2.truth.txt"], ["fold1.txt", "fold2.txt"], {"fold1": 0, "fold2": 1}),
        (["latin_1_truth.txt", "latin_2_truth.txt"], ["latin_1.txt", "latin_2.txt"], {"latin_1": 0, "latin_2": 1}),
        (["1.GT.txt"], ["1.txt"], {"1": 0}),
        (["truth.txt"], ["truth.txt"], {"truth": 0}),
    ],
)
def test_equal_stems_belong_together(pair, truths, outputs, expected):
    assert pair(truths, outputs) == {fold: outputs[k] for fold, k in expected.items()}


@pytest.mark.parametrize(
    ("truths", "outputs", "patterns", "expected"),
    [
        (["a.txt", "b.txt"], ["results.tcca.a.txt", "results.tcca.b.txt"], ("", "results.tcca.{fold}.txt"), "ab"),
        (["fold1.gt.txt", "fold2.gt.txt"], ["1.csv", "2.csv"], ("fold{fold}.gt.txt", "{fold}.csv"), "12"),
        (["x.1", "x.2"], ["1.txt", "2.txt"], ("x.{fold}", ""), "12"),
        (["a.txt", "b.txt"], [".a.out", "a.out", "c.out", "b.out", "out"], ("", "{fold}.out"), "ab"),
    ],
)
def test_a_pattern_says_which_part_of_other_names_is_the_fold(pair, truths, outputs, patterns, expected):
    pairs = pair(truths, outputs, *patterns)
    assert list(pairs) == list(expected)
    assert all(path.partition(fold)[1] and path in outputs for fold, path in pairs.items())


def test_a_single_file_is_the_output_of_a_single_fold_whatever_its_name(tmp_path):
    for name in ("truth.txt", "output.txt"):
        (tmp_path / name).touch()
    [fold] = fold_truths(tmp_path / "truth.txt")
    assert (fold.name, fold.path) == ("truth", tmp_path / "truth.txt")
    assert outputs_of(tmp_path / "output.txt", [fold]) == [tmp_path / "output.txt"]
    with pytest.raises(ListError, match=r"\[folds\.unpaired-output\]"):
        outputs_of(tmp_path / "output.txt", [fold, fold])


def test_other_lists_and_other_files_beside_the_truth_and_the_outputs_do_not_count(pair):
    truths = [f"fold{k}.{part}.txt" for k in (1, 2) for part in ("truth", "train", "test")]
    outputs = ["fold1.txt", "fold1.csv", "fold1.log", ".fold2.txt", "fold2.txt", "fold2.scores.txt"]
    assert pair([*truths, "features.txt", "counts.tsv"], outputs) == {"fold1": "fold1.txt", "fold2": "fold2.txt"}


def test_folds_are_in_the_order_of_their_numbers(pair):
    names = [f"fold{k}.txt" for k in range(1, 13)]
    assert list(pair(names, names)) == [f"fold{k}" for k in range(1, 13)]


def test_any_fold_without_an_output_is_none(pair):
    repeats = [f"repeat{r}.fold{f}.truth.txt" for r in (1, 2) for f in (1, 2, 3)]
    pairs = pair(repeats, ["repeat1.fold1.txt", "repeat1.fold3.txt", "repeat2.fold1.txt"])
    assert {fold for fold, path in pairs.items() if path} == {"repeat1.fold1", "repeat1.fold3", "repeat2.fold1"}
    assert all(path in (None, f"{fold}.txt") for fold, path in pairs.items())


def test_a_system_without_any_output_has_none_for_each_fold(pair):
    assert pair(["a.txt", "b.txt"], []) == {"a": None, "b": None}


@pytest.mark.parametrize("outputs", [["first.txt", "second.txt"], ["a.txt", "b.one.txt"], ["01.txt"]])
def test_an_output_of_no_fold_is_an_error_that_names_it_if_a_fold_has_no_output(pair, outputs):
    with pytest.raises(ListError, match=r"\[folds\.unpaired-output\]") as caught:
        pair(["a.gt.txt", "b.gt.txt"], outputs)
    assert all(name in str(caught.value) for name in outputs if name != "a.txt")
    assert "a, b" in str(caught.value) and "{fold}" in str(caught.value)


def test_a_missing_folder_and_a_folder_without_truth_are_errors(tmp_path):
    for source in (tmp_path / "missing", tmp_path / "missing" / "{fold}.txt"):
        with pytest.raises(ListError, match=r"missing: .*\[folds\.unreadable-folder\]"):
            fold_truths(source)
    (tmp_path / "truth.csv").touch()
    with pytest.raises(ListError, match=r"\[folds\.no-truth\]"):
        fold_truths(tmp_path)
