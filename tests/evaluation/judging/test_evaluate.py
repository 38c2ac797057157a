"""Evaluation: the figures of a real MIREX task, and the counting of wrong outputs."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirex_submission.errors import ListError
from mirex_submission.evaluation.judging.evaluate import evaluate
from mirex_submission.evaluation.judging.results import as_json
from mirex_submission.protocol.findings import Kind

# MIREX's Latin genre task, three artist-filtered folds, and two systems that took part: what the organisers' evaluator
# prints for them. The matrices are predictions by truth. One track of fold b has no prediction of GT1.
CLASSES = ["axe", "bachata", "bolero", "forro", "gaucha", "merengue", "pagode", "salsa", "sertaneja", "tango"]
# fmt: off
CONFUSION = {
    "GT1": {
        "a": [
            [ 81,   0,   2,   1,   0,   4,   1,   2,   0,   0],
            [  4,   0,   0,   7,   0,   7,   0,   5,   0,   1],
            [ 10,   0,  46,   5,   0,   3,   8,   6,   0,   0],
            [ 18,   0,   0,  23,   0,   1,   0,   2,   0,   1],
            [ 50,   0,   2,  65,   0,  22,   7,   3,   0,   0],
            [  9,   1,   2,   9,   0, 157,   1,   4,   0,   1],
            [ 34,   0,   2,  33,   0,   2,  32,   7,   0,   0],
            [ 28,   0,   7,   9,   0,  24,   2,  43,   0,   0],
            [ 23,   0,   3,  30,   0,   2,   9,   3,   0,   0],
            [  0,   0,   4,   1,   0,   2,   0,   0,   0, 111],
        ],
        "b": [
            [14, 11, 12,  0, 19, 13, 82, 45, 53,  0],
            [ 0, 82, 17,  0,  9,  4,  2,  5,  0,  0],
            [ 0,  9, 75,  0,  9,  6,  8, 18, 43,  0],
            [ 0,  2, 18,  0, 14,  5, 34, 18, 59,  0],
            [ 0,  6, 11,  0, 52,  7, 11, 10, 65,  0],
            [ 0, 14, 11,  0, 13, 38,  7, 25,  1,  0],
            [ 0,  1,  8,  0,  0,  1, 92,  3, 18,  0],
            [ 0,  5,  6,  0,  3,  2,  2, 87,  0,  0],
            [ 0,  1,  6,  0,  5,  3,  7,  1, 32,  0],
            [ 0,  0,  8,  0,  1,  1,  1,  5,  1,  0],
        ],
        "c": [
            [ 30,   2,   4,  25,  16,   0,   0,   0,   5,   1],
            [  0, 147,   5,   7,   7,   5,   0,   1,   0,   2],
            [  3,   7,  48,  12,   6,   2,   0,   0,   8,  48],
            [  2,   4,   2,  33,  26,   0,   0,   0,   2,  10],
            [  2,   3,   3,  19,  84,   1,   0,   0,   1,   4],
            [  1,   5,   0,   4,  13,   3,   0,   2,   0,   2],
            [  1,   1,   4,   4,   8,   0,   0,   0,   8,   2],
            [  1,  10,   1,   7,   9,   0,   0,  16,   0,   2],
            [  2,   1,   5,  17,  15,   0,   0,   0,  25,   2],
            [  0,   1,   3,   2,   2,   0,   0,   0,   0, 221],
        ],
    },
    "HNOS1": {
        "a": [
            [ 46,   0,   0,   2,   0,   8,   0,   0,   0,   0],
            [  0,   0,   0,   2,   0,   3,   0,   0,   0,   0],
            [  5,   0,  55,  11,   0,   0,   8,   1,   0,   2],
            [ 24,   0,   3,  41,   0,   0,   2,   1,   0,   0],
            [ 47,   0,   3,  67,   0,  31,   4,   5,   0,   0],
            [ 22,   0,   0,   4,   0, 160,   0,   3,   0,   0],
            [ 39,   0,   1,  25,   0,   5,  39,   6,   0,   1],
            [ 55,   1,   3,  17,   0,  16,   7,  59,   0,   0],
            [ 19,   0,   2,  12,   0,   1,   0,   0,   0,   0],
            [  0,   0,   1,   2,   0,   0,   0,   0,   0, 111],
        ],
        "b": [
            [ 13,   3,   7,   0,  24,  17,  83,  59,  29,   0],
            [  0, 103,   0,   0,   0,   0,   0,   0,   0,   0],
            [  0,   1, 103,   0,   5,   0,  14,   8,  11,   0],
            [  0,  13,  25,   0,  16,   4,  56,  14,  31,   0],
            [  0,   2,  16,   0,  67,   1,  13,  13,  90,   0],
            [  0,   4,   1,   0,   7,  54,   7,  11,   0,   0],
            [  0,   2,   4,   0,   2,   0,  58,   4,   2,   0],
            [  1,   3,   9,   0,   1,   2,   9, 107,   1,   0],
            [  0,   0,   3,   0,   4,   2,   6,   1, 108,   0],
            [  0,   0,   4,   0,   0,   0,   0,   0,   0,   0],
        ],
        "c": [
            [ 27,   0,   2,  22,  29,   0,   0,   0,   8,   0],
            [  0, 175,   0,   2,   1,   1,   0,   0,   0,   0],
            [  0,   1,  56,  10,   6,   0,   0,   0,   4,  53],
            [  0,   0,   3,  67,  28,   0,   0,   0,   4,   3],
            [  6,   0,   2,   7,  70,   0,   0,   0,   3,   1],
            [  1,   2,   0,   2,  16,  10,   0,   0,   2,   0],
            [  3,   0,   8,   8,   5,   0,   0,   0,   3,  11],
            [  4,   2,   1,   7,   5,   0,   0,  19,   1,   1],
            [  1,   1,   1,   5,  26,   0,   0,   0,  24,   0],
            [  0,   0,   2,   0,   0,   0,   0,   0,   0, 225],
        ],
    },
}
# fmt: on
# accuracy, accuracy normalised for class sizes
FIGURES = {
    "GT1": {
        "a": (0.5020366598778004, 0.3898572479956688),
        "b": (0.3751987281399046, 0.3842251580446705),
        "c": (0.6149949341438703, 0.52486367652802),
        "overall": (0.48729076255424675, 0.47782602718335176),
    },
    "HNOS1": {
        "a": (0.5203665987780041, 0.43364921635857046),
        "b": (0.4872813990461049, 0.46463329504611944),
        "c": (0.6818642350557245, 0.6412296289566448),
        "overall": (0.5568639603346762, 0.5484159109580298),
    },
}


# The names of the outputs that the two systems' authors sent.
OUTPUTS = {"GT1": "results.{fold}.txt", "HNOS1": "results.tcca.{fold}.txt"}


def write_lists(folder, lists):
    """Write {file name: [(path, label)]}; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entries in lists.items():
        (folder / name).write_text("".join(f"{path}\t{label}\n" for path, label in entries), encoding="utf-8")
    return folder


def expand(fold, system):
    """Return (truth, output) of a fold that give its matrix; HNOS1 has all predictions: its columns hold all tracks."""
    matrix, sizes = np.array(CONFUSION[system][fold]), np.sum(CONFUSION["HNOS1"][fold], axis=0)
    truth, output = [], []
    for c, label in enumerate(CLASSES):
        paths = [f"/data/{fold}_{label}_{n:03}.wav" for n in range(sizes[c])]
        answers = np.repeat(CLASSES, matrix[:, c])
        truth += [(path, label) for path in paths]
        output += zip(paths, answers, strict=False)  # GT1's last track of one class has no answer
    return truth, output


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """The evaluation of the task above."""
    folder = tmp_path_factory.mktemp("latin")
    truth = write_lists(folder / "truth", {f"{fold}.txt": expand(fold, "HNOS1")[0] for fold in "abc"})
    for name, pattern in OUTPUTS.items():
        write_lists(folder / name, {pattern.format(fold=fold): expand(fold, name)[1] for fold in "abc"})
    return evaluate(truth, {name: folder / name / pattern for name, pattern in OUTPUTS.items()})


@pytest.mark.parametrize("name", CONFUSION)
def test_the_figures_of_a_real_task_are_the_organisers_to_the_last_bit(latin, name):
    [system] = [system for system in latin.systems if system.name == name]
    assert latin.classes == CLASSES
    assert [fold.file.name for fold in latin.folds] == ["a", "b", "c"]
    for fold, score in zip("abc", system.folds, strict=True):
        np.testing.assert_array_equal(score.confusion, CONFUSION[name][fold])
        assert (score.accuracy, score.normalised_accuracy) == FIGURES[name][fold]
    overall = system.overall
    np.testing.assert_array_equal(overall.confusion, np.sum(list(CONFUSION[name].values()), axis=0))
    assert (overall.accuracy, overall.normalised_accuracy) == FIGURES[name]["overall"]
    assert [int(score.n_tracks.sum()) for score in system.folds] == [982, 1258, 987]
    assert int(overall.n_tracks.sum()) == (3226 if name == "GT1" else 3227)


def test_the_only_problem_of_a_real_task_is_its_missing_track(latin):
    [finding] = latin.findings
    assert finding.kind is Kind.MISSING_TRACK
    assert finding.where.endswith("GT1/results.b.txt")


def test_two_systems_are_compared_over_classes_and_folds_and_track_by_track(latin):
    assert (latin.by_class.n_rows, latin.by_fold.n_rows) == (10, 3)
    assert latin.by_class.mean_ranks == {"HNOS1": pytest.approx(1.8), "GT1": pytest.approx(1.2)}  # better in 8 of 10
    assert latin.by_fold.mean_ranks == {"HNOS1": 2.0, "GT1": 1.0}
    assert latin.by_fold.warning
    [pair] = latin.pairs
    n_right = {system.name: int(system.overall.confusion.trace()) for system in latin.systems}
    assert pair.n_only_first - pair.n_only_second == n_right["GT1"] - n_right["HNOS1"] == 1572 - 1797


def test_the_intervals_contain_their_figures(latin):
    for system in latin.systems:
        for score, (low, high) in [
            *zip(system.folds, system.fold_intervals, strict=True), (system.overall, system.overall_interval)
        ]:  # fmt: skip
            assert low < score.accuracy < high
            n_tracks = score.n_tracks.sum()
            assert high - low == pytest.approx(
                2 * 1.96 * np.sqrt(score.accuracy * (1 - score.accuracy) / n_tracks), rel=0.1
            )


@pytest.fixture
def task(tmp_path):
    """A function that evaluates one system on two folds of four tracks; outputs are given as text or left out."""
    truth = {
        f"fold{fold}.truth.txt": [(f"/a/track{fold}{n}.wav", ("Hip-Hop", "R&B")[n % 2]) for n in range(4)]
        for fold in (1, 2)
    }
    write_lists(tmp_path / "truth", truth)
    right = {fold: "".join(f"{p}\t{label}\n" for p, label in truth[f"fold{fold}.truth.txt"]) for fold in (1, 2)}

    def run(change=lambda text: text, fold_2=True):
        folder = tmp_path / "system"
        folder.mkdir()
        (folder / "fold1.txt").write_bytes(change(right[1]).encode("utf-8"))
        if fold_2:
            (folder / "fold2.txt").write_text(right[2])
        evaluation = evaluate(tmp_path / "truth", {"s": folder})
        [system] = evaluation.systems
        return system, [finding.kind for finding in evaluation.findings]

    return run


def test_a_frame_has_a_row_for_each_system_and_track(latin):
    frame = latin.to_frame()
    assert list(frame.columns) == ["fold", "path", "truth", "system", "predicted", "probability"]
    assert len(frame) == 2 * 3227
    right = (frame["truth"] == frame["predicted"]).groupby(frame["system"]).sum()
    assert right.to_dict() == {"GT1": 1572, "HNOS1": 1797}
    missing = frame[frame["predicted"].isna()]
    assert missing[["fold", "system"]].to_numpy().tolist() == [["b", "GT1"]]


def figures(system):
    return [score.accuracy for score in (*system.folds, system.overall)]


def test_all_right(task):
    system, kinds = task()
    assert (figures(system), kinds) == ([1.0, 1.0, 1.0], [])
    assert system.overall_interval == pytest.approx((8 / (8 + 1.959964**2), 1.0))  # Wilson's of 8 of 8


@pytest.mark.parametrize(
    ("change", "accuracies", "kinds"),
    [
        (lambda text: text.replace("R&B", "hip hop"), [0.5, 1.0, 0.75], [Kind.CUT_LINE] * 2),
        (lambda text: text.replace("R&B", "soul"), [0.5, 1.0, 1.0], [Kind.UNKNOWN_LABEL] * 2),
        (lambda text: text.replace("track10", "other"), [0.75, 1.0, 1.0], [Kind.UNKNOWN_TRACK, Kind.MISSING_TRACK]),
        (lambda text: text + text, [1.0, 1.0, 1.0], [Kind.REPEATED_TRACK] * 4),
        (lambda text: "", [0.0, 1.0, 1.0], [Kind.EMPTY]),
        (lambda text: text.replace("\tR&B", ""), [0.5, 1.0, 1.0], [Kind.NO_LABEL] * 2 + [Kind.MISSING_TRACK] * 2),
    ],
    ids=["blank", "label", "track", "repeated", "empty", "no label"],
)
def test_problems_for_the_evaluator_are_reported_and_the_other_lines_count(task, change, accuracies, kinds):
    system, kinds_of_findings = task(change)
    assert (figures(system), kinds_of_findings) == (accuracies, kinds)


def test_a_fold_without_an_output_counts_as_wrong_in_its_fold_only(task):
    system, kinds = task(fold_2=False)
    assert (figures(system), kinds) == ([1.0, 0.0, 1.0], [Kind.NO_OUTPUT])
    assert system.outputs[1] is None


def test_empty_outputs_score_0_without_a_division_by_zero(task):
    system, kinds = task(lambda text: "\n", fold_2=False)
    assert (figures(system), kinds) == ([0.0, 0.0, 0.0], [Kind.EMPTY, Kind.NO_OUTPUT])
    assert system.overall_interval == (0.0, 1.0)


def test_colliding_names_in_the_truth_are_reported_and_distinguished(tmp_path):
    tracks = [(f"/gtzan/blues.{n:05}.wav", label) for n, label in enumerate(["blues", "rock", "jazz"])]
    truth = write_lists(tmp_path / "truth", {"1.txt": tracks[:2], "2.txt": tracks[2:]})
    folder = write_lists(tmp_path / "s", {"1.txt": tracks[1::-1], "2.txt": tracks[2:]})
    evaluation = evaluate(truth, {"s": folder})
    assert figures(evaluation.systems[0]) == [1.0, 1.0, 1.0]
    assert [(f.kind, f.where) for f in evaluation.findings] == [
        (Kind.SAME_NAME, f"{truth}/1.txt:2"), (Kind.SAME_NAME, f"{truth}/2.txt:1")
    ]  # fmt: skip


def test_two_unicode_forms_of_a_label_are_two_classes_with_a_warning(tmp_path):
    composed, decomposed = "canci\u00f3n", "cancio\u0301n"
    tracks = [("/one.wav", composed), ("/two.wav", decomposed)]
    truth = write_lists(tmp_path / "truth", {"1.txt": tracks})
    folder = write_lists(tmp_path / "s", {"1.txt": [(path, composed) for path, _ in tracks]})
    evaluation = evaluate(truth, {"s": folder})
    assert evaluation.classes == [composed, decomposed] and figures(evaluation.systems[0]) == [0.5, 0.5]
    assert [finding.kind for finding in evaluation.findings] == [Kind.TWO_FORMS]


def test_another_unicode_form_than_in_the_truth_counts_and_is_reported(tmp_path):
    composed, decomposed = "canci\u00f3n", "cancio\u0301n"
    truth = write_lists(tmp_path / "truth", {"1.txt": [("/one.wav", composed), ("/two.wav", "rock")]})
    folder = write_lists(tmp_path / "s", {"1.txt": [("/one.wav", decomposed), ("/two.wav", "rock")]})
    evaluation = evaluate(truth, {"s": folder})
    assert figures(evaluation.systems[0]) == [1.0, 1.0] and len(evaluation.classes) == 2
    assert evaluation.systems[0].overall.confusion.shape == (2, 2)
    assert [finding.kind for finding in evaluation.findings] == [Kind.UNICODE_FORM]


@pytest.mark.parametrize(("of_truth", "of_output", "n"), [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_byte_order_mark_is_reported_unless_truth_and_output_have_one(tmp_path, of_truth, of_output, n):
    for name, marked in (("truth", of_truth), ("s", of_output)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_bytes(b"\xef\xbb\xbf" * marked + b"one.wav\trock\ntwo.wav\tpop\n")
    evaluation = evaluate(tmp_path / "truth", {"s": tmp_path / "s"})
    assert [finding.kind for finding in evaluation.findings] == [Kind.BYTE_ORDER_MARK] * n
    assert figures(evaluation.systems[0]) == [1.0, 1.0]


def test_too_many_classes_are_refused_before_memory_is_allocated(tmp_path):
    truth = write_lists(tmp_path / "truth", {"1.txt": [(f"/track{n}.wav", f"title{n}") for n in range(70_000)]})
    with pytest.raises(ListError, match=r"70,000 classes.*\[list\.many-classes\]"):
        evaluate(truth, {"s": truth})


def test_a_track_of_several_repeats_is_one_cluster_and_one_pair_of_mcnemars_test(tmp_path):
    tracks = [(f"/a/track{n:02}.wav", ("x", "y")[n % 2]) for n in range(30)]
    wrong = [(path, "x") for path, _ in tracks]
    repeats = range(1, 9)
    truth = write_lists(tmp_path / "truth", {f"repeat{k}.truth.txt": tracks for k in repeats})
    right_folder = write_lists(tmp_path / "right", {f"repeat{k}.txt": tracks for k in repeats})
    half_folder = write_lists(tmp_path / "half", {f"repeat{k}.txt": wrong for k in repeats})
    evaluation = evaluate(truth, {"right": right_folder, "half": half_folder})
    [half, _] = evaluation.systems
    assert half.overall_interval == half.fold_intervals[0]
    [pair] = evaluation.pairs
    assert (pair.first, pair.n_only_first, pair.second, pair.n_only_second) == ("half", 0, "right", 15)


def test_a_wrong_truth_is_an_error_that_repeats_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    folder = write_lists(tmp_path / "s", {"1.txt": [("/a/b c.wav", "x")]})
    truth = write_lists(tmp_path / "truth", {"1.txt": [("/a/b c.wav", "x")]})
    assert len(evaluate(truth, {"s": folder}).truth_findings) == 1
    assert caplog.messages == []
    (truth / "1.txt").write_text("no tab\n")
    with pytest.raises(ListError, match=r"1\.txt:1: .*\[list\.no-tab\]"):
        evaluate(truth, {"s": folder})


def test_the_same_lists_and_seed_give_the_same_bytes(latin, tmp_path):
    truth = write_lists(tmp_path / "truth", {"1.txt": [(f"/a/track{n}.wav", "xy"[n % 2]) for n in range(40)]})
    folder = write_lists(tmp_path / "s", {"1.txt": [(f"/a/track{n}.wav", "xxy"[n % 3]) for n in range(40)]})
    first, again, other = (as_json(evaluate(truth, {"s": folder}, seed=seed)) for seed in (0, 0, 7))
    assert first == again != other
    assert json.loads(other)["settings"]["seed"] == 7


answers = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["x", "y", "z", None])), min_size=1, max_size=20)


@given(st.lists(answers, min_size=1, max_size=3))
@settings(deadline=None, max_examples=30)
def test_the_figures_of_random_outputs_equal_plain_counting(tmp_path_factory, folds):
    folder = tmp_path_factory.mktemp("any")
    named = {
        f"{k}.txt": [(f"/a/track{k}_{n}.wav", *pair) for n, pair in enumerate(fold)] for k, fold in enumerate(folds)
    }
    truth = write_lists(folder / "truth", {name: [entry[:2] for entry in fold] for name, fold in named.items()})
    outputs = {name: [(path, given) for path, _, given in fold if given] for name, fold in named.items()}
    evaluation = evaluate(truth, {"s": write_lists(folder / "s", outputs)})
    classes = {label for fold in folds for label, _ in fold}
    known = [[(label, given if given in classes else None) for label, given in fold] for fold in folds]
    for score, fold in zip(evaluation.systems[0].folds, known, strict=True):
        assert score.accuracy == sum(label == given for label, given in fold) / len(fold)
    given = [(label, given) for fold in known for label, given in fold if given]
    n_right = sum(label == given for label, given in given)
    assert evaluation.systems[0].overall.accuracy == (n_right / len(given) if given else 0)
