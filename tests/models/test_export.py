"""Exported models answer as the trained one: on segments in every format, on waveforms as a SavedModel."""

import csv
import dataclasses
import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from project import PROJECT

from mirex_submission.errors import AudioError, MirexError, ModelError, StorageError, UsageError
from mirex_submission.features import audio
from mirex_submission.features.logmel import log_mel
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models import export as exporting
from mirex_submission.models.bundle import Bundle, TrainedTrack, save, save_weights
from mirex_submission.models.export import TOLERANCE, export
from mirex_submission.models.prediction import NetworkPredictor
from mirex_submission.networks import engine as engines
from mirex_submission.networks.epoch import cut
from mirex_submission.networks.sizes import initial_weights
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec(11025, 20, 54)  # two segments in the corpus' clips of 4 s
FORMATS = ("savedmodel", "onnx", "tflite")


def command(*args, **options):
    words = [sys.executable, "-m", "mirex_submission", *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def scratch(corpus, tmp_path_factory):
    """A scratch folder with a model `all` whose recipe takes consecutive segments, trained on the corpus."""
    folder = tmp_path_factory.mktemp("scratch")
    size = ["--rate", SPEC.rate_hz, "--bands", SPEC.n_bands, "--frames", SPEC.n_frames]
    recipe = [
        "--model",
        "all",
        "--segments",
        "consecutive",
        "--no-picture",
        "--epochs",
        3,
        "--batch-size",
        4,
        "--seed",
        5,
    ]
    done = command("train", "--no-picture", *size, *recipe, folder, corpus["train"])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def predictor(scratch):
    """What classifies: the networks of the bundle on the engine of the caller."""
    folder = scratch / "model"
    return NetworkPredictor(folder, bundles.load(folder), engines.start("cpu", threads=2, seed=0))


@pytest.fixture(scope="module")
def exported(scratch, tmp_path_factory):
    """{format: path}; ONNX only where its libraries are."""
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name in FORMATS:
        if name == "onnx":
            try:
                import onnx  # noqa: F401
                import onnxruntime  # noqa: F401
                import tf2onnx  # noqa: F401
            except ModuleNotFoundError:
                continue
        made[name] = export(scratch / "model", name, str(folder / f"ä b.{name}"), threads=2)
    return made


@pytest.fixture
def untrained(tmp_path):
    """A bundle of model 1 alone whose training tracks are nowhere."""
    folder = tmp_path / "model"
    spec = FeatureSpec(11025, 10, 31)
    mean, std = np.linspace(-2, -5, 10), np.linspace(1, 2, 10)
    weights = initial_weights("1", n_bands=10, n_frames=31, n_classes=2, mean=mean, std=std, seed=3)
    save(
        folder,
        Bundle(
            classes=("a", "b"),
            spec=spec,
            recipe=Recipe(model="1"),
            tracks=(TrainedTrack("/none/1.wav", "a", "aa"), TrainedTrack("/none/2.wav", "b", "bb")),
            weights={"1": save_weights(folder, weights)},
            keys={"1": "0"},
            versions={},
            engine="",
            history={"1": [{"loss": 1.0, "accuracy": 0.5}]},
        ),
    )
    return folder


def tracks_of(corpus):
    return corpus["test"].read_text().split()


def samples_of(path):
    samples = audio.decode(path, rate_hz=SPEC.rate_hz).samples
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def signature(path, name):
    """A function of a SavedModel."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda **x: loaded.signatures[name](**x)["probabilities"].numpy()


def opened(path):
    """The export's function of segments, by the library of its format as its documentation shows."""
    if path.suffix == ".savedmodel":
        classify = signature(path, "serving_default")
        return lambda segments: classify(log_mel=segments)
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return lambda segments: session.run(None, {"log_mel": segments})[0]
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    (given,), (got,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(segments):
        interpreter.resize_tensor_input(given["index"], segments.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], segments)
        interpreter.invoke()
        return interpreter.get_tensor(got["index"])

    return run


def made(exported, name):
    if name not in exported:
        pytest.skip("onnx, onnxruntime or tf2onnx is not installed")
    return exported[name]


@pytest.mark.filterwarnings("ignore::UserWarning")  # that tf.lite.Interpreter will once go
@pytest.mark.parametrize("name", FORMATS)
def test_an_export_gives_segments_the_probabilities_of_classification(corpus, predictor, exported, name):
    run = opened(made(exported, name))
    n_wrong_way = 0
    for track in tracks_of(corpus):
        frames = log_mel(samples_of(track), SPEC)
        segments = cut(frames, np.arange(0, len(frames) - SPEC.n_frames, 7), SPEC.n_frames)
        expected = np.mean([network.probabilities(segments) for network in predictor.networks], axis=0)
        found = run(segments)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(run(segments[:1]), expected[:1], rtol=0, atol=TOLERANCE)
        n_wrong_way += np.abs(run(segments[:, ::-1].copy()) - expected).max() > 10 * TOLERANCE
    assert n_wrong_way == len(tracks_of(corpus))  # another input is another answer: the comparison can fail


def test_an_export_gives_a_waveform_the_probabilities_of_classify(scratch, corpus, exported, tmp_path):
    done = command("classify", "--probabilities", tmp_path / "p.csv", scratch, corpus["test"], tmp_path / "labels.txt")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "p.csv", newline="", encoding="utf-8") as f:
        (_, *classes), *rows = [row for row in csv.reader(f) if row]
    classes = [name for name in classes if name in bundles.load(scratch / "model").classes]
    classify = signature(exported["savedmodel"], "waveform")
    for path, *values in rows:
        found = classify(waveform=samples_of(path))
        assert found.shape == (len(classes),) and found.dtype == np.float32
        np.testing.assert_allclose(found, np.array(values[-len(classes) :], float), rtol=0, atol=TOLERANCE)
    assert len(rows) == len(tracks_of(corpus)) > 4


@pytest.mark.parametrize("n", [1000, SPEC.segment_samples - 1, SPEC.segment_samples, 3 * SPEC.segment_samples + 17])
def test_a_waveform_of_any_length_is_cut_into_consecutive_segments_and_a_short_one_repeated(predictor, exported, n):
    samples = np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32)
    frames = log_mel(samples, SPEC)
    starts = np.arange(0, len(frames) - SPEC.n_frames + 1, SPEC.frames_between_segments)
    assert len(starts) == max(1, n // SPEC.segment_samples)
    segments = cut(frames, starts, SPEC.n_frames)
    expected = np.mean([network.probabilities(segments) for network in predictor.networks], axis=(0, 1))
    found = signature(exported["savedmodel"], "waveform")(waveform=samples)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_silence_has_probabilities_and_an_empty_waveform_is_an_error(exported):
    classify = signature(exported["savedmodel"], "waveform")
    assert classify(waveform=np.zeros(5000, np.float32)).sum() == pytest.approx(1, abs=1e-5)
    for _ in range(20):  # each time, whatever else the graph computes side by side
        with pytest.raises(Exception, match="the waveform is empty"):
            classify(waveform=np.zeros(0, np.float32))


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_describes_its_classes_and_features(scratch, exported, name):
    path = made(exported, name)
    if name == "onnx":
        import onnx

        about = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    else:
        file = path / "assets.extra" / "mirex.json" if name == "savedmodel" else f"{path}.json"
        with open(file, encoding="utf-8") as f:
            about = json.load(f)
    bundle = bundles.load(scratch / "model")
    assert tuple(about["classes"]) == bundle.classes
    assert about["log_mel"]["shape"] == ["segments", 20, 54]
    features = about["features"]
    assert {name: features[name] for name in ("rate_hz", "n_bands", "n_frames")} == dataclasses.asdict(bundle.spec)
    assert (features["window"], features["hop"], features["segment_samples"]) == (768, 384, 55 * 384)
    assert about["networks"] == bundle.weights and list(about["networks"]) == ["1", "2", "3"]
    assert about["trained_with"] == bundle.versions and "tensorflow" in about["exported_with"]


def test_an_onnx_model_takes_any_number_of_segments_and_nothing_else(exported):
    import onnx

    model = onnx.load(made(exported, "onnx"))
    (given,), (got,) = model.graph.input, model.graph.output
    assert (given.name, got.name) == ("log_mel", "probabilities")
    batch, *rest = given.type.tensor_type.shape.dim
    assert batch.dim_param and [dim.dim_value for dim in rest] == [20, 54]


def test_without_training_tracks_a_generated_signal_verifies_the_export(untrained, tmp_path, caplog):
    caplog.set_level("INFO")
    path = export(untrained, "tflite", str(tmp_path / "out" / "a.tflite"), threads=2)
    assert "of a generated signal" in caplog.text and "2 segments" in caplog.text
    assert sorted(os.listdir(tmp_path / "out")) == ["a.tflite", "a.tflite.json"] and path.stat().st_size > 10_000


def test_given_audio_verifies_the_export(untrained, tmp_path, caplog):
    caplog.set_level("INFO")
    noise = np.random.default_rng(0).normal(0, 0.1, (3 * 22050, 2))
    soundfile.write(tmp_path / "a.wav", noise, 22050)
    export(untrained, "savedmodel", str(tmp_path / "a"), audio_paths=[str(tmp_path / "a.wav")], threads=2)
    assert "verified on 2 segments of the given audio" in caplog.text
    assert "verified on the waveforms of the given audio" in caplog.text
    with pytest.raises(AudioError, match=r"/none\.wav: cannot be read"):
        export(untrained, "savedmodel", str(tmp_path / "b"), audio_paths=["/none.wav"], threads=2)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["savedmodel", "tflite"])
def test_an_export_that_differs_too_much_from_keras_is_not_written(untrained, tmp_path, monkeypatch, name):
    out = tmp_path / "out" / f"a.{name}"
    old = out / "saved_model.pb" if name == "savedmodel" else out
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(MirexError, match=r"\[model\.export-differs\]") as refused:
        export(untrained, name, str(out), threads=2)
    assert refused.value.exit_status == 1
    assert os.listdir(out.parent) == [out.name] and old.read_bytes() == b"old"


def test_a_nan_probability_is_not_written(tmp_path):
    with pytest.raises(MirexError, match=r"a probability differs by nan .*\[model\.export-differs\]"):
        exporting._verify([0.0, float("nan"), 0.0], "a track", tmp_path)


def test_a_savedmodel_is_replaced_atomically_and_leftovers_are_deleted(untrained, tmp_path):
    out = tmp_path / "out"
    (out / ".mirex-tmp-12-00ffab12" / "a").mkdir(parents=True)
    (out / "a").mkdir()
    for name in ("saved_model.pb", "old"):
        (out / "a" / name).touch()
    path = export(untrained, "savedmodel", str(out / "a"), threads=2)
    assert os.listdir(out) == ["a"] and (path / "saved_model.pb").stat().st_size > 0
    assert sorted(os.listdir(path)) == ["assets", "assets.extra", "fingerprint.pb", "saved_model.pb", "variables"]


def test_an_output_that_is_not_a_savedmodel_is_refused_and_kept(untrained, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    for name, output, error, said in (
        ("savedmodel", "folder", UsageError, r"\[usage\.export-output\]"),
        ("savedmodel", "model", UsageError, r"\[usage\.export-output\]"),
        ("savedmodel", "file", UsageError, r"a SavedModel is a folder.*\[usage\.export-output\]"),
        ("onnx", "model/bundle.json", UsageError, r"\.onnx.*\[usage\.export-output\]"),
        ("tflite", "folder", UsageError, r"\.tflite.*\[usage\.export-output\]"),
        ("savedmodel", "file/a", StorageError, "cannot be written"),
    ):
        with pytest.raises(error, match=said):
            export(untrained, name, str(tmp_path / output), threads=2)
    assert os.listdir(tmp_path / "folder") == ["thesis.txt"] and bundles.load(untrained)


def test_without_the_libraries_of_onnx_the_error_names_the_extra(untrained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"tf2onnx: .*\[export\].*\[usage\.export-extra\]"):
        export(untrained, "onnx", str(tmp_path / "a.onnx"), threads=2)
    assert os.listdir(tmp_path) == ["model"]


def test_another_backend_than_tensorflow_is_refused_at_once(untrained, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UsageError, match=r"\[usage\.export-backend\]"):
        export(untrained, "tflite", str(tmp_path / "a.tflite"), threads=2)


def test_a_damaged_or_missing_model_is_status_5(untrained, tmp_path):
    (weights,) = untrained.glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"\[model\.damaged\]"):
        export(untrained, "tflite", str(tmp_path / "a.tflite"), threads=2)
    done = command("export", "--format", "tflite", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 5 and "no trained model here" in done.stderr and done.stdout == ""
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.filterwarnings("ignore::UserWarning")  # that tf.lite.Interpreter will once go
def test_the_programs_of_the_document_run_and_agree(scratch, corpus, exported, tmp_path, monkeypatch):
    made(exported, "onnx")
    for name, path in exported.items():
        (tmp_path / f"model.{name}").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    samples = samples_of(tracks_of(corpus)[0])
    soundfile.write("track.wav", samples, SPEC.rate_hz, subtype="FLOAT")
    np.save("track.npy", log_mel(samples, SPEC))
    text = (PROJECT / "docs" / "deployment.md").read_text(encoding="utf-8")
    names, by_segment = {}, []
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(program, names)
        by_segment.append(np.asarray(names.get("by_segment", np.nan)))
    assert len(by_segment) == 4 and names["label"] in bundles.load(scratch / "model").classes
    for found in by_segment[2:]:
        np.testing.assert_allclose(found, by_segment[1], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(names["of_track"], by_segment[1].mean(axis=0), rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_status_7_and_leaves_nothing(scratch, tmp_path, name):
    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    output = tmp_path / "out" / f"a.{name}"
    done = command("export", "--format", name, "--output", output, scratch / "model", preexec_fn=small_files_only)
    assert done.returncode == 7 and "cannot be written" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert list(output.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_the_command_writes_to_the_current_folder_and_no_other(scratch, tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "TMPDIR": "/none", "HOME": str(home)}
    environment.pop("ORT_DISABLE_TELEMETRY")  # of these tests themselves
    done = command("export", "--format", name, scratch / "model", cwd=tmp_path, env=environment)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert f"output: {tmp_path}/model.{name}" in done.stderr
    assert not list(home.iterdir())
    home.rmdir()
    assert [each for each in os.listdir(tmp_path) if not each.endswith(".json")] == [f"model.{name}"]


@pytest.mark.parametrize("older", [{}, {"a.tflite": b"older", "a.tflite.json": b"{}"}])
def test_a_model_and_its_json_file_are_written_both_or_neither(tmp_path, older):
    for name, data in older.items():
        (tmp_path / name).write_bytes(data)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for data, about in ((bytes(90_000), b"{1}"), (b"model", bytes(90_000))):
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        try:
            with pytest.raises(StorageError, match=r"disk\.file-size"):
                exporting._write_both(tmp_path / "a.tflite", data, about)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == older
    exporting._write_both(tmp_path / "a.tflite", b"model", b"{2}")
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {"a.tflite": b"model", "a.tflite.json": b"{2}"}
