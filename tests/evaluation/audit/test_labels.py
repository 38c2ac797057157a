"""Labels that look wrong: cases computed by hand, planted wrong labels, and the severity."""

import numpy as np
import pytest

from mirex_submission.evaluation.audit.labels import ConfidentLabels, doubtful_labels
from mirex_submission.evaluation.audit.task import read_task

CLASSES = "rock", "jazz", "folk"


def test_thresholds_joint_and_margins_as_computed_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.1, 0.2, 0.35, 0.85])
    learned = ConfidentLabels(labels, np.stack([first, 1 - first], axis=1))
    # Thresholds: (0.9 + 0.8 + 0.1) / 3 and (0.8 + 0.65 + 0.15) / 3.
    assert np.allclose(learned.thresholds, [0.6, 1.6 / 3])
    assert learned.confident.tolist() == [0, 0, 1, 1, 1, 0]
    assert np.allclose(learned.joint, [[2 / 6, 1 / 6], [1 / 6, 2 / 6]])
    assert np.allclose(learned.margins, [0.8, 0.6, -0.8, 0.6, 0.3, -0.7])
    assert learned.doubtful.tolist() == [2, 5]


def test_a_track_below_all_thresholds_is_not_doubtful_and_of_two_classes_the_likeliest_counts():
    labels = np.array([0, 0, 1, 1, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0.1, 0.9, 0.0], [0.6, 0.1, 0.3], [0.55, 0.25, 0.2]])
    learned = ConfidentLabels(labels, probabilities)
    # Thresholds 0.55, 0.5 and 0.2: the second track reaches only that of class 2, which is not its likeliest class.
    assert np.allclose(learned.thresholds, [0.55, 0.5, 0.2])
    assert learned.confident.tolist() == [0, 2, 1, 0, 0]
    assert learned.doubtful.tolist() == [3, 4, 1]
    certain = ConfidentLabels(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.3]]))
    assert certain.confident.tolist() == [0, -1] and certain.thresholds[1] == np.inf  # no track of class 1
    assert certain.doubtful.tolist() == []


def answers(seed, *, n=180, sep=4.0, swapped=0.1):
    """Return out-of-fold probabilities of a trained classifier, labels with some swapped, and a mask of the swapped."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rng = np.random.default_rng(seed)
    truth = np.arange(n) % len(CLASSES)
    points = sep * np.eye(len(CLASSES), 6)[truth] + rng.normal(size=(n, 6))
    labels, wrong = truth.copy(), rng.choice(n, int(n * swapped), replace=False)
    labels[wrong] = (truth[wrong] + rng.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    model = LogisticRegression()
    return labels, cross_val_predict(model, points, labels, cv=3, method="predict_proba"), set(wrong.tolist())


def test_planted_wrong_labels_come_first():
    hits, listed, planted, first = 0, 0, 0, 0
    for seed in range(3):
        labels, probabilities, wrong = answers(seed)
        learned = ConfidentLabels(labels, probabilities)
        assert learned.labels_seem_wrong
        hits += len(wrong & set(learned.doubtful.tolist()))
        first += len(wrong & set(learned.doubtful[: len(wrong)].tolist()))
        listed, planted = listed + len(learned.doubtful), planted + len(wrong)
    assert hits / listed > 0.85 and hits / planted > 0.7 and first / planted > 0.7


@pytest.mark.parametrize("sep", [1.0, 3.0, 6.0])
def test_correct_labels_give_no_warning_for_good_and_bad_systems(sep):
    assert not any(ConfidentLabels(*answers(seed, sep=sep, swapped=0)[:2]).labels_seem_wrong for seed in range(3))


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Lists of two folds of 90 tracks, outputs with probabilities, and the paths of the wrong labels."""
    folder = tmp_path_factory.mktemp("labels")
    labels, probabilities, wrong = answers(1, sep=5.0)
    lines = [f"/audio/{k}.wav\t{CLASSES[label]}\n" for k, label in enumerate(labels)]
    (folder / "features.txt").write_text("".join(f"{line.split()[0]}\n" for line in lines))
    for fold in (0, 1):
        (folder / f"fold{fold}.train.txt").write_text("".join(lines[1 - fold :: 2]))
        (folder / f"fold{fold}.truth.txt").write_text("".join(lines[fold::2]))
        (folder / f"fold{fold}.test.txt").write_text("".join(f"{x.split()[0]}\n" for x in lines[fold::2]))
        outputs = folder / "svm"
        outputs.mkdir(exist_ok=True)
        rows = probabilities[fold::2]
        (outputs / f"fold{fold}.txt").write_text(
            "".join(f"/audio/{2 * k + fold}.wav\t{CLASSES[row.argmax()]}\n" for k, row in enumerate(rows))
        )
        table = ["path,label,jazz,folk,rock\n"]  # the columns in any order
        for k, (rock, jazz, folk) in enumerate(rows):
            table.append(f"/audio/{2 * k + fold}.wav,{CLASSES[rows[k].argmax()]},{jazz},{folk},{rock}\n")
        (outputs / f"fold{fold}.csv").write_text("".join(table))
    return folder, {f"/audio/{k}.wav" for k in wrong}


def test_probabilities_beside_outputs_are_read_fold_by_fold(lists):
    folder, wrong = lists
    problems = doubtful_labels(read_task([folder], outputs=[(None, str(folder / "svm"))]))
    assert [problem.code for problem in problems] == ["audit.doubtful-label"] * 3
    assert {problem.severity for problem in problems} == {"warning"}
    paths = {path for problem in problems for path in problem.paths}
    assert len(paths & wrong) > 0.7 * len(wrong) and len(paths & wrong) > 0.85 * len(paths)
    for problem in problems:
        assert len(problem.paths) == len(problem.suggested) == len(problem.labels) == len(problem.margins)
        assert problem.margins == sorted(problem.margins) and set(problem.labels).isdisjoint(problem.suggested)
    assert doubtful_labels(read_task([folder])) == []


def test_predictions_of_one_system_give_notes_and_of_several_systems_votes(lists, tmp_path):
    folder, wrong = lists
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        for fold in (0, 1):
            (tmp_path / name / f"fold{fold}.txt").write_text((folder / "svm" / f"fold{fold}.txt").read_text())
    alone = doubtful_labels(read_task([folder], outputs=[(None, str(tmp_path / "a"))]))
    votes = doubtful_labels(read_task([folder], outputs=[(None, str(tmp_path))]))
    assert {problem.severity for problem in alone} == {"note"}
    assert {problem.severity for problem in votes} == {"warning"}
    assert wrong & {path for problem in votes for path in problem.paths}
