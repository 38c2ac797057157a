"""The check of a whole task: problems of lists, audio and model, worst first; nothing is written."""

import pytest

from mirex_submission import Recipe, RunOptions, TrainingOptions, train
from mirex_submission.errors import AudioError, ListError, ModelError, UsageError
from mirex_submission.preflight.checks import ERROR, NOTE, WARNING
from mirex_submission.runs.check import TaskLists, check

RUN = RunOptions(threads=1)


def problems_of(scratch, **lists):
    problems = check(scratch, TaskLists(**lists), run=RUN)
    severities = [problem.severity for problem in problems]
    assert severities == sorted(severities, reverse=True)
    return problems


def test_a_good_task_has_only_notes_and_nothing_is_written(corpus, tmp_path):
    problems = problems_of(tmp_path / "s", features=corpus["features"], train=corpus["train"], test=corpus["test"])
    # The free memory and processors depend on the machine.
    assert {problem.severity for problem in problems if "[check." not in problem.text} == {NOTE}
    assert not (tmp_path / "s").exists()


def test_every_problem_of_lists_and_audio_is_listed(corpus, bad_paths, tmp_path):
    (tmp_path / "wrong.txt").write_text("a.wav\tx\nno tab\n")
    (tmp_path / "bad.txt").write_text("".join(f"{path}\n" for path in bad_paths))
    problems = problems_of(tmp_path / "s", train=[tmp_path / "wrong.txt"], test=[tmp_path / "bad.txt"])
    errors = [problem for problem in problems if problem.severity == ERROR]
    assert [problem.kind for problem in errors] == [ListError, AudioError]
    assert errors[0].text.startswith(f"{tmp_path}/wrong.txt:2: ") and errors[0].text.endswith("[list.no-tab]")
    assert "[audio.too-many]" in errors[1].text
    warnings = [problem.text for problem in problems if problem.severity == WARNING and problem.kind is AudioError]
    # The check does not decode audio, so it does not detect the third track, which is silent.
    assert [text[: text.index(": ")] for text in warnings] == [f"{tmp_path}/bad.txt:{n}" for n in (1, 2, 4, 5)]


def test_a_damaged_model_is_a_warning(corpus, pairs, tmp_path):
    recipe = Recipe(model="1", epochs=1, segments_per_track=2)
    folder = train(tmp_path, pairs, recipe=recipe, training=TrainingOptions(name="one"), run=RUN)
    for damaged in (False, True):
        if damaged:
            (folder / "bundle.json").write_text("{")
        problems = check(tmp_path, training=TrainingOptions(name="one"), run=RUN)
        (model,) = (problem for problem in problems if problem.text.startswith(str(folder)))
        assert (model.severity, model.kind is ModelError) == ((WARNING, True) if damaged else (NOTE, False))


def test_the_numbers_of_training_and_test_lists_must_be_equal(tmp_path):
    with pytest.raises(UsageError, match=r"\[usage.folds\]"):
        check(tmp_path, TaskLists(train=["a", "b"], test=["c"]))
    with pytest.raises(UsageError, match=r"\[usage.option\]"):
        TaskLists(train=[3])
