"""Explanations: marked regions, complete pages with escaped texts, and tracks that cannot be explained."""

import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import EXECUTABLE, Page
from command_line import call
from report_data import Reader

from mirex_submission.errors import AudioError
from mirex_submission.evaluation.report.mistakes import Mistake
from mirex_submission.runs.explain import explain
from mirex_submission.runs.explain_mistakes import MistakeExplainer
from mirex_submission.runs.options import ClassificationOptions, RunOptions

RATE, SECONDS = 11025, 4
TONE_HZ, TONE_S = 3000.0, (1.0, 2.5)
PLAIN, TONE = "<b>plain</b>", 'tone & "more"</title><script>alert(1)</script>'
HOSTILE = '<img src=x onerror="alert(1)">&{{ 7 * 7 }} #%.wav'
MODELS = ("paper", "modulation")


def clip(seed, *, tone, seconds=SECONDS):
    """Return noise; with `tone`, a tone sounds in a part of it."""
    rng, t = np.random.default_rng(seed), np.arange(seconds * RATE) / RATE
    sound = 0.03 * rng.standard_normal(len(t))
    if tone:
        sound += 0.2 * np.sin(2 * np.pi * TONE_HZ * t) * ((t >= TONE_S[0]) & (t < TONE_S[1]))
    return sound.astype(np.float32)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with the models of both recipes in `scratch`, and clips; names and labels are hostile to HTML."""
    folder = tmp_path_factory.mktemp("task")
    lines = []
    for k in range(10):
        path = folder / f"train{k}.wav"
        soundfile.write(path, clip(k, tone=k % 2), RATE)
        lines.append(f"{path}\t{TONE if k % 2 else PLAIN}\n")
    (folder / "train.txt").write_text("".join(lines))
    for name, tone in ((HOSTILE, True), ("plain.wav", False)):
        soundfile.write(folder / name, clip(99 + tone, tone=tone), RATE)
    common = ("train", "-q", "--no-check", "-numThreads", "1")
    settings = ("--model", "3", "--epochs", "12", "--segments", "consecutive", "--no-picture")
    views = ("--recipe", "modulation", "--views", "mel-modulation")
    for name, options in (("paper", settings), ("modulation", views)):
        done = call(*common, "--name", name, *options, folder / "scratch", folder / "train.txt")
        assert done.status == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def explained(task):
    """For each model: the page that explains the clip with the tone, its picture, and the log."""
    pages = {}
    for name in MODELS:
        out = task / f"pages {name}"
        done = call("explain", "-numThreads", "2", task / "scratch", task / HOSTILE, "--name", name, "--out", out)
        assert done.status == 0, done.stderr
        stem = os.path.splitext(HOSTILE)[0]
        pages[name] = (out / f"{stem}.html", out / f"{stem}.png", done.stderr)
    return pages


@pytest.mark.parametrize("name", MODELS)
def test_the_regions_of_the_tone_are_marked_and_the_deletion_test_passes(explained, name):
    page = Reader(explained[name][0].read_text(encoding="utf-8"))
    assert (
        "Deletion test passed: the marked regions matter more than random ones." in page.text(section="regions")
        and "explain.deletion" not in explained[name][2]
    )
    rows = re.findall(r"([\d.]+)–([\d.]+) s ([\d.]+) (k?)Hz–([\d.]+) (k?)Hz ([\d.]+) %", page.text(section="regions"))
    assert rows
    from_s, to_s, low, low_k, high, high_k, _ = rows[0]  # the strongest
    assert TONE_S[0] - 0.5 <= float(from_s) < float(to_s) <= TONE_S[1] + 0.5
    assert float(low) * (1000 if low_k else 1) < TONE_HZ < float(high) * (1000 if high_k else 1)


@pytest.mark.parametrize("name", MODELS)
def test_a_page_needs_no_other_file_and_names_and_labels_remain_text(explained, name):
    text = explained[name][0].read_text(encoding="utf-8")
    page = Reader(text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "b"} == set()
    addresses = [value for _, tag in page.tags for key, value in tag.items() if key in ("src", "srcset", "href")]
    assert len(addresses) == 4 and all(address.startswith("data:") for address in addresses)
    assert not re.search(r"https?://", text) and not any("onerror" in tag for _, tag in page.tags)
    assert HOSTILE in page.text(tag="h1") and TONE in page.text(tag="h1") and PLAIN in page.text(section="classes")
    policy = next(tag["content"] for kind, tag in page.tags if tag.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
    assert len(text) < 2_000_000
    assert explained[name][1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", MODELS)
def test_the_nearest_training_tracks_have_the_class_and_the_page_names_the_features(explained, name):
    text = Reader(explained[name][0].read_text(encoding="utf-8")).text(section="neighbours")
    labels = [TONE if int(k) % 2 else PLAIN for k in re.findall(r"train(\d+)\.wav", text)]
    assert labels[:5] == [TONE] * 5
    assert ("components of the views" if name == "modulation" else "log-Mel band") in text


@pytest.mark.skipif(EXECUTABLE is None, reason="no browser")
def test_a_browser_plays_the_clip_and_requests_no_other_file(explained, tmp_path):
    shutil.copy(explained["paper"][0], tmp_path / "page.html")
    with Page(tmp_path / "profile") as page:
        for width in (1280, 400):
            page.show((tmp_path / "page.html").as_uri(), width=width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            ends = time.monotonic() + 30
            durations = [None]
            while None in durations and time.monotonic() < ends:  # players load after the page
                time.sleep(0.05)
                durations = page.evaluate("[...document.querySelectorAll('audio')].map(player => player.duration)")
            assert len(durations) == 2 and all(abs(duration - SECONDS) < 0.2 for duration in durations)
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            requested = {address for address in page.requested if not address.startswith("data:")}
            assert requested == {(tmp_path / "page.html").as_uri()}


def test_without_features_there_are_no_neighbours_and_of_a_long_track_only_the_beginning_is_explained(
    task, tmp_path, monkeypatch
):
    monkeypatch.setattr("mirex_submission.models.explanation.MOST_S", 3)
    monkeypatch.setattr("mirex_submission.evaluation.report.explanation.MOST_S", 3)
    shutil.copytree(task / "scratch/models/paper", tmp_path / "s/model")
    explanation = explain(tmp_path / "s", task / "plain.wav", tmp_path / "one.HTML")
    page = Reader((tmp_path / "one.HTML").read_text(encoding="utf-8"))
    assert "Not known" in page.text(section="neighbours") and (tmp_path / "one.png").exists()
    assert len(explanation.samples) == 3 * RATE and explanation.duration_s == SECONDS
    assert "explains the first 3.0 s" in page.text(tag="header")


def test_a_training_track_is_marked_as_such_and_is_not_its_own_neighbour(task, tmp_path):
    run = RunOptions(threads=1)
    explanation = explain(
        task / "scratch", task / "train1.wav", tmp_path, classification=ClassificationOptions(name="paper"), run=run
    )
    assert explanation.trained_as == TONE == explanation.label
    assert explanation.neighbours.n_compared == 9
    assert "train1.wav" not in {Path(track.path).name for track, _ in explanation.neighbours.tracks}
    assert "trained on this very track" in (tmp_path / "train1.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["missing", "empty", "silent", "text", "short"])
def test_a_track_that_cannot_be_explained_is_status_4_with_the_reason(task, tmp_path, kind):
    track = tmp_path / "track.wav"
    if kind in ("empty", "text"):
        track.write_text("" if kind == "empty" else "no audio at all")
    elif kind in ("silent", "short"):
        soundfile.write(track, clip(0, tone=False, seconds=2) * (kind == "short"), RATE)
    for name in MODELS:
        done = call("explain", task / "scratch", track, "--name", name, "--out", tmp_path / "out.html")
        codes = {"short": "audio.too-short", "silent": "audio.silent", "missing": "audio.unreadable"}
        assert done.status == 4 and "track.wav: " in done.stderr
        assert f"[{codes.get(kind, 'audio.')}" in done.stderr
        assert not (tmp_path / "out.html").exists()


def test_the_track_is_never_overwritten(task, tmp_path):
    shutil.copy(task / "plain.wav", tmp_path / "plain.html")
    done = call("explain", task / "scratch", tmp_path / "plain.html", "--name", "paper", "--out", tmp_path)
    assert done.status == 2 and "[usage.output]" in done.stderr
    assert (tmp_path / "plain.html").read_bytes() == (task / "plain.wav").read_bytes()


@pytest.mark.slow
def test_the_engine_keras_computes_gradients(task, tmp_path):
    options, run = ClassificationOptions(name="paper"), RunOptions(engine="keras", device="cpu", threads=1)
    explanation = explain(task / "scratch", task / HOSTILE, tmp_path, classification=options, run=run)
    frames = explanation.saliency
    assert frames is not None and frames.shape == explanation.frames.shape and np.isfinite(frames).all()
    times = np.arange(len(frames)) * explanation.spec.hop / RATE
    inside = (times > TONE_S[0] - 0.1) & (times < TONE_S[1] + 0.1)
    band = int(np.abs(frames).sum(axis=0).argmax())
    assert np.abs(frames[inside]).mean() > 2 * np.abs(frames[~inside]).mean()
    assert explanation.frames[inside, band].mean() > explanation.frames[~inside, band].mean() + 1  # the tone's band


# The report.


@pytest.fixture(scope="module")
def results(task):
    """Results of one fold in which all predictions are wrong by the truth; the file of one track is missing."""
    folder = task / "judged"
    (folder / "truth").mkdir(parents=True)
    (folder / "paper").mkdir()
    soundfile.write(folder / "gone.wav", clip(3, tone=True), RATE)
    paths = [task / HOSTILE, task / "plain.wav", folder / "gone.wav"]
    (folder / "test.txt").write_text("".join(f"{path}\n" for path in paths))
    outputs = folder / "paper/paper.txt", folder / "paper/paper.csv"
    done = call(
        "classify",
        "-q",
        "--name",
        "paper",
        "--probabilities",
        outputs[1],
        task / "scratch",
        folder / "test.txt",
        outputs[0],
    )
    assert done.status == 0, done.stderr
    answers = dict(line.split("\t") for line in outputs[0].read_text().splitlines())
    others = {TONE: PLAIN, PLAIN: TONE}
    (folder / "truth/paper.txt").write_text("".join(f"{path}\t{others[label]}\n" for path, label in answers.items()))
    (folder / "gone.wav").unlink()
    done = call(
        "evaluate", "-q", "--truth", folder / "truth", "--system", f"paper={folder / 'paper'}", "--out", folder / "r"
    )
    assert done.status == 0, done.stderr
    return folder / "r"


def test_the_most_confident_mistakes_link_to_pages_that_explain_them(task, results, tmp_path):
    done = call("report", results, "-o", tmp_path / "a #report.html", "--explain", task / "scratch")
    assert done.status == 0, done.stderr
    page = Reader((tmp_path / "a #report.html").read_text(encoding="utf-8"))
    links = [tag["href"] for kind, tag in page.tags if kind == "a" and not tag["href"].startswith("#")]
    assert len(links) == 2 and all(re.fullmatch(r"a%20%23report-explained/[0-9a-f]{16}\.html", link) for link in links)
    for link in links:
        file = tmp_path / "a #report-explained" / link.rpartition("/")[2]
        assert "Which regions decided" in file.read_text(encoding="utf-8") and file.with_suffix(".png").exists()
    assert sum(kind == "audio" for kind, _ in page.tags) == 2
    assert "Not explained" in page.text(section="mistakes") and "gone.wav" in done.stderr
    assert "[report.not-explained]" in done.stderr


MISTAKE = Mistake("paper", "", PLAIN, TONE, 0.9, [], 0, 0)


def explainer(task, results):
    run = RunOptions(threads=1)
    return MistakeExplainer(task / "scratch", results, results / "report.html", run=run, command=["report"])


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["/other/classify.sh", "{scratch}", "test", "out"], "models of this program"),
        (["classify.sh", "--name", "paper", "/elsewhere/scratch", "test", "out"], "give --explain /elsewhere/scratch"),
        (["classify.sh", "--name", "modulation", "{scratch}", "test", "out"], "stopped here"),
        (["classify.sh", "--name", "../paper", "{scratch}", "test", "out"], "../paper"),
        (["classify.sh", "--name", "gone", "{scratch}", "test", "out"], "no trained model"),
        (["--name", "x"], "models of this program"),
        (["classify.sh", "--name", "paper", "{scratch}\0", "test", "out"], "scratch"),
    ],
)
def test_a_mistake_is_explained_with_the_model_in_the_record_of_the_run(task, tmp_path, monkeypatch, argv, reason):
    def stop(self, track):
        raise AudioError(f"stopped here, {self._folder.name}")

    monkeypatch.setattr("mirex_submission.runs.explain.Explainer.explain", stop)
    step = {"call": "classify", "argv": [word.format(scratch=task / "scratch") for word in argv], "status": 0}
    runs = {"systems": {"ours": {"folds": {"paper": {"calls": [step]}}}}}
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    why = explainer(task, tmp_path)("ours", replace(MISTAKE, path=str(task / HOSTILE)))
    assert reason in why.missing and (why.link, why.audio) == ("", "")
    if reason == "stopped here":
        assert why.missing.endswith("modulation")


def test_a_mistake_that_the_model_no_longer_makes_is_not_explained(task, tmp_path):
    why = explainer(task, tmp_path)("ours", replace(MISTAKE, path=str(task / "plain.wav")))
    assert "now predicts" in why.missing and "not the model that made this mistake" in why.missing
    assert not list(tmp_path.iterdir())
