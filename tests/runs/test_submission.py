"""The calls of a submission on real audio files: extract, train, classify, and what becomes of bad tracks."""

import csv
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import AudioError, ModelError, StorageError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.networks import engine as engines
from mirex_submission.protocol.lists import Track, read_labelled, read_paths
from mirex_submission.runs import submission
from mirex_submission.system.workers import Workers
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec()
QUICK = Recipe(model="1", epochs=1, segments_per_track=2)
LABELS = {
    "chorale": "Häuser & Höfe",
    "techno": 'a "quoted", label',
    "waltz": "two  blanks ",
    "bells": "'; drop table \\ 音楽",
}
MOST_FREQUENT = LABELS["waltz"]


@pytest.fixture(autouse=True)
def _log(monkeypatch, caplog):
    """What the program says is caught, even where a command line ran before in this process."""
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    caplog.set_level(logging.INFO, "mirex_submission")


@pytest.fixture(scope="module")
def tracks(corpus):
    """The training list under other labels, with one class more frequent than the others."""
    named = [Track(track.path, LABELS[track.label]) for track in read_labelled(corpus["train"])]
    first = {label: next(track for track in named if track.label == label) for label in LABELS.values()}
    return [track for track in named if track.label == MOST_FREQUENT or track != first[track.label]]


@pytest.fixture(scope="module")
def held_out(corpus):
    return read_paths(corpus["test"])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, tracks):
    """A scratch folder with a model: all three networks, trained for an epoch."""
    folder = tmp_path_factory.mktemp("scratch")
    recipe = Recipe(model="all", epochs=1, segments_per_track=4)
    submission.train(folder, tracks, recipe, SPEC, threads=1)
    return folder


@pytest.fixture
def bad_paths(tmp_path):
    """Tracks that cannot be heard: missing, empty, silent, no audio, a folder."""
    paths = [tmp_path / name for name in ("missing.wav", "empty.wav", "silent.wav", "text.wav", "folder.wav")]
    paths[1].write_bytes(b"")
    soundfile.write(paths[2], np.zeros(88200), 22050)
    paths[3].write_text("no audio at all")
    paths[4].mkdir()
    return [str(path) for path in paths]


def classify(scratch, paths, output, **options):
    return submission.classify(scratch, paths, output, threads=1, **options).tracks


def lines_of(output):
    return output.read_bytes().decode("utf-8").split("\n")


# Output.


def test_labels_are_exactly_those_of_the_training_list(scratch, held_out, tmp_path):
    predictions = classify(scratch, held_out, tmp_path / "out.txt")
    assert bundles.load(scratch / "model").classes == tuple(sorted(LABELS.values()))
    assert {track.label for track in predictions} <= set(LABELS.values())
    assert lines_of(tmp_path / "out.txt") == [f"{track.path}\t{track.label}" for track in predictions] + [""]


@pytest.mark.parametrize("label", LABELS.values())
def test_every_spelling_of_a_label_reaches_the_output(scratch, tracks, bad_paths, held_out, tmp_path, label):
    # The most frequent label is given without hearing: so each label in turn is made the most frequent.
    trained = bundles.load(scratch / "model")
    shutil.copytree(scratch / "model", tmp_path / "scratch" / "model")
    of_label = [track for track in trained.tracks if track.label == label]
    fields = {name: getattr(trained, name) for name in trained.__dataclass_fields__}
    bundles.save(
        tmp_path / "scratch" / "model", bundles.Bundle(**{**fields, "tracks": trained.tracks + 3 * tuple(of_label)})
    )
    classify(tmp_path / "scratch", [bad_paths[0], held_out[0]], tmp_path / "out.txt")
    assert lines_of(tmp_path / "out.txt")[0] == f"{bad_paths[0]}\t{label}"


def test_one_line_for_every_line_of_the_test_list_in_order_with_duplicates(scratch, held_out, tmp_path, monkeypatch):
    paths = [held_out[3], held_out[0], held_out[3], *reversed(held_out)]
    monkeypatch.chdir(Path(held_out[1]).parent)
    paths += [f"./{Path(held_out[1]).name}", Path(held_out[1]).name]  # verbatim, whatever the spelling
    predictions = classify(scratch, paths, tmp_path / "made as needed" / "out.txt")
    assert [track.path for track in predictions] == paths
    lines = lines_of(tmp_path / "made as needed" / "out.txt")
    assert [line.split("\t")[0] for line in lines[:-1]] == paths and lines[-1] == ""
    assert lines[0] == lines[2]
    label_of = {track.path: track.label for track in predictions}
    assert label_of[paths[-1]] == label_of[paths[-2]] == label_of[held_out[1]]


def test_the_same_call_gives_the_same_bytes_whatever_else_is_in_the_list(scratch, held_out, tmp_path):
    classify(scratch, held_out, tmp_path / "a.txt", probabilities=tmp_path / "a.csv")
    classify(scratch, held_out[::-1], tmp_path / "b.txt", probabilities=tmp_path / "b.csv")
    assert lines_of(tmp_path / "b.txt")[:-1] == lines_of(tmp_path / "a.txt")[-2::-1]
    assert lines_of(tmp_path / "b.csv")[1:-1] == lines_of(tmp_path / "a.csv")[-2:0:-1]


def test_probabilities_are_a_csv_of_every_line_and_class(scratch, held_out, bad_paths, tmp_path):
    paths = [*held_out, bad_paths[0], held_out[0]]
    predictions = classify(scratch, paths, tmp_path / "out.txt", probabilities=tmp_path / "new" / "p, q.csv")
    with open(tmp_path / "new" / "p, q.csv", encoding="utf-8", newline="") as f:
        header, *rows = csv.reader(f)
    assert header == ["path", "label", *sorted(LABELS.values())]
    assert [(row[0], row[1]) for row in rows] == [(track.path, track.label) for track in predictions]
    for row in rows:
        values = np.array(row[2:], float)
        assert values.sum() == pytest.approx(1, abs=1e-6)
        assert row[1] == header[2:][values.argmax()]
    assert rows[0] == rows[-1]
    assert np.array(rows[-2][2:], float) == pytest.approx(bundles.load(scratch / "model").class_shares, abs=1e-8)


def test_model_all_averages_the_three(scratch, held_out, tmp_path):
    from mirex_submission.networks.epoch import cut
    from mirex_submission.training.segments import segment_starts

    classify(scratch, held_out[:2], tmp_path / "out.txt", probabilities=tmp_path / "p.csv")
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as f:
        _, *rows = csv.reader(f)
    trained = bundles.load(scratch / "model")
    engine = engines.start("cpu", threads=1, seed=0)
    weights = [bundles.load_weights(scratch / "model", trained, name) for name in trained.recipe.networks]
    networks = [
        engine.network(name, w, n_frames=SPEC.n_frames) for name, w in zip(("1", "2", "3"), weights, strict=True)
    ]
    for path, row in zip(held_out, rows, strict=False):
        header, frames = FeatureStore(scratch, SPEC).read(path)
        x = cut(frames, segment_starts(len(frames), header.content, SPEC, trained.recipe), SPEC.n_frames)
        each = [network.probabilities(x).mean(axis=0) for network in networks]
        np.testing.assert_allclose(np.array(row[2:], float), np.mean(each, axis=0), rtol=1e-5)
        assert np.abs(each[0] - each[1]).max() > 1e-3


# Tracks that cannot be heard, in the test list.


def test_one_network_of_all_is_what_it_would_have_been_alone(scratch, tracks, held_out, tmp_path):
    alone = Recipe(model="2", epochs=1, segments_per_track=4)
    submission.train(tmp_path / "alone", tracks, alone, SPEC, threads=1)
    for folder, network in ((scratch, "2"), (tmp_path / "alone", None), (scratch, None)):
        name = f"{folder.name}{network}"
        classify(folder, held_out, tmp_path / name, probabilities=tmp_path / f"{name}.csv", network=network)
    of_all, of_one = (tmp_path / f"{scratch.name}2.csv"), (tmp_path / "aloneNone.csv")
    assert of_all.read_bytes() == of_one.read_bytes() != (tmp_path / f"{scratch.name}None.csv").read_bytes()


def test_a_network_that_was_not_trained_is_a_model_error(tracks, held_out, tmp_path):
    submission.train(tmp_path, tracks, QUICK, SPEC, threads=1)
    for network in ("2", "all"):
        with pytest.raises(ModelError, match=f"model: is of model 1: train model {network} with bin/train.sh"):
            classify(tmp_path, held_out, tmp_path / "out.txt", network=network)
    assert not (tmp_path / "out.txt").exists()


def test_how_segments_decide_can_be_chosen_after_the_training(scratch, held_out, tmp_path, monkeypatch):
    asked = []
    real = submission.vote

    def vote(probabilities, how):
        asked.append(how)
        return real(probabilities, how)

    monkeypatch.setattr(submission, "vote", vote)
    classify(scratch, held_out[:1], tmp_path / "out.txt")
    classify(scratch, held_out[:1], tmp_path / "out.txt", voting="majority")
    assert asked == ["mean", "majority"]


def test_a_track_that_cannot_be_heard_gets_the_most_frequent_label(scratch, held_out, bad_paths, tmp_path, caplog):
    paths = [*bad_paths, *held_out]
    predictions = classify(scratch, paths, tmp_path / "out.txt")
    assert [track.path for track in predictions] == paths
    assert {track.label for track in predictions[: len(bad_paths)]} == {MOST_FREQUENT}
    codes = ("unreadable", "empty", "silent", "undecodable", "no-file")
    for path, code in zip(bad_paths, codes, strict=True):
        assert any(m.startswith(f"{path}: ") and m.endswith(f" [audio.{code}]") for m in caplog.messages), (path, code)
    assert (
        f"5 track(s) cannot be heard (reasons above) and got the most frequent label, {MOST_FREQUENT!r}" in caplog.text
    )


@pytest.mark.parametrize(("n_good", "fails"), [(4, True), (5, False)])
def test_more_than_half_unusable_is_an_audio_error_after_writing(scratch, held_out, bad_paths, tmp_path, n_good, fails):
    output = tmp_path / "out.txt"
    if fails:
        with pytest.raises(AudioError, match="5 of 9 tracks cannot be used"):
            classify(scratch, bad_paths + held_out[:n_good], output)
    else:
        classify(scratch, bad_paths + held_out[:n_good], output)
    assert len(lines_of(output)) - 1 == 5 + n_good


def test_strict_makes_one_unusable_track_an_audio_error_after_writing(scratch, held_out, bad_paths, tmp_path):
    with pytest.raises(AudioError, match="1 of 4 tracks cannot be used"):
        classify(scratch, [bad_paths[2], *held_out[:3]], tmp_path / "out.txt", strict=True)
    assert len(lines_of(tmp_path / "out.txt")) - 1 == 4
    assert classify(scratch, held_out[:3], tmp_path / "out.txt", strict=True)


def test_extraction_counts_unusable_tracks_alike(held_out, bad_paths, tmp_path):
    with pytest.raises(AudioError, match="2 of 3 tracks cannot be used"):
        submission.extract(tmp_path / "s", [held_out[0], *bad_paths[:2]], SPEC, Workers(1))
    with pytest.raises(AudioError, match="1 of 2 tracks cannot be used"):
        submission.extract(tmp_path / "s", [held_out[0], bad_paths[0]], SPEC, Workers(1), strict=True)
    records = submission.extract(tmp_path / "s", [held_out[0], bad_paths[0]], SPEC, Workers(1))
    assert [not record.content for record in records.values()] == [False, True]


def test_a_clip_shorter_than_a_segment_is_heard(scratch, held_out, tmp_path):
    samples, rate_hz = soundfile.read(held_out[0])
    soundfile.write(tmp_path / "short.wav", samples[: rate_hz // 2], rate_hz)
    assert (
        classify(scratch, [str(tmp_path / "short.wav")], tmp_path / "out.txt", strict=True)[0].label in LABELS.values()
    )


# Tracks that cannot be heard, in the training list.


def test_unusable_training_tracks_are_left_out_up_to_max_bad(tracks, bad_paths, tmp_path):
    labelled = [*tracks, Track(bad_paths[1], MOST_FREQUENT), Track(bad_paths[2], MOST_FREQUENT)]  # 2 of 15
    with pytest.raises(AudioError, match="2 of 15 training tracks cannot be used, more than 10%"):
        submission.train(tmp_path / "s", labelled, QUICK, SPEC, threads=1)
    assert not (tmp_path / "s" / "model" / "bundle.json").exists()
    folder = submission.train(tmp_path / "s", labelled, QUICK, SPEC, threads=1, max_bad=2 / 15)
    assert folder == tmp_path / "s" / "model"
    assert [(track.path, track.label) for track in bundles.load(folder).tracks] == [(t.path, t.label) for t in tracks]


def test_a_class_left_empty_is_an_audio_error_before_training(tracks, bad_paths, tmp_path):
    labelled = [*tracks, Track(bad_paths[0], "only here"), Track(bad_paths[1], "nor here")]
    with pytest.raises(AudioError, match="no track of class 'nor here', 'only here' can be used"):
        submission.train(tmp_path / "s", labelled, QUICK, SPEC, threads=1, max_bad=1.0)
    assert not (tmp_path / "s" / "model" / "bundle.json").exists()


def test_too_few_usable_tracks_are_known_before_tensorflow_is_loaded(held_out, bad_paths, tmp_path):
    (tmp_path / "train.txt").write_text(f"{held_out[0]}\tx\n{bad_paths[0]}\ty\n", encoding="utf-8")
    code = (
        "import sys; from mirex_submission.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit(99 if {'tensorflow', 'keras'} & set(sys.modules) else status)"
    )
    command = [sys.executable, "-c", code, "train", str(tmp_path / "s"), str(tmp_path / "train.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == AudioError.exit_status, done.stderr
    assert "no track of class 'y' can be used" in done.stderr


# Warnings and refusals.


def test_a_test_track_that_was_in_the_training_list_gives_a_warning(scratch, tracks, held_out, tmp_path, caplog):
    copy = tmp_path / "copy.wav"
    shutil.copy(tracks[1].path, copy)
    paths = [held_out[0], tracks[0].path, str(copy)]
    assert len(classify(scratch, paths, tmp_path / "out.txt")) == 3
    expected = f"2 test track(s) were in the training list, by path or content: {tracks[0].path}, {copy}"
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [expected]


def test_no_warning_without_overlap(scratch, held_out, tmp_path, caplog):
    classify(scratch, held_out, tmp_path / "out.txt")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_classifying_without_a_model_is_a_model_error_and_writes_nothing(held_out, tmp_path):
    with pytest.raises(ModelError, match="no trained model here"):
        classify(tmp_path / "s", held_out, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_too_small_segments_are_refused_for_each_network():
    submission.check_sizes(Recipe(model="all"), n_bands=18, n_frames=53)
    for model, n_bands, n_frames, least in (
        ("1", 9, 80, "10 x 31"),
        ("2", 17, 80, "18 x 31"),
        ("all", 40, 52, "10 x 53"),
    ):
        with pytest.raises(UsageError, match=f"too few for model [123]: at least {least}"):
            submission.check_sizes(Recipe(model=model), n_bands=n_bands, n_frames=n_frames)


# The scratch folder.


def test_features_damaged_since_they_were_stored_are_made_again(tracks, held_out, tmp_path):
    scratch, store = tmp_path / "s", FeatureStore(tmp_path / "s", SPEC)

    def damage(path):
        file = store.file_of(path)
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)

    submission.extract(scratch, [track.path for track in tracks] + held_out, SPEC, Workers(1))
    damage(tracks[3].path)
    submission.train(scratch, tracks, QUICK, SPEC, threads=1)
    expected = classify(scratch, held_out[:2], tmp_path / "a.txt")
    damage(held_out[0])
    assert classify(scratch, held_out[:2], tmp_path / "b.txt") == expected
    assert store.read(held_out[0]) is not None and store.read(tracks[3].path) is not None


def test_another_training_list_on_the_same_scratch_folder_is_a_new_training(tracks, held_out, tmp_path):
    two = [track for track in tracks if track.label in (LABELS["techno"], LABELS["bells"])]
    submission.train(tmp_path, two, QUICK, SPEC, threads=1)
    submission.train(
        tmp_path, [Track(t.path, "x" if i % 2 else "y") for i, t in enumerate(two)], QUICK, SPEC, threads=1
    )
    assert {track.label for track in classify(tmp_path, held_out, tmp_path / "out.txt")} <= {"x", "y"}
    submission.train(tmp_path, two, QUICK, SPEC, threads=1, name="two")
    assert bundles.load(tmp_path / "models" / "two").classes == tuple(sorted({track.label for track in two}))
    assert bundles.load(tmp_path / "model").classes == ("x", "y")


def test_patience_holds_out_whole_groups_and_the_model_is_that_of_the_best_epoch(tracks, tmp_path, caplog):
    recipe = Recipe(model="1", epochs=3, segments_per_track=5, patience=1, learning_rate=0.5)
    # All but two tracks of every class are one artist's.
    of_class = {label: [t.path for t in tracks if t.label == label] for label in LABELS.values()}
    groups = {path: f"{label} 0" for label, paths in of_class.items() for path in paths[2:]}
    folder = submission.train(tmp_path, tracks, recipe, SPEC, threads=1, groups=groups)
    assert "tracks are held out" in caplog.text
    model = bundles.load(folder)
    history = model.history["1"]
    assert all("validation_loss" in epoch for epoch in history) and model.recipe.patience == 1
    assert len(model.tracks) == len(tracks)  # a held-out track in a test list is an overlap too

    # Called again: nothing to do. With more epochs it goes on from its last state, if there is any patience left.
    caplog.clear()
    submission.train(tmp_path, tracks, recipe, SPEC, threads=1, groups=groups)
    assert "nothing to do" in caplog.text
    patient = Recipe(model="1", epochs=6, segments_per_track=5, patience=99, learning_rate=0.5)
    submission.train(tmp_path, tracks, patient, SPEC, threads=1, groups=groups)
    on = bundles.load(folder)
    assert len(on.history["1"]) == 6 and on.history["1"][: len(history)] == history
    straight = submission.train(tmp_path, tracks, patient, SPEC, threads=1, groups=groups, name="straight")
    assert bundles.load(straight).weights == on.weights and bundles.load(straight).history == on.history

    # One state stays to go on from; less patience than it took is a training of its own.
    assert len(list(folder.glob("*.checkpoint"))) == 1
    submission.train(tmp_path, tracks, recipe, SPEC, threads=1, groups=groups)
    assert bundles.load(folder).history["1"] == history

    with pytest.raises(UsageError, match="--groups: has none of the tracks"):
        submission.train(tmp_path, tracks, recipe, SPEC, threads=1, groups={"/elsewhere/a.wav": "b"})
    caplog.clear()
    submission.train(tmp_path, tracks, recipe, SPEC, threads=1, groups=groups)
    assert f"{len(tracks) - len(groups)} of {len(tracks)} tracks have no group" in caplog.text

    # Other groups hold out others: a new training.
    submission.train(tmp_path, tracks, recipe, SPEC, threads=1)
    assert bundles.load(folder).keys != on.keys


def test_a_call_that_has_nothing_to_do_leaves_the_states_of_others(tracks, tmp_path):
    folder = submission.train(tmp_path, tracks, QUICK, SPEC, threads=1)
    other = folder / f"{'0' * 32}-000007.checkpoint"
    other.write_bytes(b"of a training that was killed")
    submission.train(tmp_path, tracks, QUICK, SPEC, threads=1)
    assert other.exists()
    submission.train(tmp_path, tracks, QUICK, SPEC, threads=1, restart=True)
    assert not other.exists()  # its place is taken


def test_events_for_tensorboard_cannot_cost_a_training(tracks, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        submission.train(tmp_path / "s", tracks, QUICK, SPEC, threads=1, tensorboard=tmp_path / "file" / "events")
    assert not (tmp_path / "s").exists()  # refused before anything else
    for name in ("first", "again"):  # of a finished training too
        submission.train(tmp_path / "s", tracks, QUICK, SPEC, threads=1, tensorboard=tmp_path / name)
        assert list((tmp_path / name).rglob("*tfevents*"))


def test_every_fold_has_the_working_rate_of_its_whole_task(held_out, tmp_path):
    """Most files of the task are at 11.025 kHz; a fold of the others alone would call for 22.05 kHz."""
    options = {"rate": "auto", "n_bands": 40, "n_frames": 80, "threads": 1}
    low = []
    for k in range(2 * len(held_out)):
        low.append(str(tmp_path / f"low{k}.wav"))
        soundfile.write(low[-1], np.zeros(100), 11025)
    scratch, fold = tmp_path / "s", held_out[:4]
    assert submission.choose_spec(scratch, fold, **options) == FeatureSpec(22050)
    assert submission.choose_spec(scratch, low + held_out, **options, whole_task=True) == FeatureSpec(11025)
    assert submission.choose_spec(scratch, fold, **options) == FeatureSpec(11025)
    # Another rate asked for, or files that were not in that task: the record does not hold.
    assert submission.choose_spec(scratch, fold, **{**options, "rate": "44100"}) == FeatureSpec(44100)
    assert submission.choose_spec(scratch, [*fold, f"{fold[0]}.not-there"], **options) == FeatureSpec(22050)
    # A record that cannot be read counts for nothing.
    (scratch / "features" / "task").write_text("{")
    assert submission.choose_spec(scratch, fold, **options) == FeatureSpec(22050)
