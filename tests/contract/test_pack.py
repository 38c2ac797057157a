"""A packed submission: its wheels alone run it, and every door gives the predictions of classify.sh."""

import ast
import csv
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import call

from mirex_submission.models import bundle as bundles
from mirex_submission.networks.sizes import weight_shapes

LABEL = "Tester_HERE_task1"
# What setup.py names for training, evaluation and pictures.
NOT_FOR_INFERENCE = {"tensorflow", "keras", "librosa", "pandas", "matplotlib", "scikit-learn", "jinja2", "psutil"}
HARDENED = (
    "--network none --no-healthcheck --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
    "--pids-limit 256 --shm-size 128m --user 54321:54321"
)


@pytest.fixture(scope="module")
def scratch(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scratch")
    done = call("train", "-q", "--epochs", "1", "--name", "one", folder, corpus["train"])
    assert done.status == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def expected(corpus, scratch, tmp_path_factory):
    """The output and the probabilities of classify.sh, the probabilities by path."""
    folder = tmp_path_factory.mktemp("expected")
    table = folder / "probabilities.csv"
    done = call(
        "classify", "-q", "--name", "one", "--probabilities", table, scratch, corpus["test"], folder / "output.txt"
    )
    assert done.status == 0, done.stderr
    (_, _, *classes), *rows = csv.reader(table.open(newline=""))
    by_path = {path: (label, dict(zip(classes, map(float, row), strict=True))) for path, label, *row in rows}
    return SimpleNamespace(output=(folder / "output.txt").read_bytes(), by_path=by_path, classes=classes)


@pytest.fixture(scope="module")
def packed(scratch, tmp_path_factory):
    """Two packs, for grand-challenge and for DCASE, whose run.sh is the plain one; each has another kind of MODEL."""
    folder = tmp_path_factory.mktemp("packed")
    for harness, model in (("grand-challenge", [scratch, "--name", "one"]), ("dcase", [scratch / "models/one"])):
        done = call("pack", "--offline", "--for", harness, "--label", LABEL, *model, folder / harness)
        assert done.status == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def run(packed, tmp_path_factory):
    """Call a pack's run.sh with what pip installs from its wheels, and with no other package."""
    site = tmp_path_factory.mktemp("site")
    wheels = ["--find-links", packed / "dcase/wheels", "-r", packed / "dcase/requirements.txt", "--target", site]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--require-hashes"]
    subprocess.run([*command, "--no-compile", *wheels], check=True)
    python = site / "python-without-packages"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)

    def call_script(harness, *args, **more):
        environment = {"PATH": os.environ["PATH"], "PYTHON": str(python), "PYTHONPATH": str(site), **more}
        command = [str(packed / harness / "run.sh"), *map(str, args)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    call_script.site = site
    return call_script


def test_a_pack_holds_a_submission_with_pinned_wheels_of_inference_alone(packed):
    folder = packed / "dcase"
    assert {"Dockerfile", "run.sh", "README.md", "resources.json", "requirements.txt", "model", "wheels"} <= set(
        os.listdir(folder)
    )
    lines = (folder / "requirements.txt").read_text().splitlines()
    pinned = {re.fullmatch(r"(\S+)==\S+ --hash=sha256:([0-9a-f]{64})", line).groups() for line in lines}
    assert {digest for _, digest in pinned} == {
        sha256(wheel.read_bytes()).hexdigest() for wheel in (folder / "wheels").iterdir()
    }
    names = {name for name, _ in pinned}
    assert {"mirex-submission", "numpy", "soundfile"} <= names and not names & NOT_FOR_INFERENCE
    (own,) = (folder / "wheels").glob("mirex_submission-*.whl")
    metadata = next(name for name in zipfile.ZipFile(own).namelist() if name.endswith("/METADATA"))
    needed = re.findall(r"^Requires-Dist: ([\w-]+)", zipfile.ZipFile(own).read(metadata).decode(), re.MULTILINE)
    assert {name.replace("_", "-") for name in needed} == names - {"mirex-submission"}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.rglob("*"))  # for any user


def test_a_pack_declares_parameters_operations_time_memory_and_training_data(packed, scratch, corpus):
    declared = json.loads((packed / "dcase/resources.json").read_text())
    bundle = bundles.load(scratch / "models/one")
    shape = {"n_bands": bundle.spec.n_bands, "n_frames": bundle.spec.n_frames, "n_classes": 4}
    weights = weight_shapes("2", **shape)
    n_trained = sum(int(np.prod(s)) for name, s in weights.items() if not name.startswith("standardise"))
    assert declared["parameters"] == n_trained
    # Model 2: 32 filters of 14 x 15 with a pooling of 1 x 17, and of 4 x 8 with 15 x 1; then 200 units, 4 classes.
    convolutions = 32 * 14 * 15 * 27 * 66 + 32 * 4 * 8 * 37 * 73
    a_segment = convolutions + 32 * (27 * (66 // 17) + (37 // 15) * 73) * 200 + 200 * 4
    assert declared["multiply_accumulates_per_second_of_audio"] == a_segment  # 30 segments of a clip of 30 s
    data = declared["training_data"]
    assert (data["tracks"], data["hours_are_of_tracks"]) == (16, 16) and data["classes"]["bells"] == 4
    assert data["hours"] == pytest.approx(16 * 4 / 3600, abs=1e-3)
    listed = "".join(f"{t.path}\t{t.label}\n" for t in bundle.tracks)
    assert data["hashes"]["list_sha256"] == sha256(listed.encode()).hexdigest()
    assert len(data["hashes"]["audio_sha256"]) == 64
    measured = declared["measured"]
    assert measured["clip_seconds"] == 30 and 0.1 < measured["seconds"] < 60 and measured["machine"]["processor"]
    assert 30e6 < measured["peak_memory_bytes"] < 300e6
    sizes = {name: sum(f.stat().st_size for f in (packed / "dcase" / name).rglob("*")) for name in ("model", "wheels")}
    assert declared["size_bytes"].items() >= sizes.items()


def test_the_script_gives_the_bytes_of_classify_for_a_list(run, corpus, expected, tmp_path):
    done = run("dcase", corpus["test"], tmp_path / "output.txt", "-q")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output.txt").read_bytes() == expected.output
    assert "not installed" not in done.stderr and not list(tmp_path.glob("mirex-*"))


def test_the_script_takes_a_folder_of_audio_and_fills_a_folder(run, corpus, expected, tmp_path):
    paths = corpus["test"].read_text().splitlines()
    audio = tmp_path / "audio/below"
    audio.mkdir(parents=True)
    for path in paths:
        shutil.copy(path, audio)
    (audio / "notes.txt").write_text("no audio")
    (tmp_path / "results").mkdir()
    done = run("dcase", audio.parent, tmp_path / "results", "-q", TMPDIR=str(tmp_path))
    assert done.returncode == 0 and "notes.txt" in done.stderr, done.stderr
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert {os.path.basename(r["path"]): (r["label"], r["probabilities"]) for r in results} == {
        os.path.basename(path): answer for path, answer in expected.by_path.items()
    }
    lines = (tmp_path / "results/predictions.txt").read_text().splitlines()
    assert lines == [f"{r['path']}\t{r['label']}" for r in results]
    rows = list(csv.reader((tmp_path / "results/probabilities.csv").open(newline="")))
    assert rows[0] == ["path", "label", *expected.classes] and len(rows) == 1 + len(paths)
    assert sorted(os.listdir(tmp_path)) == ["audio", "results"]  # no temporary file stays


def emulate_grand_challenge(folder, work, path, start):
    """Run one job as the platform does: one file below /input, none of our arguments, a JSON file in /output."""
    job, output = work / "input/audio-file", work / "output"
    job.mkdir(parents=True)
    output.mkdir(mode=0o777)
    output.chmod(0o777)
    shutil.copy(path, job / "0b1c2d3e.wav")
    (work / "input/inputs.json").write_text(json.dumps([{"file": "audio-file/0b1c2d3e.wav"}]))
    command = re.search(r"^CMD (\[.*\])$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    assert ast.literal_eval(command[1]) == ["/input", "/output"]
    done = start(work / "input", output)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((output / "results.json").read_text())
    return result["label"], result["probabilities"]


def test_grand_challenge_gets_the_same_predictions(packed, run, expected, tmp_path):
    path, answer = next(iter(expected.by_path.items()))
    start = lambda *folders: run("grand-challenge", *folders)  # noqa: E731
    assert emulate_grand_challenge(packed / "grand-challenge", tmp_path, path, start) == answer
    script = (packed / "grand-challenge/run.sh").read_text()
    assert "[ $# -gt 0 ] || set -- /input /output" in script


# As the organisers' evaluate_submission.py and test_complexity.py call a package, without PyTorch.
DCASE = """
import importlib, json, sys
api = importlib.import_module(f"{sys.argv[1]}.{sys.argv[1]}_1")
files = sys.argv[2:]
devices = ["a"] * len(files)
logits, classes = api.predict(file_paths=files, device_ids=devices, model_file_path=None, use_cuda=False)
model = api.load_model()
inputs = api.load_inputs(files, devices, model)
again = [api.get_model_for_device(model, device)(x) for x, device in zip(inputs, devices)]
print(json.dumps([classes, [list(x) for x in logits], [list(x) for x in again], [x.shape for x in inputs]]))
"""


def test_dcase_gets_the_same_predictions(packed, run, expected):
    paths = list(expected.by_path)[:3]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{run.site}:{packed / 'dcase'}"}
    command = [sys.executable, "-S", "-c", DCASE, LABEL, *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    classes, logits, again, shapes = json.loads(done.stdout)
    assert classes == expected.classes and logits == again and shapes[0][1] == 40
    for path, row in zip(paths, logits, strict=True):
        label, probabilities = expected.by_path[path]
        softmax = np.exp(row) / np.exp(row).sum()
        assert classes[int(np.argmax(row))] == label
        np.testing.assert_allclose(softmax, [probabilities[name] for name in classes], rtol=1e-6)
    assert (packed / "dcase" / LABEL / "resources/dummy.wav").is_file()


@pytest.mark.backends
def test_dcase_gets_tensors_where_pytorch_is_loaded(packed, expected, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(packed / "dcase")
    api = importlib.import_module(LABEL)
    logits, classes = api.predict(list(expected.by_path), ["a"] * len(expected.by_path))
    labels = [classes[k] for k in torch.argmax(torch.softmax(torch.stack(logits), dim=1), dim=1)]
    assert labels == [label for label, _ in expected.by_path.values()]


def test_other_files_are_not_replaced_by_a_pack_and_a_former_pack_is(packed, scratch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    done = call("pack", "--offline", "--name", "one", scratch, tmp_path / "mine")
    assert done.status == 2 and "[pack.output]" in done.stderr and os.listdir(tmp_path / "mine") == ["thesis.txt"]
    done = call("pack", "--offline", scratch, tmp_path / "other")
    assert done.status == 5 and "[model.missing]" in done.stderr and not (tmp_path / "other").exists()


def test_a_damaged_model_is_not_packed(scratch, tmp_path):
    shutil.copytree(scratch / "models/one", tmp_path / "model")
    (weights,) = (tmp_path / "model").glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:-1])
    done = call("pack", "--offline", tmp_path / "model", tmp_path / "out")
    assert done.status == 5 and "[model.damaged]" in done.stderr and not (tmp_path / "out").exists()


# From here on images are built.


@pytest.fixture(scope="module")
def pack_image(corpus, container, tmp_path_factory):
    """Train on the corpus with 30 s clips, pack, and build the image: its name, and the expected output."""
    from synthetic_corpus import write_corpus

    folder = tmp_path_factory.mktemp("image")
    lists = write_corpus(folder / "corpus", n_clips=3, seconds=30.0)
    engine = container["CONTAINER_ENGINE"]

    def make(harness, *recipe):
        name = f"mirex-packed-{harness}-{len(recipe)}"
        scratch, out = folder / f"scratch-{name}", folder / name
        assert call("train", "-q", *recipe, scratch, lists["train"]).status == 0
        assert call("classify", "-q", scratch, lists["test"], folder / f"{name}.txt").status == 0
        assert call("pack", "-q", "--offline", "--for", harness, scratch, out).status == 0
        subprocess.run([engine, "build", "--tag", name, str(out)], check=True, capture_output=True)
        return SimpleNamespace(name=name, folder=out, expected=(folder / f"{name}.txt").read_bytes(), lists=lists)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [("--epochs", "1"), ("--recipe", "modulation", "--seed", "0")])
def test_the_image_is_small_and_answers_a_clip_at_once_blind(pack_image, container, tmp_path, recipe):
    image, engine = pack_image("plain", *recipe), container["CONTAINER_ENGINE"]
    audio = image.lists["test"].parent
    tmp_path.chmod(0o777)
    run = [engine, "run", "--rm", *HARDENED.split(), "-v", f"{audio}:{audio}:ro", "-v", f"{tmp_path}:{tmp_path}"]
    subprocess.run([*run, image.name, image.lists["test"], tmp_path / "all.txt", "-q"], check=True)
    assert (tmp_path / "all.txt").read_bytes() == image.expected
    clip, line = image.lists["test"].read_text().splitlines()[0], image.expected.splitlines()[0]
    times_s = []
    for _ in range(3):
        started_s = time.perf_counter()
        subprocess.run([*run, image.name, clip, tmp_path / "one.txt", "-q"], check=True)
        times_s.append(time.perf_counter() - started_s)
        assert (tmp_path / "one.txt").read_bytes() == line + b"\n"
    inspect = [engine, "image", "inspect", "--format", "{{.Size}}", image.name]
    size = int(subprocess.run(inspect, check=True, capture_output=True, text=True).stdout)
    print(f"{image.name}: {size / 1e6:.0f} MB, one clip in {sorted(times_s)} s")
    assert size < 400e6


@pytest.mark.slow
def test_the_image_for_grand_challenge_answers_as_the_platform_runs_it(pack_image, container, tmp_path):
    image, engine = pack_image("grand-challenge", "--epochs", "1"), container["CONTAINER_ENGINE"]
    (path, label) = image.expected.decode().splitlines()[0].split("\t")

    def start(job, output):
        volumes = ["-v", f"{job}:/input:ro", "-v", f"{output}:/output"]
        return subprocess.run(
            [engine, "run", "--rm", *HARDENED.split(), *volumes, image.name], capture_output=True, text=True
        )

    assert emulate_grand_challenge(image.folder, tmp_path, path, start)[0] == label
