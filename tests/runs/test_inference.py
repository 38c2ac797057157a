"""Prediction with a model in a read-only folder: no temporary files remain, and every output has every track."""

import json
import os
import tempfile

import pytest

from mirex_submission import Recipe, RunOptions, classify, train
from mirex_submission.errors import AudioError, ListError, ModelError, StorageError
from mirex_submission.runs.inference import predict

RUN = RunOptions(threads=1, no_check=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("scratch")
    train(folder, pairs, recipe=Recipe(epochs=1, segments_per_track=4), run=RUN)
    return folder


@pytest.fixture
def model(scratch, monkeypatch, tmp_path):
    """The folder of a model; temporary files go to the folder `temporary` of the test."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return scratch / "model"


def test_predictions_equal_those_of_classify_and_no_file_remains(model, scratch, held_out, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    result = predict(model, held_out, tmp_path / "out.txt", run=RUN)
    expected = classify(scratch, held_out, tmp_path / "expected.txt", run=RUN)
    assert (tmp_path / "out.txt").read_bytes() == (tmp_path / "expected.txt").read_bytes()
    assert (result.probabilities == expected.probabilities).all()
    assert os.listdir(tmp_path / "temporary") == []
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_the_input_may_be_one_audio_file_and_the_output_a_new_folder(model, held_out, tmp_path):
    predict(model, held_out[0], f"{tmp_path}/new/", run=RUN)
    assert sorted(os.listdir(tmp_path / "new")) == ["predictions.txt", "probabilities.csv", "results.json"]
    (result,) = json.loads((tmp_path / "new/results.json").read_text())
    assert result["path"] == held_out[0] and sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_every_output_has_a_line_for_an_unreadable_track(model, bad_paths, most_frequent, tmp_path):
    (tmp_path / "results").mkdir()
    with pytest.raises(AudioError):
        predict(model, bad_paths[:2], tmp_path / "results", run=RUN)
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert [(result["path"], result["label"]) for result in results] == [(p, most_frequent) for p in bad_paths[:2]]
    assert os.listdir(tmp_path / "temporary") == []


def test_a_folder_without_audio_and_a_missing_model_are_errors(model, held_out, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ListError, match=r"\[list.folder\]"):
        predict(model, tmp_path / "empty", tmp_path / "out.txt", run=RUN)
    with pytest.raises(ModelError, match=r"\[model.missing\]"):
        predict(tmp_path, held_out, tmp_path / "out.txt", run=RUN)
    assert not (tmp_path / "out.txt").exists()


def test_without_a_writable_temporary_folder_the_message_says_what_to_do(model, held_out, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StorageError, match=r"--tmpfs /tmp.*\[disk.temporary\]"):
        predict(model, held_out, tmp_path / "out.txt", run=RUN)
