"""MirexClassifier: predictions as by the shell scripts, scikit-learn's conventions, searches on one scratch folder."""

import csv
import dataclasses
import hashlib
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import sklearn
import soundfile
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from mirex_submission import FeatureOptions, Recipe, RunOptions, TrainingOptions, ViewRecipe
from mirex_submission import estimator as estimator_module
from mirex_submission.errors import AudioError, ListError, ModelError, UsageError
from mirex_submission.estimator import MirexClassifier
from mirex_submission.networks import kernel

QUICK = {"epochs": 4, "segments_per_track": 3, "model": "1", "threads": 1}


@pytest.fixture(scope="module")
def tracks(corpus):
    """Training and test tracks: paths, labels, paths, labels."""
    lines = [corpus[name].read_text().splitlines() for name in ("train", "truth")]
    return [column for rows in lines for column in zip(*(line.split("\t") for line in rows), strict=True)]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("estimator") / "scratch"


@pytest.fixture(scope="module")
def fitted(tracks, scratch):
    return MirexClassifier(scratch=scratch, **QUICK).fit(*tracks[:2])


def test_predictions_equal_those_of_the_shell_scripts_on_the_same_lists(fitted, corpus, tracks, tmp_path, run_script):
    options = ["--epochs", 4, "--segments-per-track", 3, "--model", 1, "-numThreads", 1, "--no-picture"]
    assert run_script("train.sh", *options, tmp_path / "s", corpus["train"]).returncode == 0
    table = tmp_path / "p.csv"
    output = ("--probabilities", table, tmp_path / "s", corpus["test"], tmp_path / "out.txt")
    done = run_script("classify.sh", "-numThreads", 1, *output)
    assert done.returncode == 0, done.stderr
    header, *rows = csv.reader(io.StringIO(table.read_text()))
    assert header[2:] == fitted.classes_.tolist()
    assert fitted.predict(tracks[2]).tolist() == [row[1] for row in rows]
    probabilities = fitted.predict_proba(tracks[2])
    np.testing.assert_allclose(probabilities, [[float(p) for p in row[2:]] for row in rows], rtol=1e-4)
    assert np.ptp(probabilities) > 0.01
    assert fitted.score(tracks[2], tracks[3]) == accuracy_score(tracks[3], fitted.predict(tracks[2]))
    if kernel.compiled:  # the last bits of Keras depend on the threads of its first start in this process
        # Those of the script are float32 and add up to 1 only nearly.
        np.testing.assert_allclose(probabilities, [[float(p) for p in row[2:]] for row in rows], rtol=2e-7)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
        model = {file.name: file.read_bytes() for file in (tmp_path / "s/model").glob("*.npz")}
        assert model.items() <= fitted.bundle_.items()


def test_a_repeated_fit_a_clone_and_another_scratch_folder_give_the_same_probabilities(fitted, tracks, tmp_path):
    expected = fitted.predict_proba(tracks[2])
    again = clone(fitted).set_params(scratch=tmp_path / "new")
    with pytest.raises(NotFittedError):
        again.predict(tracks[2])
    paths = np.array([Path(path) for path in tracks[0]])
    for _ in range(2):
        np.testing.assert_array_equal(again.fit(paths, np.array(tracks[1])).predict_proba(tracks[2]), expected)
    other = again.set_params(random_state=1).fit(*tracks[:2])
    assert not np.array_equal(other.predict_proba(tracks[2]), expected)
    drawn = [again.set_params(random_state=np.random.RandomState(5)).fit(*tracks[:2]) for _ in range(2)]
    np.testing.assert_array_equal(*(estimator.predict_proba(tracks[2]) for estimator in drawn))


def test_a_pickled_estimator_predicts_in_another_process_without_its_scratch_folder(fitted, tracks, tmp_path):
    joblib.dump(clone(fitted).set_params(scratch=tmp_path / "gone").fit(*tracks[:2]), tmp_path / "kept")
    shutil.rmtree(tmp_path / "gone")
    code = "import sys, joblib; print(*joblib.load(sys.argv[1]).predict(sys.argv[2:]))"
    command = [sys.executable, "-c", code, tmp_path / "kept", *tracks[2][:3]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == fitted.predict(tracks[2][:3]).tolist()


def test_a_damaged_bundle_is_a_model_error(fitted, tracks):
    damaged = pickle.loads(pickle.dumps(fitted))
    name = next(name for name in damaged.bundle_ if name.endswith(".npz"))
    damaged.bundle_[name] = damaged.bundle_[name][:-1]
    with pytest.raises(ModelError, match=re.escape(name)):
        damaged.predict(tracks[2])


@pytest.mark.slow
def test_a_search_over_grouped_folds_in_two_processes_decodes_each_file_once_and_leaves_only_features(tracks, tmp_path):
    paths, labels = tracks[:2]
    groups = np.arange(len(paths)) // 2
    estimator = MirexClassifier(scratch=tmp_path, **QUICK)
    folds = StratifiedGroupKFold(2)
    alone = cross_val_score(estimator, paths, labels, groups=groups, cv=folds, error_score="raise")
    features = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.logmel")}
    assert len(features) == len(paths)
    search = GridSearchCV(estimator, {"learning_rate": [0.02, 0.1]}, cv=folds, n_jobs=2, error_score="raise")
    search.fit(np.array(paths), labels, groups=groups)
    np.testing.assert_array_equal([search.cv_results_[f"split{k}_test_score"][0] for k in (0, 1)], alone)
    assert search.predict(tracks[2]).shape == (len(tracks[2]),)
    assert features.items() <= {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.logmel")}.items()
    assert not list((tmp_path / "models").iterdir())


def test_a_search_with_metadata_routing_passes_groups_to_fit(tracks, scratch, monkeypatch):
    paths, labels = tracks[:2]
    groups, held_out = list(range(len(paths))), []
    train = estimator_module.train

    def recorded(*args, training, **options):
        held_out.append(training.groups)
        return train(*args, training=training, **options)

    monkeypatch.setattr(estimator_module, "train", recorded)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = MirexClassifier(scratch=scratch, patience=1, **QUICK).set_fit_request(groups=True)
        search = GridSearchCV(estimator, {"learning_rate": [0.02]}, cv=StratifiedGroupKFold(2))
        search.fit(paths, labels, groups=groups)
    assert len(held_out) == 3 and all(held_out)


def test_without_scratch_all_estimators_of_a_process_share_a_temporary_folder_that_is_removed_at_exit(tracks, tmp_path):
    code = f"""
import sys, tempfile
from pathlib import Path
from sklearn.base import clone
from mirex_submission.estimator import MirexClassifier
first = MirexClassifier(**{QUICK}).fit(sys.argv[1::2], sys.argv[2::2])
clone(first).fit(sys.argv[1::2], sys.argv[2::2]).predict(sys.argv[1::2])
there = Path(tempfile.gettempdir())
print(*there.glob("*"), len(list(there.rglob("*.logmel"))), "matplotlib" in sys.modules, sep="\\n")
"""
    words = [word for pair in zip(*tracks[:2], strict=True) for word in pair]
    command = [sys.executable, "-c", code, *words]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    folder, n_stored, drawn = done.stdout.splitlines()
    assert Path(folder).parent == tmp_path and int(n_stored) == len(tracks[0]) and drawn == "False"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [int, "object"])
def test_labels_keep_their_type_and_decide_the_order_of_the_columns(fitted, tracks, kind):
    """Numbers sort as numbers; as text, 10 would come before 9."""
    numbers = np.array([{"bells": 9, "chorale": 10, "techno": 100, "waltz": -1}[label] for label in tracks[1]])
    labels = numbers.astype(str).astype(object) if kind == "object" else numbers.astype(kind)
    estimator = clone(fitted).fit(tracks[0], labels)
    assert estimator.classes_.tolist() == sorted(set(labels.tolist()))
    predicted = estimator.predict(tracks[2])
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(estimator.classes_[estimator.predict_proba(tracks[2]).argmax(axis=1)], predicted)


def test_an_unreadable_track_gets_the_most_frequent_label_with_a_warning(tracks, scratch, tmp_path, caplog):
    noise = tmp_path / "no.wav"
    noise.write_bytes(b"no audio")
    paths, labels = [*tracks[0][3:], str(noise)], [*tracks[1][3:], tracks[1][-1]]
    estimator = MirexClassifier(scratch=scratch, **QUICK).fit(paths, labels)
    shares = [labels[:-1].count(label) / (len(labels) - 1) for label in estimator.classes_]
    caplog.clear()
    predicted = estimator.predict([*tracks[2][:2], noise])
    assert predicted[2] == estimator.classes_[np.argmax(shares)]
    assert str(noise) in caplog.text and "[audio.most-frequent-label]" in caplog.text
    np.testing.assert_allclose(estimator.predict_proba([*tracks[2][:2], noise])[2], shares)
    with pytest.raises(AudioError, match=r"^1 of 1 .*\[audio.too-many\]"):
        estimator.predict([noise])
    with pytest.raises(AudioError, match=r"^1 of 2 .*\[audio.too-many\]"):
        clone(estimator).set_params(strict=True).fit(tracks[0], tracks[1]).predict([tracks[2][0], noise])
    with pytest.raises(AudioError, match=r"\[audio.too-many-to-train\]"):
        clone(estimator).set_params(max_bad=0).fit(paths, labels)


def test_groups_change_the_model_only_with_patience(tracks, scratch):
    patient = MirexClassifier(scratch=scratch, **{**QUICK, "patience": 1})
    groups = np.where(np.array(tracks[1]) == "bells", "bells", tracks[0])
    grouped = patient.fit(*tracks[:2], groups=groups).predict_proba(tracks[2])
    assert not np.array_equal(grouped, patient.fit(*tracks[:2]).predict_proba(tracks[2]))
    impatient = clone(patient).set_params(patience=0)
    expected = impatient.fit(*tracks[:2]).predict_proba(tracks[2])
    np.testing.assert_array_equal(impatient.fit(*tracks[:2], groups=groups).predict_proba(tracks[2]), expected)


def test_the_recipe_modulation_predicts_as_the_shell_scripts_do(corpus, tracks, scratch, tmp_path, run_script):
    fitted = MirexClassifier(scratch=scratch, recipe="modulation", views="mel-modulation").fit(*tracks[:2])
    calls = corpus["train"], corpus["test"], tmp_path / "out.txt"
    done = run_script(
        "trainAndClassify.sh", "--recipe", "modulation", "--views", "mel-modulation", tmp_path / "s", *calls
    )
    assert done.returncode == 0, done.stderr
    labels = [line.split("\t")[1] for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert fitted.predict(tracks[2]).tolist() == labels
    again = pickle.loads(pickle.dumps(fitted)).predict_proba(tracks[2])
    np.testing.assert_array_equal(again, fitted.predict_proba(tracks[2]))
    grouped = clone(fitted).fit(*tracks[:2], groups=np.arange(len(tracks[0])) // 2)
    assert grouped.predict(tracks[2]).tolist() == labels  # groups change only the probabilities
    assert not np.array_equal(grouped.predict_proba(tracks[2]), again)


@pytest.mark.parametrize(
    ("options", "X", "y", "error", "text"),
    [
        ({}, ["a.wav"], ["x"], ValueError, r"one class \('x'\)"),
        ({}, ["a.wav", "b.wav"], ["x"], ValueError, "inconsistent numbers of samples"),
        ({}, "a.wav", ["x", "y"], ValueError, r"X of shape \(\)"),
        ({}, [], [], ValueError, r"X of shape \(0,\)"),
        ({}, [["a.wav"], ["b.wav"]], ["x", "y"], ValueError, r"X of shape \(2, 1\)"),
        ({}, ["a.wav", 3], ["x", "y"], ValueError, r"X\[1\] is 3: give the path"),
        ({}, ["a.wav", "b.wav"], None, ValueError, "the target y is None"),
        ({}, ["a.wav", "b.wav"], [0.5, 1.7], ValueError, "continuous"),
        ({}, ["a.wav", "a.wav"], ["x", "y"], ListError, r"^<train_list>:2: .*\[list.two-labels\]"),
        ({}, ["a.wav", "b.wav"], ["x\t", "y"], ListError, r"^<train_list>:1: .*\[list.line-end\]"),
        ({"epochs": 0}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"^--epochs: .*\[usage.option\]"),
        ({"random_state": -1}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"^--seed: .*\[usage.option\]"),
        ({"rate": 8000}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"^--rate: .*\[usage.option\]"),
        ({"recipe": "none"}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"\[usage.recipe\]"),
        ({"c": 2}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"^c is a .*\[usage.other-recipe\]"),
        (
            {"recipe": "modulation", "epochs": 2},
            ["a.wav", "b.wav"],
            ["x", "y"],
            UsageError,
            r"^epochs is .*other-recipe",
        ),
        ({"recipe": "modulation", "bands": 2}, ["a.wav", "b.wav"], ["x", "y"], UsageError, r"^--bands .*other-recipe"),
    ],
)
def test_wrong_arguments_of_fit_are_refused_and_leave_no_file(tmp_path, options, X, y, error, text):
    with pytest.raises(error, match=text):
        MirexClassifier(scratch=tmp_path, **options).fit(X, y)
    assert not list(tmp_path.rglob("*.*"))


def test_the_defaults_are_those_of_the_option_dataclasses():
    subjects = (ViewRecipe, Recipe, FeatureOptions, TrainingOptions, RunOptions)
    defaults = {field.name: field.default for options in subjects for field in dataclasses.fields(options)}
    parameters = MirexClassifier().get_params()
    assert parameters.pop("random_state") == defaults["seed"] and parameters.pop("scratch") is None
    assert parameters.pop("recipe") == "paper"
    assert parameters == {name: defaults[name] for name in parameters}


def test_the_input_is_one_dimensional_text():
    """scikit-learn's own checks feed tables, so they run on the subclass below."""
    tags = get_tags(MirexClassifier()).input_tags
    assert (tags.one_d_array, tags.two_d_array, tags.string) == (True, False, True)


class OfTables(MirexClassifier):
    """The same classifier for rows of numbers: each row becomes an audio file with one tone for each number."""

    folder = None

    def _audio_files(self, table):
        t = np.arange(13000) / 11025
        tones = [np.sin(2 * np.pi * 200 * 1.5**k * t) for k in range(8)]
        paths = []
        for row in table.astype(np.float64):
            paths.append(self.folder / f"{hashlib.sha1(row.tobytes()).hexdigest()}.wav")
            if not paths[-1].exists():
                loudness = 0.01 * np.exp(np.clip(row, -4, 4))
                samples = sum(gain * tones[k % len(tones)] for k, gain in enumerate(loudness))
                soundfile.write(paths[-1], samples, 11025, "FLOAT")
        return paths

    def fit(self, X, y, groups=None):
        return super().fit(self._audio_files(validate_data(self, X)), y, groups)

    def predict(self, X):
        check_is_fitted(self)
        return super().predict(self._audio_files(validate_data(self, X, reset=False)))

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(self._audio_files(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = False, True, False
        return tags


@pytest.mark.slow
@parametrize_with_checks(
    [OfTables(model="1", epochs=3, segments_per_track=2, batch_size=10, learning_rate=0.1, bands=16, frames=32)]
)
def test_scikit_learns_own_checks_pass(estimator, check, tmp_path, monkeypatch):
    monkeypatch.setattr(OfTables, "folder", tmp_path)
    check(estimator)
