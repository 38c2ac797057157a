"""Systems on altered audio: known accuracies, resumed steps, and the removal of altered audio."""

import json
import sys

import numpy as np
import pytest
import soundfile

from mirex_submission.cli.main import main
from mirex_submission.evaluation.stress import deformations
from mirex_submission.evaluation.stress.results import read_stress

RATE = 16000
TRAIN = 'echo "train" >> "$(dirname "$0")/../called"\n[ -e "$3/features" ] && touch "$3/trained"\n'
EXTRACT = 'touch "$3/features"\n'
# This system classifies by the power above 6 kHz, and only in its trained folder.
CLASSIFY = """#!{python}
import os, sys
import numpy as np, soundfile
with open(os.path.join(os.path.dirname(sys.argv[0]), "..", "called"), "a") as called:
    called.write("classify\\n")
scratch, test_list, output = sys.argv[-3:]
assert os.path.exists(os.path.join(scratch, "trained"))
with open(output, "w") as answers:
    for path in open(test_list):
        try:
            samples, rate = soundfile.read(path.strip(), always_2d=True)
            power = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples)))) ** 2
            high = power[np.fft.rfftfreq(len(samples), 1 / rate) > 6000].sum() > 0.003 * power.sum()
        except soundfile.LibsndfileError:
            high = False
        answers.write(path.strip() + "\\t" + ("bright" if high else "dark") + "\\n")
"""
FEW = {name: deformations.DEFORMATIONS[name] for name in ("band-limit", "gain")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Lists of two folds of 12 clips, and two systems: one with a fragile classification, one without classify.sh."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deformations, "DEFORMATIONS", FEW)
    for module in ("altered", "results"):
        monkeypatch.setattr(f"mirex_submission.evaluation.stress.{module}.DEFORMATIONS", FEW)
    t = np.arange(RATE) / RATE
    for k in range(6):
        for label, high in (("bright", 0.05), ("dark", 0.0)):
            (tmp_path / "audio" / label).mkdir(parents=True, exist_ok=True)
            samples = 0.2 * np.sin(2 * np.pi * (200 + 20 * k) * t) + high * np.sin(2 * np.pi * 7000 * t)
            soundfile.write(tmp_path / "audio" / label / f"{label}{k}.wav", samples, RATE)
    assert main(["folds", "--from-folders", "audio", "--out", "lists", "--folds", "2"]) == 0
    for name, scripts in {
        "fragile": {"extractFeatures.sh": EXTRACT, "train.sh": TRAIN, "classify.sh": CLASSIFY},
        "whole": {"trainAndClassify.sh": 'sed "s/$/\\tdark/" "$5" > "$6"\n'},
    }.items():
        (tmp_path / name).mkdir()
        for script, text in scripts.items():
            text = text.format(python=sys.executable) if text.startswith("#!") else f"#!/bin/sh\nset -eu\n{text}"
            (tmp_path / name / script).write_text(text)
            (tmp_path / name / script).chmod(0o755)
    (tmp_path / "called").touch()
    return tmp_path


def crossval(*options):
    try:
        return main(["crossval", "lists", "--scratch", "scratch", "--out", "out", *options])
    except SystemExit as end:
        return end.code


def points(folder, name="fragile"):
    (system,) = (system for system in read_stress(folder / "out").systems if system.name == name)
    return {(point.deformation, point.strength): point for point in system.points}


def calls(folder, name):
    return (folder / "called").read_text().split().count(name)


@pytest.mark.slow
def test_a_system_that_depends_on_one_band_has_exactly_the_expected_curve(folder, capsys):
    assert crossval("--submission", "fragile", "--submission", "whole", "--stress", "--jobs", "2") == 0
    shown = capsys.readouterr()
    assert "[stress.no-classify]" in shown.err and "band limit 5.5 kHz" in shown.out
    of = points(folder)
    assert {key: point.accuracy for key, point in of.items()} == {
        ("band-limit", 11): 1.0, ("band-limit", 5.5): 0.5, ("band-limit", 4): 0.5,
        ("gain", -20): 1.0, ("gain", -6): 1.0, ("gain", 6): 1.0, ("gain", 20): 1.0,
    }  # fmt: skip
    lost = of["band-limit", 4]
    assert (lost.n_only_before, lost.n_only_after, lost.change) == (6, 0, -0.5)
    assert lost.p == pytest.approx(2 * 0.5**6)  # six losses and no gain, both sides
    # Six of twelve tests become wrong: the bootstrap is binomial, widened by Student's t with 11 degrees of freedom.
    assert lost.change_interval == pytest.approx((-0.5 - 0.2932, -0.5 + 0.2932), abs=0.001)
    assert of["gain", 6].interval[0] == pytest.approx(0.7575, abs=1e-3)  # Wilson's of 12 out of 12
    rows = (folder / "out/stress.csv").read_text().splitlines()
    assert len(rows) == 1 + len(of) and rows[0].startswith("system,deformation,strength,unit")
    # Only lists stay on the disk.
    assert not list(folder.rglob("scratch/**/*.wav"))
    assert not list(folder.glob("scratch/submissions/*/stress/*"))
    assert not list(folder.glob("scratch/submissions/*/folds/fragile.*"))
    assert main(["report", "out"]) == 0
    page = (folder / "out/report.html").read_text()
    assert 'id="stress"' in page and "accuracy against band limit, kHz" in page


def test_finished_steps_are_not_repeated_and_a_time_limit_leaves_the_rest_for_later(folder, capsys):
    assert crossval("--submission", "fragile", "--stress", "quick", "--stress-limit", "0.000001s") == 0
    assert "[stress.time-limit]" in capsys.readouterr().err
    assert read_stress(folder / "out").left_out == [
        "fold1 band-limit.5.5", "fold2 band-limit.5.5", "fold1 gain.-20", "fold2 gain.-20",
    ]  # fmt: skip
    assert not points(folder) and calls(folder, "classify") == 2
    assert crossval("--submission", "fragile", "--stress", "quick") == 0
    first = json.loads((folder / "out/stress.json").read_text())
    assert calls(folder, "classify") == 6 and calls(folder, "train") == 2
    assert crossval("--submission", "fragile", "--stress", "quick") == 0
    assert calls(folder, "classify") == 6 and calls(folder, "train") == 2
    assert json.loads((folder / "out/stress.json").read_text()) == first
    # The trained folders are removed: more strengths need another training, and only they are classified.
    assert crossval("--submission", "fragile", "--stress", "all") == 0
    assert calls(folder, "train") == 4 and len(points(folder)) == 7


def test_an_unreadable_track_stays_unaltered_and_a_failed_step_is_status_8(folder, capsys):
    (folder / "audio/dark/dark0.wav").write_bytes(b"no audio at all")
    assert crossval("--submission", "fragile", "--stress", "quick") == 0
    (note,) = read_stress(folder / "out").unaltered
    assert "dark0.wav" in note and "[audio.undecodable]" in note
    assert "[stress.not-altered]" in capsys.readouterr().err
    script = folder / "fragile/classify.sh"
    script.write_text(
        script.read_text().replace("scratch, test_list", 'assert "gain" not in sys.argv[-2]\nscratch, test_list')
    )
    assert crossval("--submission", "fragile", "--stress", "quick") == 8
    assert len(read_stress(folder / "out").problems) == 2
    assert points(folder)["band-limit", 5.5].n_tracks == 12 and ("gain", -20) not in points(folder)
