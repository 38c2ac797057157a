"""Classification: one line for every test track, probabilities, votes, and files that must not be overwritten."""

import csv
import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mirex_submission import ClassificationOptions, Recipe, RunOptions, classify, train
from mirex_submission.errors import AudioError, ModelError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.models import prediction
from mirex_submission.networks import engine as engines
from mirex_submission.networks.epoch import cut
from mirex_submission.training.segments import segment_starts

SPEC = FeatureSpec()
RUN = RunOptions(threads=1, no_check=True)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, pairs):
    """A scratch folder with a model: all three networks, trained for an epoch."""
    folder = tmp_path_factory.mktemp("scratch")
    train(folder, pairs, recipe=Recipe(model="all", epochs=1, segments_per_track=4), run=RUN)
    return folder


def tracks_of(scratch, paths, output=None, *, run=RUN, **options):
    return classify(scratch, paths, output, classification=ClassificationOptions(**options), run=run).tracks


def lines_of(output):
    return output.read_bytes().decode("utf-8").split("\n")


# Output.


def test_labels_are_exactly_those_of_the_training_list(scratch, held_out, labels, tmp_path):
    predictions = tracks_of(scratch, held_out, tmp_path / "out.txt")
    assert bundles.load(scratch / "model").classes == labels
    assert {track.label for track in predictions} <= set(labels)
    assert lines_of(tmp_path / "out.txt") == [f"{track.path}\t{track.label}" for track in predictions] + [""]


def test_labels_of_any_characters_are_written_to_the_output(scratch, labels, bad_paths, held_out, tmp_path):
    # An unreadable track gets the most frequent label, so each label in turn becomes the most frequent one.
    trained = bundles.load(scratch / "model")
    shutil.copytree(scratch / "model", tmp_path / "scratch/model")
    for label in labels:
        of_label = tuple(track for track in trained.tracks if track.label == label)
        bundles.save(tmp_path / "scratch/model", dataclasses.replace(trained, tracks=trained.tracks + 3 * of_label))
        tracks_of(tmp_path / "scratch", [bad_paths[0], held_out[0]], tmp_path / "out.txt")
        assert lines_of(tmp_path / "out.txt")[0] == f"{bad_paths[0]}\t{label}"


def test_one_line_for_every_line_of_the_test_list_in_order_with_duplicates(scratch, held_out, tmp_path, monkeypatch):
    paths = [held_out[3], held_out[0], held_out[3], *reversed(held_out)]
    monkeypatch.chdir(Path(held_out[1]).parent)
    paths += [f"./{Path(held_out[1]).name}", Path(held_out[1]).name]  # the output has the spelling of the list
    predictions = tracks_of(scratch, paths, tmp_path / "made as needed/out.txt")
    assert [track.path for track in predictions] == paths
    lines = lines_of(tmp_path / "made as needed/out.txt")
    assert [line.split("\t")[0] for line in lines[:-1]] == paths and lines[-1] == ""
    assert lines[0] == lines[2]
    label_of = {track.path: track.label for track in predictions}
    assert label_of[paths[-1]] == label_of[paths[-2]] == label_of[held_out[1]]


def test_the_line_of_a_track_does_not_depend_on_the_order_of_the_list(scratch, held_out, tmp_path):
    tracks_of(scratch, held_out, tmp_path / "a.txt", probabilities=tmp_path / "a.csv")
    tracks_of(scratch, held_out[::-1], tmp_path / "b.txt", probabilities=tmp_path / "b.csv")
    assert lines_of(tmp_path / "b.txt")[:-1] == lines_of(tmp_path / "a.txt")[-2::-1]
    assert lines_of(tmp_path / "b.csv")[1:-1] == lines_of(tmp_path / "a.csv")[-2:0:-1]


def test_the_csv_file_has_the_probabilities_of_every_line_and_class(scratch, held_out, labels, bad_paths, tmp_path):
    paths = [*held_out, bad_paths[0], held_out[0]]
    predictions = tracks_of(scratch, paths, tmp_path / "out.txt", probabilities=tmp_path / "new/p, q.csv")
    with open(tmp_path / "new/p, q.csv", encoding="utf-8", newline="") as f:
        header, *rows = csv.reader(f)
    assert header == ["path", "label", *labels]
    assert [(row[0], row[1]) for row in rows] == [(track.path, track.label) for track in predictions]
    for row in rows:
        values = np.array(row[2:], float)
        assert values.sum() == pytest.approx(1, abs=1e-6)
        assert row[1] == header[2:][values.argmax()]
    assert rows[0] == rows[-1]
    assert np.array(rows[-2][2:], float) == pytest.approx(bundles.load(scratch / "model").class_shares, abs=1e-8)


def test_a_result_is_converted_to_a_data_frame(scratch, held_out, labels, bad_paths):
    result = classify(scratch, [*held_out[:2], bad_paths[0]], run=RUN)
    frame = result.to_frame()
    assert frame.columns.tolist() == ["path", "label", "readable", *labels]
    assert frame.path.tolist() == [*held_out[:2], bad_paths[0]]
    assert frame.label.tolist() == [track.label for track in result.tracks]
    assert frame.readable.tolist() == [True, True, False] and result.unreadable == [bad_paths[0]]
    np.testing.assert_array_equal(frame[list(labels)], result.probabilities)
    named = dataclasses.replace(result, classes=("label", *labels[1:]))
    assert named.to_frame().columns.tolist() == ["path", "label", "readable", "label (class)", *labels[1:]]


# Networks and votes.


def test_model_all_averages_the_three_networks(scratch, held_out):
    result = classify(scratch, held_out[:2], run=RUN)
    trained = bundles.load(scratch / "model")
    engine = engines.start("cpu", threads=1, seed=0)
    weights = {name: bundles.load_weights(scratch / "model", trained, name) for name in trained.recipe.networks}
    networks = [engine.network(name, w, n_frames=SPEC.n_frames) for name, w in weights.items()]
    assert list(weights) == ["1", "2", "3"]
    for path, probabilities in zip(held_out, result.probabilities, strict=False):
        header, frames = FeatureStore(scratch, SPEC).read(path)
        x = cut(frames, segment_starts(len(frames), header.content, SPEC, trained.recipe), SPEC.n_frames)
        of_networks = [network.probabilities(x).mean(axis=0) for network in networks]
        np.testing.assert_allclose(probabilities, np.mean(of_networks, axis=0), rtol=1e-5)
        assert np.abs(of_networks[0] - of_networks[1]).max() > 1e-3


def test_one_network_of_model_all_equals_the_network_trained_alone(scratch, pairs, held_out, tmp_path):
    train(tmp_path / "alone", pairs, recipe=Recipe(model="2", epochs=1, segments_per_track=4), run=RUN)
    two, alone, three = (
        classify(folder, held_out, classification=ClassificationOptions(model=model), run=RUN).probabilities
        for folder, model in ((scratch, 2), (tmp_path / "alone", None), (scratch, None))
    )
    np.testing.assert_array_equal(two, alone)
    assert not np.array_equal(two, three)
    for model in ("1", "all"):  # they were not trained
        with pytest.raises(ModelError, match=rf"train model {model} .*\[model.other-network\]"):
            tracks_of(tmp_path / "alone", held_out, tmp_path / "out.txt", model=model)
    assert not (tmp_path / "out.txt").exists()


def test_the_vote_can_be_chosen_after_the_training(scratch, held_out, monkeypatch):
    votes, vote = [], prediction.vote
    monkeypatch.setattr(prediction, "vote", lambda rows, how: votes.append(how) or vote(rows, how))
    tracks_of(scratch, held_out[:1])
    tracks_of(scratch, held_out[:1], vote="majority")
    assert votes == ["mean", "majority"]


# Unreadable tracks.


def test_an_unreadable_track_gets_the_most_frequent_label(
    scratch, held_out, bad_paths, most_frequent, tmp_path, caplog
):
    paths = [*bad_paths, *held_out]
    result = classify(scratch, paths, tmp_path / "out.txt", run=RUN)
    assert [track.path for track in result.tracks] == paths and result.unreadable == bad_paths
    assert {track.label for track in result.tracks[: len(bad_paths)]} == {most_frequent}
    for path in bad_paths:
        assert any(text.startswith(f"{path}: ") for text in caplog.messages), path
    (summary,) = (text for text in caplog.messages if text.endswith("[audio.most-frequent-label]"))
    assert summary.startswith("5 ") and repr(most_frequent) in summary


def test_more_than_half_unreadable_is_an_audio_error_after_writing_and_strict_allows_none(
    scratch, held_out, bad_paths, tmp_path
):
    strict = RunOptions(threads=1, strict=True)
    for name, paths, run, fails in (
        ("5 of 9", [*bad_paths, *held_out[:4]], RUN, True),
        ("5 of 10", [*bad_paths, *held_out[:5]], RUN, False),
        ("1 of 4", [bad_paths[2], *held_out[:3]], strict, True),
        ("none", held_out[:3], strict, False),
    ):
        if fails:
            with pytest.raises(AudioError, match=rf"^{name} .*\[audio.too-many\]"):
                tracks_of(scratch, paths, tmp_path / name, run=run)
        else:
            tracks_of(scratch, paths, tmp_path / name, run=run)
        assert len(lines_of(tmp_path / name)) - 1 == len(paths)


def test_a_clip_shorter_than_a_segment_is_readable(scratch, held_out, labels, tmp_path):
    samples, rate_hz = soundfile.read(held_out[0])
    soundfile.write(tmp_path / "short.wav", samples[: rate_hz // 2], rate_hz)
    strict = RunOptions(threads=1, strict=True)
    assert tracks_of(scratch, [str(tmp_path / "short.wav")], run=strict)[0].label in labels


# Warnings and refusals.


def test_only_test_tracks_in_the_training_list_give_a_warning(scratch, pairs, held_out, tmp_path, caplog):
    tracks_of(scratch, held_out)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    copy = str(shutil.copy(pairs[1][0], tmp_path / "copy.wav"))
    assert len(tracks_of(scratch, [held_out[0], pairs[0][0], copy])) == 3
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert warning.startswith("2 ") and warning.endswith(f": {pairs[0][0]}, {copy} [list.trained-track]")


def test_classifying_without_a_model_is_a_model_error_and_writes_nothing(held_out, tmp_path):
    with pytest.raises(ModelError) as raised:
        tracks_of(tmp_path / "s", held_out, tmp_path / "out.txt")
    assert str(tmp_path / "s/model") in str(raised.value)
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("name", ["list.txt", Path("list.txt")])
def test_an_output_never_replaces_a_list_a_model_or_another_output(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("a.wav\n")
    for paths, output, probabilities in (
        (name, name, None),
        (["a.wav"], "out.txt", Path("out.txt")),
        (["a.wav"], "scratch/models/base/bundle.json", None),
    ):
        with pytest.raises(UsageError, match=r"\[usage.output\]"):
            tracks_of("scratch", paths, output, probabilities=probabilities)
    assert Path(name).read_text() == "a.wav\n"


def test_a_model_that_is_replaced_while_it_is_loaded_is_loaded_again(scratch, pairs, held_out, tmp_path, monkeypatch):
    copy = shutil.copytree(scratch, tmp_path / "scratch")
    load, trained = bundles.load, []

    def load_before_two_trainings(folder):
        bundle = load(folder)
        if not trained:
            trained.append(folder)
            for seed in (1, 2):
                train(copy, pairs, recipe=Recipe(model="all", epochs=1, segments_per_track=4, seed=seed), run=RUN)
        return bundle

    monkeypatch.setattr(bundles, "load", load_before_two_trainings)
    predictions = tracks_of(copy, held_out)
    monkeypatch.undo()
    assert trained and predictions == tracks_of(copy, held_out)
    for file in (copy / "model").glob("*.weights.npz"):
        file.unlink()
    with pytest.raises(ModelError, match=r"weights\.npz"):
        tracks_of(copy, held_out)
