"""Shortcuts: planted features predict the label, and random features give no problem."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audit_corpus import RATE_HZ, clip, write_folds
from command_line import call
from msgspec.structs import replace

from mirex_submission.evaluation.audit.file_features import FileFeatures
from mirex_submission.evaluation.audit.shortcuts import ALL, shortcuts_of
from mirex_submission.evaluation.audit.task import AuditFold, AuditTask, AuditTrack

PLANTED = {
    "upper band limit": lambda f: replace(f, upper_band_limit=f.upper_band_limit - 2000),
    "loudness": lambda f: replace(f, loudness=f.loudness + 3),
    "sample rate": lambda f: replace(f, sample_rate=44100),
    "codec": lambda f: replace(f, codec="MPEG_LAYER_III"),
    "modification date": lambda f: replace(f, modification_date=20100),
}


def task_of(seed, *, n=90, folds=3, name=lambda label, k, code: f"/audio/{code}.wav", group=lambda k: ""):
    """Make a task of two classes in balanced folds, and features that are independent of the labels."""
    rng = np.random.default_rng(seed)
    measured, tracks = {}, []
    for k in range(n):
        label = ("rock", "jazz")[k % 2]
        path = name(label, k, rng.integers(1 << 40))
        tracks.append(AuditTrack(path, path, label, group(k)))
        duration = float(rng.normal(30, 1))
        measured[path] = FileFeatures(
            container="WAV",
            codec=str(rng.choice(["PCM_16", "PCM_24"])),
            sample_rate=22050,
            channels=int(rng.integers(1, 3)),
            bit_rate=float(rng.normal(350, 10)),
            duration=duration,
            file_size=int(duration * 44100),
            loudness=float(rng.normal(-20, 1.5)),
            clipping=float(rng.exponential(1e-5)),
            silence_at_the_start=float(rng.exponential(0.05)),
            silence_at_the_end=float(rng.exponential(0.05)),
            dc_offset=float(rng.normal(0, 1e-4)),
            upper_band_limit=float(rng.normal(9000, 500)),
            noise_floor=float(rng.normal(-80, 5)),
            modification_date=20000,
        )
    sides = [([t for j, t in enumerate(tracks) if j // 2 % folds != f], tracks) for f in range(folds)]
    made = [
        AuditFold(f"fold{f}", train, [t for t in all_ if t not in train], Path())
        for f, (train, all_) in enumerate(sides)
    ]
    return AuditTask(made), measured


def plant(task, measured, feature):
    return {
        file: PLANTED[feature](of_file) if task.tracks[file].label == "jazz" else of_file
        for file, of_file in measured.items()
    }


def test_independent_features_give_no_problem():
    task, measured = task_of(0)
    made, problems = shortcuts_of(measured, task)
    assert problems == []
    assert made[0].feature == ALL and {shortcut.n_tests for shortcut in made} == {90}
    accuracies = [shortcut.accuracy for shortcut in made[1:]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert all(shortcut.interval[0] <= shortcut.accuracy <= shortcut.interval[1] for shortcut in made)
    assert all(shortcut.chance == 0.5 for shortcut in made)
    assert (made, problems) == shortcuts_of(measured, task)


@pytest.mark.slow
def test_the_rate_of_false_alarms_in_20_clean_corpora():
    warned = [bool(shortcuts_of(measured, task)[1]) for task, measured in map(task_of, range(20))]
    assert sum(warned) <= 2


@pytest.mark.parametrize("feature", [feature for feature in PLANTED if feature != "modification date"])
def test_a_planted_feature_is_found_alone_and_in_all_together(feature):
    task, measured = task_of(1)
    made, problems = shortcuts_of(plant(task, measured, feature), task)
    assert {problem.feature for problem in problems} == {ALL, feature}
    assert {(problem.code, problem.severity) for problem in problems} == {("audit.shortcut", "warning")}
    assert made[1].feature == feature and made[1].accuracy > 0.75 and made[0].accuracy > 0.7


@pytest.mark.parametrize("folder", ["audio", "rock_jazz"])
def test_names_and_dates_give_notes_and_are_not_part_of_all_together(folder):
    task, measured = task_of(2, name=lambda label, k, code: f"/{folder}/{label}/{code}.wav")
    made, problems = shortcuts_of(plant(task, measured, "modification date"), task)
    notes = {problem.feature: problem for problem in problems}
    assert set(notes) == {"path tokens", "modification date"}
    assert {problem.severity for problem in problems} == {"note"}
    assert {problem.code for problem in problems} == {"audit.label-in-name"}
    assert "the label itself is in the names of 90 of 90 tracks" in notes["path tokens"].message
    accuracy = {shortcut.feature: shortcut.accuracy for shortcut in made}
    assert accuracy["path tokens"] == accuracy["modification date"] == 1 and accuracy[ALL] < 0.65


@pytest.mark.parametrize(
    "name",
    [
        lambda label, k, code: f"/audio/{label}_{code}.wav",
        lambda label, k, code: f"/audio/{k // 2 + 1000 * (label == 'jazz')}.wav",
    ],
)
def test_labels_in_file_names_are_found_as_words_and_as_numbers(name):
    task, measured = task_of(3, name=name)
    assert [problem.feature for problem in shortcuts_of(measured, task)[1]] == ["name tokens"]


def test_tracks_of_a_group_are_not_independent_tests():
    of_tracks = task_of(4)
    # Pairs of every class in one fold; all tracks of a group have the same planted value.
    of_groups = task_of(4, group=lambda k: f"artist {k % 6}")
    wide, narrow = (shortcuts_of(plant(*made, "loudness"), made[0])[0][0].interval for made in (of_groups, of_tracks))
    assert wide != narrow


def test_chance_is_the_most_frequent_label_and_few_tracks_do_not_fail():
    task, measured = task_of(5, n=12, folds=2)
    uneven = {file: of_file for k, (file, of_file) in enumerate(measured.items()) if k % 2 == 0 or k < 4}
    made, problems = shortcuts_of(uneven, task)
    assert problems == [] and made[0].n_tests == 8 and made[0].chance == 6 / 8
    assert shortcuts_of({}, task) == ([], [])
    one_class = {file: of_file for file, of_file in measured.items() if task.tracks[file].label == "rock"}
    assert shortcuts_of(one_class, task) == ([], [])


def test_the_command_finds_a_class_of_another_band_limit_beside_the_best_system(tmp_path):
    tested = {"fold1": {}, "fold2": {}}
    for k in range(24):
        y, path = clip([5, k], 1.5), tmp_path / f"{k * 7919 % 1009:04d}.wav"
        if k // 2 % 2:
            spectrum = np.fft.rfft(y)
            spectrum[len(spectrum) // 2 :] = 0
            y = np.fft.irfft(spectrum, len(y))
        soundfile.write(path, y, RATE_HZ, "PCM_16")
        tested[f"fold{k % 2 + 1}"][path] = ("rock", "jazz")[k // 2 % 2]
    lists = write_folds(tmp_path / "lists", tested)
    for name, labels in (("constant", ["rock"] * 12), ("perfect", None)):
        (tmp_path / "outputs" / name).mkdir(parents=True)
        for fold, tracks in tested.items():
            lines = zip(tracks, labels or tracks.values(), strict=True)
            text = "".join(f"{path}\t{label}\n" for path, label in lines)
            (tmp_path / "outputs" / name / f"{fold}.txt").write_text(text)
    done = call("audit", lists, "--out", tmp_path / "out", "--outputs", tmp_path / "outputs", "--strict")
    assert done.status == 3, done.stderr
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    of_feature = {shortcut["feature"]: shortcut for shortcut in audit["shortcuts"]}
    assert of_feature["upper band limit"]["accuracy"] > 0.9 and of_feature["upper band limit"]["interval"][0] > 0.7
    assert of_feature["all"]["chance"] == 0.5 and of_feature["all"]["best_system"] == "perfect"
    assert of_feature["all"]["best_accuracy"] == 1.0
    warned = [problem["feature"] for problem in audit["problems"] if problem["code"] == "audit.shortcut"]
    assert {"all", "upper band limit"} <= set(warned)
    assert "chance" in done.stdout and "upper band limit" in done.stdout
