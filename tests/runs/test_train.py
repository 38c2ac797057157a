"""Training: unreadable tracks, held-out groups, finished and changed trainings, and damaged features."""

import subprocess
import sys

import pytest

from mirex_submission import FeatureOptions, Recipe, RunOptions, TrainingOptions, classify, train
from mirex_submission.errors import AudioError, StorageError, UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.models import bundle as bundles
from mirex_submission.runs.check import check
from mirex_submission.runs.train import dry_run, train_and_classify

QUICK = Recipe(model="1", epochs=1, segments_per_track=2)
RUN = RunOptions(threads=1)


@pytest.mark.parametrize("no_check", [False, True])
def test_unreadable_training_tracks_are_left_out_up_to_max_bad(pairs, bad_paths, most_frequent, tmp_path, no_check):
    run = RunOptions(threads=1, no_check=no_check)
    listed = [*pairs, (bad_paths[1], most_frequent), (bad_paths[2], most_frequent)]  # 2 of 15
    with pytest.raises(AudioError, match=r"\b2 of 15 .*10%.*\[audio.too-many-to-train\]"):
        train(tmp_path / "s", listed, recipe=QUICK, run=run)
    assert not (tmp_path / "s/model/bundle.json").exists()
    folder = train(tmp_path / "s", listed, recipe=QUICK, training=TrainingOptions(max_bad=100 * 2 / 15), run=run)
    assert folder == tmp_path / "s/model"
    assert [(track.path, track.label) for track in bundles.load(folder).tracks] == pairs
    with pytest.raises(AudioError, match=r"\[audio.too-many\]"):
        train(tmp_path / "s", listed, recipe=QUICK, run=RunOptions(threads=1, no_check=no_check, strict=True))


@pytest.mark.parametrize("no_check", [False, True])
def test_a_class_left_empty_is_an_audio_error_before_training(pairs, bad_paths, tmp_path, no_check):
    listed = [*pairs, (bad_paths[0], "only here"), (bad_paths[1], "nor here")]
    run = RunOptions(threads=1, no_check=no_check)
    with pytest.raises(AudioError, match=r"'nor here', 'only here'.*\[audio.empty-class\]"):
        train(tmp_path / "s", listed, recipe=QUICK, training=TrainingOptions(max_bad=100), run=run)
    assert not (tmp_path / "s/model/bundle.json").exists()


def test_too_few_readable_tracks_are_an_error_before_tensorflow_is_loaded(held_out, bad_paths, tmp_path):
    (tmp_path / "train.txt").write_text(f"{held_out[0]}\tx\n{bad_paths[0]}\ty\n", encoding="utf-8")
    code = (
        "import sys; from mirex_submission.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit(99 if {'tensorflow', 'keras'} & set(sys.modules) else status)"
    )
    command = [sys.executable, "-c", code, "train", str(tmp_path / "s"), str(tmp_path / "train.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == AudioError.exit_status and "[audio.empty-class]" in done.stderr, done.stderr


def test_too_small_segments_are_refused_for_each_network(tmp_path):
    for model, bands, frames, least in (
        ("1", 9, 80, "10 x 31"),
        ("2", 17, 80, "18 x 31"),
        ("all", 40, 52, "10 x 53"),
    ):
        features = FeatureOptions(bands=bands, frames=frames)
        for run in (train, dry_run):
            with pytest.raises(UsageError, match=rf"{least} \[usage.segment-size\]"):
                run(tmp_path / "s", [("a", "x"), ("b", "y")], recipe=Recipe(model=model), features=features)
    check(tmp_path / "s", recipe=Recipe(model="all"), features=FeatureOptions(bands=18, frames=53))
    assert not (tmp_path / "s").exists()


def test_a_dry_run_writes_nothing(pairs, held_out, tmp_path):
    lines = dry_run(tmp_path / "s", pairs, [*(path for path, _ in pairs), *held_out], run=RUN)
    assert lines and all(isinstance(line, str) for line in lines)
    assert not (tmp_path / "s").exists()


def test_train_and_classify_gives_the_same_as_the_two_runs(pairs, held_out, tmp_path):
    named = TrainingOptions(name="two")
    result = train_and_classify(tmp_path / "one", pairs, held_out, tmp_path / "one.txt", recipe=QUICK, run=RUN)
    train(tmp_path / "two", pairs, recipe=QUICK, training=named, run=RUN)
    train(tmp_path / "two", pairs, held_out, recipe=QUICK, run=RUN)
    classify(tmp_path / "two", held_out, tmp_path / "two.txt", run=RUN)
    assert (tmp_path / "one.txt").read_bytes() == (tmp_path / "two.txt").read_bytes()
    assert (tmp_path / "one.txt").read_text() == "".join(f"{t.path}\t{t.label}\n" for t in result.tracks)
    for folder in ("two/model", "two/models/two"):
        assert bundles.load(tmp_path / folder).weights == bundles.load(tmp_path / "one/model").weights
    with pytest.raises(StorageError):  # refused before the training
        train_and_classify(tmp_path / "three", pairs, held_out, tmp_path, recipe=QUICK, run=RUN)
    assert not (tmp_path / "three").exists()


# The scratch folder.


def test_damaged_stored_features_are_extracted_again(pairs, held_out, tmp_path):
    scratch, store = tmp_path / "s", FeatureStore(tmp_path / "s", FeatureSpec())

    def damage(path):
        file = store.file_of(path)
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)

    train(scratch, pairs, held_out, recipe=QUICK, run=RUN)
    expected = classify(scratch, held_out[:2], run=RUN)
    damage(pairs[3][0])
    train(scratch, pairs, recipe=QUICK, training=TrainingOptions(restart=True), run=RUN)
    damage(held_out[0])
    again = classify(scratch, held_out[:2], run=RUN)
    assert again.tracks == expected.tracks and (again.probabilities == expected.probabilities).all()
    assert store.read(held_out[0]) is not None and store.read(pairs[3][0]) is not None


def test_another_training_list_on_the_same_scratch_folder_is_a_new_training(pairs, held_out, labels, tmp_path):
    two = [(path, label) for path, label in pairs if label in labels[:2]]
    train(tmp_path, two, recipe=QUICK, run=RUN)
    train(tmp_path, [(path, "x" if n % 2 else "y") for n, (path, _) in enumerate(two)], recipe=QUICK, run=RUN)
    assert {track.label for track in classify(tmp_path, held_out, run=RUN).tracks} <= {"x", "y"}
    train(tmp_path, two, recipe=QUICK, training=TrainingOptions(name="two"), run=RUN)
    assert bundles.load(tmp_path / "models/two").classes == labels[:2]
    assert bundles.load(tmp_path / "model").classes == ("x", "y")


def test_patience_holds_out_whole_groups_and_keeps_the_model_of_the_best_epoch(pairs, labels, tmp_path, caplog):
    impatient = Recipe(model="1", epochs=3, segments_per_track=5, patience=1, learning_rate=0.5)
    # In every class, all tracks but two have one artist.
    of_class = {label: [path for path, other in pairs if other == label] for label in labels}
    groups = {path: f"{label} 0" for label, paths in of_class.items() for path in paths[2:]}

    def fit(recipe, groups, name=None):
        return train(
            tmp_path, pairs, recipe=recipe, training=TrainingOptions(name=name, groups=groups, no_picture=True), run=RUN
        )

    folder = fit(impatient, groups)
    model = bundles.load(folder)
    history = model.history["1"]
    assert all("validation_loss" in epoch for epoch in history) and model.recipe.patience == 1
    assert len(model.tracks) == len(pairs)  # a held-out track counts as a training track

    # A repeated training does nothing. With more epochs and patience, it resumes from its last checkpoint.
    written_ns = (folder / "bundle.json").stat().st_mtime_ns
    fit(impatient, groups)
    assert (folder / "bundle.json").stat().st_mtime_ns == written_ns
    patient = Recipe(model="1", epochs=6, segments_per_track=5, patience=99, learning_rate=0.5)
    fit(patient, groups)
    resumed = bundles.load(folder)
    assert len(resumed.history["1"]) == 6 and resumed.history["1"][: len(history)] == history
    straight = bundles.load(fit(patient, groups, name="straight"))
    assert straight.weights == resumed.weights and straight.history == resumed.history

    # One checkpoint is kept to resume from; with less patience, the training is a new one.
    assert len(list(folder.glob("*.checkpoint"))) == 1
    fit(impatient, groups)
    assert bundles.load(folder).history["1"] == history

    with pytest.raises(UsageError, match="--groups"):
        fit(impatient, {"/elsewhere/a.wav": "b"})
    caplog.clear()
    fit(impatient, groups)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"{len(pairs) - len(groups)} of {len(pairs)} " in text for text in warnings)  # tracks without a group

    # Without groups other tracks are held out, so the training is a new one.
    fit(impatient, None)
    assert bundles.load(folder).keys != resumed.keys


def test_a_run_that_has_nothing_to_do_keeps_the_checkpoints_of_other_trainings(pairs, tmp_path):
    folder = train(tmp_path, pairs, recipe=QUICK, run=RUN)
    other = folder / f"{'0' * 32}-000007.checkpoint"
    other.write_bytes(b"of a training that was killed")
    train(tmp_path, pairs, recipe=QUICK, run=RUN)
    assert other.exists()
    train(tmp_path, pairs, recipe=QUICK, training=TrainingOptions(restart=True), run=RUN)
    assert not other.exists()  # the new model replaces it


def test_tensorboard_events_are_written_and_a_wrong_folder_is_an_error_before_the_training(pairs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        train(tmp_path / "s", pairs, recipe=QUICK, run=RUN, training=TrainingOptions(tensorboard=tmp_path / "file/x"))
    assert not list((tmp_path / "s").rglob("*.logmel"))  # refused before the extraction
    for name in ("first", "again"):  # events of a finished training are written again
        train(tmp_path / "s", pairs, recipe=QUICK, run=RUN, training=TrainingOptions(tensorboard=tmp_path / name))
        assert list((tmp_path / name).rglob("*tfevents*"))


def test_the_history_is_that_of_this_model_and_a_missing_one_is_written_again(pairs, tmp_path):
    model = train(tmp_path, pairs, recipe=QUICK, run=RUN)
    before = [(model / name).read_bytes() for name in ("history.csv", "history.png")]
    for name in ("history.csv", "history.png"):
        (model / name).unlink()
    train(tmp_path, pairs, recipe=QUICK, run=RUN)
    assert [(model / name).read_bytes() for name in ("history.csv", "history.png")] == before
    train(tmp_path, pairs[:-1], recipe=QUICK, training=TrainingOptions(no_picture=True), run=RUN)
    assert not (model / "history.png").exists() and (model / "history.csv").read_bytes() != before[0]


def test_a_field_of_the_other_recipe_is_named_as_one(pairs, tmp_path):
    with pytest.raises(UsageError, match=r"epochs is a parameter of the recipe paper.*\[usage\.other-recipe\]"):
        train(tmp_path / "s", pairs, recipe="modulation", epochs=3)
    with pytest.raises(UsageError, match=r"no option 'epoch'.*\[usage\.option\]"):
        train(tmp_path / "s", pairs, epoch=3)
