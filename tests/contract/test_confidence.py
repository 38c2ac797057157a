"""The scripts with --calibrate and --confidence: calibrated models, sets of labels, resumed trainings, and errors."""

import csv
import json

import numpy as np
import pytest
import soundfile
from command_line import call

from mirex_submission import MirexClassifier, classify

NETWORKS = ("--model", "1", "--epochs", "2", "--segments-per-track", "3", "--no-picture")
OF_RECIPE = {"modulation": ("--recipe", "modulation"), "paper": NETWORKS}


def record(scratch, name="model"):
    return json.loads((scratch / name / "bundle.json").read_bytes().partition(b"\n")[2])


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != ".lock"}


@pytest.fixture(scope="module")
def tracks(corpus, tmp_path_factory):
    """A folder with labelled tracks in groups of two, tracks unlike all of them, and a test list."""
    folder = tmp_path_factory.mktemp("tracks")
    lines = [line.split("\t") for name in ("train", "truth") for line in corpus[name].read_text().splitlines()]
    (folder / "train.txt").write_text("".join(f"{path}\t{label}\n" for path, label in lines))
    (folder / "groups.txt").write_text("".join(f"{path}\tgroup {k // 2}\n" for k, (path, _) in enumerate(lines)))
    t = np.arange(4 * 22050) / 22050
    foreign = {"tone.wav": np.sin(2 * np.pi * 9000 * t), "silence.wav": 1e-4 * np.sin(2 * np.pi * 40 * t)}
    for name, samples in foreign.items():
        soundfile.write(folder / name, samples, 22050)
    (folder / "broken.wav").write_text("no audio")
    known = [path for path, _ in lines[:8]]
    (folder / "test.txt").write_text("".join(f"{path}\n" for path in [*known, *(folder / n for n in foreign)]))
    return folder


@pytest.fixture(scope="module", params=OF_RECIPE)
def calibrated(request, tracks, tmp_path_factory):
    """The scratch folder of a calibrated model, and the name of its recipe."""
    scratch = tmp_path_factory.mktemp("calibrated")
    done = call("train", *OF_RECIPE[request.param], "--calibrate", scratch, tracks / "train.txt")
    assert done.status == 0, done.stderr
    return scratch, request.param


def test_held_out_tracks_do_not_change_the_weights_and_are_recorded_in_the_model(calibrated, tracks, tmp_path):
    scratch, recipe = calibrated
    model = record(scratch)
    held = {track["path"] for track in model["calibration"]["tracks"]}
    assert 4 <= len(held) <= 6 and len(held) + len(model["tracks"]) == 24
    rest = [
        line for line in (tracks / "train.txt").read_text().splitlines(keepends=True) if line.split("\t")[0] not in held
    ]
    (tmp_path / "rest.txt").write_text("".join(rest))
    done = call("train", *OF_RECIPE[recipe], "--name", "rest", scratch, tmp_path / "rest.txt")
    assert done.status == 0, done.stderr
    plain = record(scratch, "models/rest")
    assert "calibration" not in plain and "likeness" not in plain["weights"]
    assert model["keys"] == plain["keys"] and plain["weights"].items() <= model["weights"].items()
    assert (model["calibration"]["temperature"] == 1) == (recipe == "modulation")


def test_a_repeated_training_has_nothing_to_do_and_other_settings_train_again(calibrated, tracks):
    scratch, recipe = calibrated
    before = files_of(scratch / "model")
    arguments = (*OF_RECIPE[recipe], "--calibrate", scratch, tracks / "train.txt")
    done = call("train", *arguments)
    assert (done.status, "nothing to do" in done.stderr) == (0, True)
    for more in (("--seed", 1), ("--groups", tracks / "groups.txt")):
        done = call("train", *more, *arguments)
        assert done.status == 0 and "nothing to do" not in done.stderr, done.stderr
        assert record(scratch)["calibration"] != json.loads(before["bundle.json"].partition(b"\n")[2])["calibration"]
    groups = dict(line.split("\t") for line in (tracks / "groups.txt").read_text().splitlines())
    model = record(scratch)
    sides = [{groups[track["path"]] for track in part["tracks"]} for part in (model, model["calibration"])]
    assert not sides[0] & sides[1]
    done = call("train", *arguments)
    assert done.status == 0, done.stderr
    assert files_of(scratch / "model")["bundle.json"] == before["bundle.json"]


def test_sets_as_csv_json_lines_and_from_python(calibrated, tracks, tmp_path):
    scratch, _ = calibrated
    for form in ("csv", "jsonl"):
        arguments = ("--confidence", 0.5, "--format", form, scratch, tracks / "test.txt", tmp_path / form)
        done = call("classify", *arguments)
        assert done.status == 0, done.stderr
    objects = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    with open(tmp_path / "csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["labels"] for row in rows] == ["|".join(one["labels"]) for one in objects]
    assert [one["labels"] for one in objects[-2:]] == [["none"], ["none"]]
    for one in objects[:-2]:
        assert one["labels"] == ["none"] or one["label"] in one["labels"]
    assert sum(one["labels"] == ["none"] for one in objects[:-2]) <= 1
    result = classify(scratch, tracks / "test.txt", confidence=0.5)
    assert [list(labels) for labels in result.sets] == [one["labels"] for one in objects]
    assert list(result.to_frame()["labels"]) == result.sets
    without = classify(scratch, tracks / "test.txt")
    assert without.sets is None and "labels" not in without.to_frame()
    np.testing.assert_array_equal(without.probabilities, result.probabilities)


def test_predict_gives_the_same_sets_in_a_file_and_in_a_folder(calibrated, tracks, tmp_path):
    scratch, _ = calibrated
    options = ("--confidence", 0.5, "--format", "jsonl")
    assert call("classify", *options, scratch, tracks / "test.txt", tmp_path / "expected").status == 0
    expected = [json.loads(line)["labels"] for line in (tmp_path / "expected").read_text().splitlines()]
    for output, file in ((tmp_path / "file", "file"), (f"{tmp_path}/folder/", "folder/predictions.jsonl")):
        done = call("predict", *options, scratch / "model", tracks / "test.txt", output)
        assert done.status == 0, done.stderr
        lines = (tmp_path / file).read_text().splitlines()
        assert [json.loads(line)["labels"] for line in lines] == expected
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [
        "predictions.jsonl", "probabilities.csv", "results.json",
    ]  # fmt: skip


def test_train_and_classify_gives_the_sets_of_the_model_that_it_trains(calibrated, tracks, tmp_path):
    scratch, recipe = calibrated
    options = ("--confidence", 0.5, "--format", "csv")
    lists = (tracks / "train.txt", tracks / "test.txt")
    done = call("train-and-classify", *OF_RECIPE[recipe], *options, tmp_path / "s", *lists, tmp_path / "refused")
    assert done.status == 2 and "--confidence requires --calibrate [usage.confidence]" in done.stderr
    assert not (tmp_path / "s").exists() and not (tmp_path / "refused").exists()
    arguments = ("--calibrate", *OF_RECIPE[recipe], *options)
    done = call("train-and-classify", *arguments, scratch, *lists, tmp_path / "one")
    assert done.status == 0, done.stderr
    assert call("classify", *options, scratch, tracks / "test.txt", tmp_path / "two").status == 0
    rows = [list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("one", "two")]
    assert rows[0] and [row["labels"] for row in rows[0]] == [row["labels"] for row in rows[1]]


def test_too_high_a_confidence_gives_all_labels_with_a_warning(calibrated, tracks, tmp_path):
    scratch, _ = calibrated
    (tmp_path / "test.txt").write_text(f"{tracks / 'broken.wav'}\n" + (tracks / "test.txt").read_text())
    done = call("classify", "--confidence", 0.97, "--format", "jsonl", scratch, tmp_path / "test.txt", tmp_path / "o")
    assert done.status == 0 and "[model.few-groups]" in done.stderr, done.stderr
    sets = [json.loads(line)["labels"] for line in (tmp_path / "o").read_text().splitlines()]
    assert all(len(labels) == 4 for labels in sets)


def test_errors_have_a_status_a_code_and_an_advice(calibrated, tracks, tmp_path):
    scratch, recipe = calibrated
    test, out = tracks / "test.txt", tmp_path / "out"
    done = call("classify", "--confidence", 0.9, scratch, test, out)
    assert done.status == 2 and "--format csv" in done.stderr and "[usage.confidence]" in done.stderr
    for value in ("0", "1", "1.5", "-1", "nan", "x"):
        done = call("classify", "--confidence", value, "--format", "csv", scratch, test, out)
        assert done.status == 2 and "--confidence" in done.stderr
    named = ("--name", "plain", *OF_RECIPE[recipe])
    assert call("train", *named, scratch, tracks / "train.txt").status == 0
    done = call("classify", "--name", "plain", "--confidence", 0.9, "--format", "csv", scratch, test, out)
    assert done.status == 5 and "[model.not-calibrated]" in done.stderr
    options = " --recipe modulation" if recipe == "modulation" else ""
    assert f"bin/train.sh{options} --name plain --calibrate {scratch} TRAINLIST" in done.stderr
    assert not out.exists()
    one_group = tmp_path / "groups.txt"
    lines = (tracks / "train.txt").read_text().splitlines()
    one_group.write_text("".join(f"{line.replace(chr(9), chr(9) + 'of ')}\n" for line in lines))
    done = call("train", *named, "--calibrate", "--groups", one_group, scratch, tracks / "train.txt")
    assert done.status == 2 and "--calibrate" in done.stderr and "[training.hold-out]" in done.stderr
    (tmp_path / "none.txt").write_text("\n".join([lines[0].split("\t")[0] + "\tnone", *lines[1:], ""]))
    done = call("train", *named, "--calibrate", scratch, tmp_path / "none.txt")
    assert done.status == 2 and "[usage.none-class]" in done.stderr


def test_a_resumed_training_gives_the_same_bytes(calibrated, tracks, tmp_path):
    scratch, recipe = calibrated
    if recipe == "modulation":
        pytest.skip("it trains in one step")
    options = (*NETWORKS, "--calibrate", "--patience", 9)
    for name, epochs in (("straight", [4]), ("resumed", [1, 4])):
        for n in epochs:
            done = call("train", *options, "--epochs", n, "--name", name, scratch, tracks / "train.txt")
            assert done.status == 0, done.stderr
    assert "resumes after epoch 1" in done.stderr
    first, second = (record(scratch, f"models/{name}") for name in ("straight", "resumed"))
    assert first == second
    (tmp_path / "test.txt").write_text(f"{tracks / 'tone.wav'}\n")
    lists = tracks / "train.txt", tmp_path / "test.txt"
    done = call("train-and-classify", *options, "--epochs", 4, "--name", "both", scratch, *lists, tmp_path / "out")
    assert done.status == 0, done.stderr
    assert record(scratch, "models/both") == first


def test_the_estimator_gives_sets(calibrated, tracks):
    scratch, recipe = calibrated
    lines = [line.split("\t") for line in (tracks / "train.txt").read_text().splitlines()]
    own = {"model": "1", "epochs": 2, "segments_per_track": 3} if recipe == "paper" else {}
    paths, labels = zip(*lines, strict=True)
    estimator = MirexClassifier(scratch=scratch, recipe=recipe, calibrate=True, **own).fit(paths, labels)
    sets = estimator.predict_set([*paths[:3], tracks / "tone.wav"], confidence=0.5)
    assert sets.shape == (4, 4) and sets.dtype == bool and not sets[3].any()
