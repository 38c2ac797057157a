"""The files that an evaluation writes: NEMA's tables, a text report for each system, and results.json."""

import csv
import hashlib
import json

import numpy as np
import pytest

from mirex_submission.errors import StorageError
from mirex_submission.evaluation.judging.evaluate import evaluate
from mirex_submission.evaluation.judging.tables import summary, write_results
from mirex_submission.protocol.outputs import write_probabilities

LABELS = ["Hip-Hop", "blues,old", "R&B"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of an evaluation (three systems, two folds of six tracks), and the evaluation."""
    folder = tmp_path_factory.mktemp("tables")
    answers = {"good": [0, 1, 2, 0, 1, 0], "bad": [1, 1, 0, 2, 2, 0], "gaps": [0, 1, 2, None, None, None]}
    for fold in (1, 2):
        paths = [f"/a/track{fold}{n}.wav" for n in range(6)]
        lines = [f"{path}\t{LABELS[n % 3]}\n" for n, path in enumerate(paths)]
        (folder / "truth").mkdir(exist_ok=True)
        (folder / "truth" / f"fold{fold}.truth.txt").write_text("".join(lines))
        for name, given in answers.items():
            lines = [f"{path}\t{LABELS[k]}\n" for path, k in zip(paths, given, strict=True) if k is not None]
            (folder / name).mkdir(exist_ok=True)
            (folder / name / f"fold{fold}.txt").write_text("".join(lines))
    evaluation = evaluate(folder / "truth", {name: folder / name for name in answers})
    write_results(evaluation, folder / "out")
    return folder / "out", evaluation


def rows(folder, name):
    with open(folder / name, newline="", encoding="utf-8") as f:
        return list(csv.reader(f))


def test_the_files_are_those_of_nema_and_one_of_our_own(written):
    folder, _ = written
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "summaryResults.csv",
        "PerFoldResults.csv",
        "PerClassResults.csv",
        "PerFoldResults.friedmanTKHSD.csv",
        "PerClassResults.friedmanTKHSD.csv",
        "bad/report.txt",
        "gaps/report.txt",
        "good/report.txt",
        "results.json",
    }


def test_the_tables_have_nemas_columns_and_four_decimals(written):
    folder, _ = written
    assert rows(folder, "summaryResults.csv") == [
        ["Algorithm", "Classification Accuracy", "Normalised Classification Accuracy"],
        ["bad", "0.1667", "0.1667"],
        ["gaps", "1.0000", "1.0000"],
        ["good", "0.8333", "0.8333"],
    ]
    assert rows(folder, "PerFoldResults.csv") == [
        ["Fold", "bad", "gaps", "good"],
        ["fold1", "0.1667", "0.5000", "0.8333"],
        ["fold2", "0.1667", "0.5000", "0.8333"],
    ]
    assert rows(folder, "PerClassResults.csv") == [
        ["Class", "bad", "gaps", "good"],
        ["blues,old", "0.5000", "1.0000", "1.0000"],
        ["Hip-Hop", "0.0000", "1.0000", "1.0000"],
        ["R&B", "0.0000", "1.0000", "0.5000"],
    ]


def test_the_significance_tables_have_nemas_columns_best_system_first(written):
    folder, evaluation = written
    header, *pairs = rows(folder, "PerFoldResults.friedmanTKHSD.csv")
    assert header == ["*TeamID", "TeamID", "Lowerbound", "Mean", "Upperbound", "Significance"]
    critical = evaluation.by_fold.critical_difference
    assert pairs == [
        [*teams, f"{mean - critical:.4f}", f"{mean:.4f}", f"{mean + critical:.4f}", "FALSE"]
        for *teams, mean in [("good", "gaps", 1.0), ("good", "bad", 2.0), ("gaps", "bad", 1.0)]
    ]
    _, *pairs = rows(folder, "PerClassResults.friedmanTKHSD.csv")
    assert [pair[:2] for pair in pairs] == [["gaps", "good"], ["gaps", "bad"], ["good", "bad"]]
    assert [pair[3] for pair in pairs] == ["0.3333", "1.6667", "1.3333"]


def test_a_significant_pair_is_TRUE(tmp_path):
    for name in ("truth", "best", "worst"):
        (tmp_path / name).mkdir()
        for fold in range(12):
            labels = "yx" if name == "worst" else "xy"
            lines = [f"/a/track{fold}_{n}.wav\t{labels[n]}\n" for n in range(2)]
            (tmp_path / name / f"{fold}.txt").write_text("".join(lines))
    write_results(evaluate(tmp_path / "truth", {n: tmp_path / n for n in ("best", "worst")}), tmp_path)
    assert rows(tmp_path, "PerFoldResults.friedmanTKHSD.csv")[1][:2] == ["best", "worst"]
    assert rows(tmp_path, "PerFoldResults.friedmanTKHSD.csv")[1][-1] == "TRUE"


def test_one_system_has_no_significance_table(written, tmp_path):
    _, evaluation = written
    truth = evaluation.folds[0].file.path.parent
    write_results(evaluate(truth, {"good": truth.parent / "good"}), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*TKHSD*"))
    assert json.loads((tmp_path / "out" / "results.json").read_text())["significance"] == {
        "classes": None,
        "folds": None,
    }


def test_the_text_report_has_every_figure_matrix_and_problem(written):
    folder, _ = written
    text = (folder / "gaps" / "report.txt").read_text(encoding="utf-8")
    fold, other, overall = text.split("Accuracy: ")[1:]
    for part, accuracy, n_predicted in ((fold, "50.00%", 3), (other, "50.00%", 3), (overall, "100.00%", 6)):
        assert part.startswith(accuracy)
        assert f"Predictions: {n_predicted} for 6 tracks" in part
        assert part.count("Truth\t\t   A   \t   B   \t   C   \nClassification\n") == 2
    assert "   A   \t\t      1\t      0\t      0\n" in fold
    assert "   A   \t\t 50.00%\t  0.00%\t  0.00%\n" in fold
    assert "   A   \t\t100.00%\t  0.00%\t  0.00%\n" in overall
    assert "Matrix Key:\n   A   : blues,old\n   B   : Hip-Hop\n   C   : R&B\n" in text
    assert "miscounts: 6\n" in text
    assert text.count("leaves it out of the overall figure") == 6


def test_results_json_has_every_figure_in_full_and_its_sources(written):
    folder, evaluation = written
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert record["classes"] == ["blues,old", "Hip-Hop", "R&B"]
    for system, stored in zip(evaluation.systems, record["systems"], strict=True):
        assert stored["name"] == system.name
        everything = [*zip(system.folds, stored["folds"], strict=True), (system.overall, stored["overall"])]
        for score, figures in everything:
            assert figures["accuracy"] == score.accuracy  # to the last bit
            assert figures["normalised_accuracy"] == score.normalised_accuracy
            np.testing.assert_array_equal(figures["confusion"], score.confusion)
            np.testing.assert_array_equal(figures["recalls"], score.recalls)
            assert figures["n_right"] == score.confusion.trace()
        assert stored["overall"]["accuracy_interval"] == list(system.overall_interval)
        for path, fold in zip(system.outputs, stored["folds"], strict=True):
            assert fold["output"] == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    [gaps] = [stored for stored in record["systems"] if stored["name"] == "gaps"]
    assert {finding["kind"] for finding in gaps["findings"]} == {"missing_track"}
    ranks = record["significance"]["folds"]["mean_ranks"]
    assert list(ranks) == ["good", "gaps", "bad"]
    low, high = ranks["good"]["interval"]
    assert (low + high) / 2 == ranks["good"]["mean"] == 3.0
    assert high - low == pytest.approx(record["significance"]["folds"]["critical_difference"])
    assert [(pair["first"], pair["second"]) for pair in record["mcnemar"]] == [
        ("bad", "gaps"), ("bad", "good"), ("gaps", "good")
    ]  # fmt: skip


def test_results_json_has_the_prediction_of_each_system_for_each_track(written):
    folder, _ = written
    first, *_, last = json.loads((folder / "results.json").read_text(encoding="utf-8"))["folds"][0]["tracks"]
    assert first == {
        "path": "/a/track10.wav",
        "label": "Hip-Hop",
        "predicted": {"bad": "blues,old", "gaps": "Hip-Hop", "good": "Hip-Hop"},
    }
    assert last["predicted"] == {"bad": "Hip-Hop", "gaps": None, "good": "Hip-Hop"}
    assert last["label"] == "R&B"


def test_the_summary_has_one_line_per_system_best_first(written):
    _, evaluation = written
    _, *lines = summary(evaluation).split("\n")
    assert [line.split()[0] for line in lines] == ["gaps", "good", "bad"]
    assert lines[1].split()[1] == "83.33%"
    assert lines[0].endswith("6 of 6 of 12")


def test_the_frame_has_a_row_for_each_fold_track_and_system(written):
    folder, evaluation = written
    probabilities = folder.parent / "good" / "fold1.csv"
    write_probabilities(probabilities, ["R&B", "hiphop"], [("/a/track10.wav", "hiphop", (0.25, 0.75))])
    frame = evaluation.to_frame()
    probabilities.unlink()
    assert list(frame.columns) == ["fold", "path", "truth", "system", "predicted", "probability"]
    assert len(frame) == 2 * 6 * 3 and list(frame.system[:3]) == ["bad", "gaps", "good"]
    good = frame[(frame.fold == "fold1") & (frame.system == "good")].set_index("path")
    assert (good.truth == good.predicted).mean() == evaluation.systems[2].folds[0].accuracy
    assert good.probability["/a/track10.wav"] == 0.75 and good.probability.isna().sum() == 5
    gaps = frame[frame.system == "gaps"]
    assert sum(label is None for label in gaps.predicted) == 6 and gaps.probability.isna().all()


def test_more_than_26_classes_have_keys_of_two_letters(tmp_path):
    lines = [f"/a/track{n:02}.wav\tclass{n:02}\n" for n in range(50)]
    for name in ("truth", "s"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text("".join(lines))
    write_results(evaluate(tmp_path / "truth", {"s": tmp_path / "s"}), tmp_path / "out")
    text = (tmp_path / "out" / "s" / "report.txt").read_text()
    assert "   Z   : class25\n  AA   : class26\n" in text
    assert "  AX   : class49\n" in text


def test_a_folder_that_cannot_be_written_is_a_storage_error(written, tmp_path):
    _, evaluation = written
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=str(tmp_path / "file")):
        write_results(evaluation, tmp_path / "file")


def test_outdated_tables_of_an_earlier_evaluation_are_removed(written, tmp_path):
    folder, evaluation = written
    write_results(evaluation, tmp_path)
    pairwise = sorted(path.name for path in tmp_path.glob("*.friedmanTKHSD.csv"))
    assert pairwise == ["PerClassResults.friedmanTKHSD.csv", "PerFoldResults.friedmanTKHSD.csv"]
    alone = evaluate(folder.parent / "truth", {"good": folder.parent / "good"})
    write_results(alone, tmp_path)
    assert not list(tmp_path.glob("*.friedmanTKHSD.csv"))
