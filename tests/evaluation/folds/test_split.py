"""Folds: no group in training and test, equal shares of classes, independent of the order; and the command."""

import dataclasses
import itertools
import random
import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.folds import check
from mirex_submission.evaluation.folds import split as folds
from mirex_submission.evaluation.folds.deal import deal
from mirex_submission.protocol.groups import GroupedTrack


def tracks_of(sizes):
    """Return sizes[group][class] tracks of each group and class."""
    return [
        GroupedTrack(f"/audio/g{g}c{c}n{n}.wav", f"class{c}", f"group{g}")
        for g, row in enumerate(sizes)
        for c, count in enumerate(row)
        for n in range(count)
    ]


def shares(made, n_classes):
    """Return the number of tracks of each class in each test list [n_folds, n_classes]."""
    counts = [Counter(track.label for track in fold.test) for fold in made]
    return np.array([[count[f"class{c}"] for c in range(n_classes)] for count in counts])


MOOD_LIKE = [np.random.default_rng(k).multinomial(4, [0.25] * 4) for k in range(60)]
collections = st.lists(st.tuples(*[st.integers(0, 4)] * 3).filter(any), min_size=4, max_size=12).filter(
    lambda sizes: sum(any(row[c] for row in sizes) for c in range(3)) > 1
)


@given(collections, st.integers(2, 4), st.integers(0, 5), st.randoms())
@settings(deadline=None)
def test_each_track_is_tested_once_no_group_is_split_no_fold_is_empty_in_any_order(sizes, n_folds, seed, shuffle):
    tracks = tracks_of(sizes)
    made = folds.split(tracks, n_folds, seed=seed)
    assert sorted(t.path for fold in made for t in fold.test) == sorted(t.path for t in tracks)
    for fold in made:
        assert fold.test and {t.group for t in fold.test}.isdisjoint(t.group for t in fold.train)
        assert sorted([*fold.train, *fold.test], key=lambda t: t.path) == sorted(tracks, key=lambda t: t.path)
    shuffle.shuffle(tracks)
    assert folds.split(tracks, n_folds, seed=seed) == made


def test_without_groups_the_folds_differ_by_at_most_one_track_of_each_class():
    tracks = [GroupedTrack(f"/{c}{n}.wav", f"class{c}", f"/{c}{n}.wav") for c in range(4) for n in range(10 + 7 * c)]
    counts = shares(folds.split(tracks, 3), 4)
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_artists_with_several_moods_give_every_fold_a_third_of_each_mood():
    counts = shares(folds.split(tracks_of(MOOD_LIKE), 3), 4)
    assert np.abs(counts - np.sum(MOOD_LIKE, axis=0) / 3).max() <= 1


@pytest.mark.slow
def test_small_collections_nearly_always_get_the_best_possible_folds():
    """Compared with all possible folds; StratifiedGroupKFold's greedy pass leaves more classes out."""
    missing, least = 0, 0
    for k in range(25):
        rng = np.random.default_rng(k)
        sizes = np.array([rng.multinomial(rng.geometric(0.25), rng.dirichlet([0.5] * 3)) for _ in range(6)])
        sizes = np.vstack([sizes, np.eye(3, dtype=int)])
        ways = (np.array(way) for way in itertools.product(range(3), repeat=len(sizes) - 1))
        dealt = (np.array([sizes[np.append(way, 2) == f].sum(axis=0) for f in range(3)]) for way in ways)
        least += min((counts == 0).sum() for counts in dealt)
        missing += (shares(folds.split(tracks_of(sizes), 3), 3) == 0).sum()
    assert least <= missing <= least + 2


def test_the_time_does_not_grow_with_the_square_of_the_collection():
    def seconds(n_tracks):
        sizes = np.eye(16)[np.arange(n_tracks) % 16]
        started_s = time.process_time()
        fold_of = deal(sizes, 3, seed=[0])
        assert np.ptp(np.bincount(fold_of)) <= 1
        return time.process_time() - started_s

    seconds(100)
    assert seconds(16_000) < 8 * seconds(4_000)


def test_seeds_and_repeats_give_other_folds():
    tracks = tracks_of(MOOD_LIKE)
    made = folds.split(tracks, 3, repeats=2)
    assert [fold.name for fold in made] == [f"repeat{r}.fold{k}" for r in (1, 2) for k in (1, 2, 3)]
    assert {frozenset(f.test) for f in made[:3]}.isdisjoint(frozenset(f.test) for f in made[3:])
    assert [f.test for f in made[:3]] == [f.test for f in folds.split(tracks, 3)]
    assert folds.split(tracks, 3, seed=1) != folds.split(tracks, 3)


@pytest.mark.parametrize(("n_folds", "more"), [(1, {}), (3, {}), (2, {"seed": -1}), (2, {"repeats": 0})])
def test_more_folds_than_groups_and_numbers_out_of_range_are_usage_errors(n_folds, more):
    with pytest.raises(UsageError):
        folds.split(tracks_of([(1, 1), (1, 2)]), n_folds, **more)


def test_too_many_classes_are_refused_before_memory_is_allocated():
    tracks = [GroupedTrack(f"/{n}.wav", f"title {n}", f"/{n}.wav") for n in range(70_000)]
    with pytest.raises(ListError, match=r"70,000 classes.*\[list\.many-classes\]"):
        folds.split(tracks, 2)


def test_a_single_class_is_refused():
    with pytest.raises(ListError, match=r"\[list\.one-class\]"):
        folds.split(tracks_of([(1,), (1,)]), 2)


@pytest.fixture
def written(tmp_path):
    tracks = tracks_of([(2, 0), (0, 2), (1, 1), (2, 1), (1, 2)])
    made = folds.split(tracks, 2)
    folds.write(made, tmp_path / "lists")
    return tmp_path / "lists", tracks, made


def test_lists_have_the_format_of_mirex_and_give_the_same_folds_when_read(written):
    folder, tracks, made = written
    kinds = [f"fold{k}.{part}.txt" for k in (1, 2) for part in ("test", "train", "truth")]
    assert {path.name for path in folder.iterdir()} == {"features.txt", "groups.txt", *kinds}
    assert (folder / "features.txt").read_text().split() == sorted(track.path for track in tracks)
    assert (folder / "fold1.test.txt").read_text() == "".join(f"{t.path}\n" for t in made[0].test)
    assert (folder / "fold1.truth.txt").read_text() == "".join(f"{t.path}\t{t.label}\n" for t in made[0].test)
    assert (folder / "fold1.train.txt").read_text() == "".join(f"{t.path}\t{t.label}\n" for t in made[0].train)
    assert f"{made[0].test[0].path}\t{made[0].test[0].group}\n" in (folder / "groups.txt").read_text()
    assert check.read(folder, tracks) == made


def test_tracks_without_groups_have_no_list_of_groups(tmp_path):
    tracks = [GroupedTrack(f"/{n}.wav", f"class{n % 2}", f"/{n}.wav") for n in range(6)]
    folds.write(folds.split(tracks, 3), tmp_path)
    assert not (tmp_path / "groups.txt").exists()


def test_a_folder_with_lists_of_other_folds_is_refused_but_equal_folds_are_written_again(written):
    folder, _, made = written
    folds.write(made, folder)
    with pytest.raises(UsageError, match=r"\(fold2\.test\.txt, .*\[folds\.other-lists\]"):
        folds.write(made[:1], folder)


def test_every_problem_of_the_written_lists_is_reported(written):
    folder, tracks, made = written
    crossing, other = made[0].train[0], made[0].test[0]
    with open(folder / "fold1.test.txt", "a") as test, open(folder / "fold2.train.txt", "a") as train:
        test.write(f"\n{crossing.path}\n")
        train.write(f"/unknown.wav\tclass0\n{other.path}\tnone\n")
    (folder / "fold2.truth.txt").write_text(f"{made[1].test[0].path}\t{made[1].test[0].label}\n")
    with pytest.raises(ListError) as error:
        check.read(folder, tracks)
    message = str(error.value)
    line = len(made[0].test) + 2
    assert re.search(rf"fold1\.test\.txt:{line}: {crossing.path}: line 1 .*\[folds\.crossing-group\]", message)
    assert re.search(rf"fold1\.test\.txt:{line}: {crossing.path}: .*\[folds\.no-truth-of-track\]", message)
    assert re.search(r"fold2\.train\.txt:\d+: '/unknown.wav' .*\[folds\.unknown-track\]", message)
    assert re.search(rf"fold2\.train\.txt:\d+: '{other.path}' .*'{other.label}'.*\[folds\.two-labels\]", message)
    assert len(re.findall(r"fold2\.test\.txt:\d+: .*\[folds\.no-truth-of-track\]", message)) == len(made[1].test) - 1


def test_lists_may_have_another_unicode_form_than_the_table(tmp_path, caplog):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    tracks = [
        GroupedTrack(f"/{composed}/{label}{n}.wav", label, f"artist{n}")
        for n in range(4)
        for label in (composed, "rock")
    ]
    made = folds.split(tracks, 2)
    folds.write(made, tmp_path)
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace(composed, decomposed))
    assert check.read(tmp_path, tracks) == made
    assert "[folds.unicode-forms]" in caplog.text
    moved = made[0].test[0]
    with open(tmp_path / "fold1.train.txt", "a") as train:
        train.write(f"{moved.path}\t{moved.label}\n".replace(composed, decomposed))
    with pytest.raises(ListError, match=r"\[folds\.crossing-group\]"):
        check.read(tmp_path, tracks)


def test_a_group_in_training_and_test_is_named_with_both_lines(written):
    folder, tracks, made = written
    group = next(g for g, n in Counter(t.group for t in made[0].test).items() if n > 1)
    moved, left = [track for track in made[0].test if track.group == group][:2]
    (folder / "fold1.train.txt").write_text(f"{moved.path}\t{moved.label}\n")
    with pytest.raises(
        ListError,
        match=rf"fold1\.test\.txt:\d+: {left.path}: line 1 .*'{group}': {moved.path}.*\[folds\.crossing-group\]",
    ):
        check.read(folder, tracks)


def test_each_track_is_tested_once(written):
    folder, tracks, made = written
    for part in ("train", "test", "truth"):
        (folder / f"fold2.{part}.txt").write_bytes((folder / f"fold1.{part}.txt").read_bytes())
    with pytest.raises(ListError) as error:
        check.read(folder, tracks)
    lines = str(error.value).splitlines()
    assert len(lines) == len(made[0].test) + len(made[1].test)
    for fold, times in ((0, 2), (1, 0)):
        start = f"{folder}: {made[fold].test[0].path}: is tested by {times} folds of all: "
        assert any(line.startswith(start) and line.endswith(" [folds.tested-once]") for line in lines)


def test_lists_that_contradict_each_other_are_errors(written):
    folder, tracks, _ = written
    (folder / "features.txt").write_text("/none.wav\n")
    with pytest.raises(ListError, match=r"fold1\.train\.txt:1: .*\[folds\.not-in-features\]"):
        check.read(folder, tracks)


def test_the_list_of_groups_of_earlier_folds_is_removed(tmp_path):
    tracks = tracks_of(MOOD_LIKE)
    folds.write(folds.split(tracks, 2), tmp_path)
    assert (tmp_path / "groups.txt").exists()
    alone = [dataclasses.replace(track, group=track.path) for track in tracks]
    folds.write(folds.split(alone, 2), tmp_path)
    assert not (tmp_path / "groups.txt").exists()


def test_repeats_with_equal_folds_give_a_warning():
    made = folds.split(tracks_of([(1, 1), (1, 1)]), 2, repeats=2)
    [warning] = check.warnings(made)
    assert warning.startswith("repeat2 has the same folds as repeat1: ") and warning.endswith("[folds.equal-repeats]")


def test_a_folder_without_folds_and_a_fold_without_lists_are_errors(written, tmp_path):
    folder, tracks, _ = written
    with pytest.raises(ListError, match=r"\[folds\.no-lists\]"):
        check.read(tmp_path, tracks)
    (folder / "fold1.train.txt").unlink()
    with pytest.raises(ListError, match=r"fold1\.train\.txt: .*\[list\.unreadable\]"):
        check.read(folder, tracks)


def test_the_table_counts_tracks_of_each_class_and_groups():
    a, b, c = tracks_of([(2, 0), (0, 1)])
    fold = folds.Fold("fold1", [a, b], [c])
    assert check.table([fold]) == (
        "             class0  class1  all  groups\n"
        "fold1 train       2       0    2       1\n"
        "fold1 test        0       1    1       1"
    )


def test_missing_classes_give_a_warning_with_the_number_of_their_groups():
    made = folds.split(tracks_of([(2, 1), (2, 0), (2, 0)]), 3)
    lonely = next(fold.name for fold in made if any(track.label == "class1" for track in fold.test))
    others = ", ".join(fold.name for fold in made if fold.name != lonely)
    expected = [f"in no test list of {others}: ", f"in no train list of {lonely}: "]
    for warning, where in zip(check.warnings(made), expected, strict=True):
        assert warning.startswith(f"class 'class1' (1 group(s)) is {where}")
        assert warning.endswith(" [folds.missing-class]")
    assert check.warnings(folds.split(tracks_of(MOOD_LIKE), 3)) == []


# The command


@pytest.fixture
def collection(tmp_path):
    """A table with blanks in its paths, and audio in one folder per class: twelve tracks of six artists."""
    folder = tmp_path / "my audio"
    lines = ["path\tlabel\tartist"]
    for n in range(12):
        label = ("rock", "jazz")[n % 2]
        path = folder / label / f"track{n:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        lines.append(f"{path.relative_to(folder)}\t{label}\tArtist {n // 2}")
    (folder / "table.tsv").write_text("\n".join(lines) + "\n")
    return folder


def command(run_script, *args):
    return run_script("mirex-submission.sh", "folds", *args)


def test_the_command_writes_the_same_lists_from_a_table_in_any_order_and_prints_the_counts(
    collection, run_script, tmp_path
):
    done = command(run_script, collection / "table.tsv", "--group", "artist", "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert "12 path(s)" in done.stderr and "[output.cut-line]" in done.stderr
    assert done.stdout == (
        "             jazz  rock  all  groups\n"
        + "".join(
            f"fold{k} train     4     4    8       4\nfold{k} test      2     2    4       2\n" for k in (1, 2, 3)
        )
    )
    header, *lines = (collection / "table.tsv").read_text().splitlines()
    random.Random(1).shuffle(lines)
    (collection / "table.tsv").write_text("\n".join([header, *lines]))
    command(run_script, "--group", "artist", "--out", tmp_path / "two", collection / "table.tsv")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_command_makes_folds_of_folders_and_checks_folds_of_others(collection, run_script, tmp_path):
    out = tmp_path / "lists"
    done = command(run_script, "--from-folders", collection, "--out", out, "--folds", 2, "--repeat", 2, "--seed", 5)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.glob("*.truth.txt")} == {
        f"repeat{r}.fold{k}.truth.txt" for r in (1, 2) for k in (1, 2)
    }
    done = command(run_script, "--from-folders", collection, "--check", out)
    assert (done.returncode, done.stdout.count("test")) == (0, 4)
    done = command(run_script, collection / "table.tsv", "--group", "artist", "--check", out)
    assert (done.returncode, done.stdout) == (3, "")
    assert re.search(r"ERROR: .*test\.txt:\d+: .*'artist \d'.*\[folds\.crossing-group\]", done.stderr)


@pytest.mark.parametrize(
    ("args", "status", "code"),
    [
        (["--out", "x"], 2, "folds.one-source"),
        (["TABLE", "--from-folders", ".", "--out", "x"], 2, "folds.one-source"),
        (["TABLE"], 2, "folds.out-or-check"),
        (["TABLE", "--out", "x", "--check", "x"], 2, "folds.out-or-check"),
        (["--from-folders", ".", "--group", "artist", "--out", "x"], 2, "folds.group-of-folders"),
        (["TABLE", "--folds", "13", "--out", "x"], 2, "folds.number"),
        (["TABLE", "--group", "album", "--out", "x"], 3, "folds.columns"),
        (["nowhere.tsv", "--out", "x"], 3, "list.unreadable"),
    ],
)
def test_wrong_arguments_give_a_status_and_a_code_and_write_nothing(
    collection, run_script, tmp_path, args, status, code
):
    here = tmp_path / "here"
    here.mkdir()
    args = [collection / "table.tsv" if arg == "TABLE" else arg for arg in args]
    done = run_script("mirex-submission.sh", "folds", *args, cwd=here)
    assert (done.returncode, done.stdout) == (status, "")
    assert f"[{code}]" in done.stderr and "Traceback" not in done.stderr
    assert list(here.iterdir()) == []
