"""The recipe modulation in the shell scripts: the same calls and guarantees as for the recipe paper."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from command_line import call, call_all
from processes import end, files_below, start, wait_for

from mirex_submission.models import bundle as bundles
from mirex_submission.protocol.lists import read_labelled, read_paths
from mirex_submission.system.atomic import seal, unseal

RECIPE = ("--recipe", "modulation")


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A scratch folder with features of all tracks and a model of the recipe."""
    folder = tmp_path_factory.mktemp("trained")
    with start("train.sh", *RECIPE, folder / "scratch", corpus["features"], corpus["train"]) as process:
        log = process.communicate()[1]
    assert process.returncode == 0, log
    assert "recipe: modulation" in log
    return folder / "scratch"


@pytest.fixture
def scratch(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "scratch")
    return tmp_path / "scratch"


def files_of(folder):
    return {name: data for name, data in files_below(folder).items() if not name.endswith(".lock")}


def test_a_test_list_is_classified_from_stored_views_and_nothing_heavy_is_loaded(scratch, corpus, tmp_path):
    arguments = ("--probabilities", tmp_path / "p.csv", scratch, corpus["test"], tmp_path / "out.txt")
    (done,) = call_all([("classify", *arguments)], tmp_path)
    assert done.status == 0, done.stderr
    assert not {"sklearn", "scipy", "librosa", "keras", "tensorflow", "pandas", "matplotlib"} & done.modules
    assert "recipe: modulation" in done.stderr
    lines = [line.split("\t") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [path for path, _ in lines] == read_paths(corpus["test"])
    truth = {track.path: track.label for track in read_labelled(corpus["truth"])}
    assert sum(truth[path] == label for path, label in lines) > 0.8 * len(lines)
    rows = np.genfromtxt(tmp_path / "p.csv", delimiter=",", skip_header=1, dtype=str)
    np.testing.assert_allclose(rows[:, 2:].astype(float).sum(axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_any_number_of_processes_and_calls_gives_the_same_files(trained, corpus, run_script, tmp_path):
    own = tmp_path / "scratch"
    done = run_script("extractFeatures.sh", "-numThreads", 2, *RECIPE, own, corpus["features"])
    assert done.returncode == 0, done.stderr
    done = run_script("train.sh", "-numThreads", 1, *RECIPE, own, corpus["train"])
    assert done.returncode == 0, done.stderr
    assert files_of(own / "features") == files_of(trained / "features")
    assert files_of(own / "model") == files_of(trained / "model")


def test_train_and_classify_gives_the_same_output_as_two_calls(scratch, trained, corpus, run_script, tmp_path):
    shutil.rmtree(scratch / "model")
    calls = corpus["train"], corpus["test"]
    done = run_script("trainAndClassify.sh", *RECIPE, scratch, *calls, tmp_path / "one.txt")
    assert done.returncode == 0, done.stderr
    done = run_script("classify.sh", trained, corpus["test"], tmp_path / "two.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.txt").read_bytes() == (tmp_path / "two.txt").read_bytes()


def test_a_repeated_training_has_nothing_to_do(scratch, corpus):
    before = files_of(scratch)
    done = call("train", *RECIPE, scratch, corpus["train"])
    assert done.status == 0 and "nothing to do" in done.stderr
    assert files_of(scratch) == before
    done = call("train", *RECIPE, "--restart", scratch, corpus["train"])
    assert done.status == 0 and "nothing to do" not in done.stderr
    assert files_of(scratch) == before
    done = call("train", *RECIPE, "--c", "10", scratch, corpus["train"])
    assert done.status == 0 and files_of(scratch / "model") != before


@pytest.mark.slow
def test_a_killed_extraction_resumes(trained, corpus, tmp_path):
    own = tmp_path / "scratch"
    with start("extractFeatures.sh", "-numThreads", 1, *RECIPE, own, corpus["features"]) as process:
        wait_for(lambda: len(list(own.glob("features/mel*/*/*.view"))) >= 3)
        end(process)
    n_stored = len(list(own.glob("features/vqt*/*/*.view")))
    assert n_stored >= 2
    done = call("extract", *RECIPE, own, corpus["features"])
    assert done.status == 0 and "0 stored already" not in done.stderr
    assert files_of(own / "features") == files_of(trained / "features")


def test_damaged_views_are_extracted_again(scratch, trained, corpus, tmp_path):
    for file in scratch.glob("features/*/*/*.view"):
        file.write_bytes(file.read_bytes()[:-3] + b"abc")
    done = call("classify", scratch, corpus["test"], tmp_path / "out.txt")
    assert done.status == 0 and "[features.damaged]" in done.stderr
    done = call("extract", *RECIPE, "--verify", scratch, corpus["features"])
    assert done.status == 0
    assert files_of(scratch / "features") == files_of(trained / "features")


def test_silent_short_and_unreadable_tracks_are_treated_as_by_the_recipe_paper(scratch, corpus, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(22050), 22050)
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 6615), 22050)
    soundfile.write(tmp_path / "quiet.wav", np.full(22050, 1 / 32768), 22050)
    (tmp_path / "text.wav").write_text("no audio")
    names = ["silent.wav", "text.wav", "short.wav", "quiet.wav"]
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path / name}\n" for name in [*names, "none.wav"][:4]))
    done = call("classify", "--no-check", scratch, tmp_path / "list.txt", tmp_path / "out.txt")
    assert done.status == 0, done.stderr
    labels = [line.split("\t")[1] for line in (tmp_path / "out.txt").read_text().splitlines()]
    usual = sorted({track.label for track in read_labelled(corpus["train"])})[0]
    assert labels[:2] == [usual, usual] and "[audio.most-frequent-label]" in done.stderr
    assert "[audio.silent]" in done.stderr and "text.wav: " in done.stderr
    assert len(list(scratch.glob("features/mel*/*/*.view"))) == len(read_paths(corpus["features"])) + 2


def test_a_model_of_one_recipe_replaces_that_of_the_other_in_the_same_scratch_folder(scratch, corpus, tmp_path):
    done = call("train", "--model", "1", "--epochs", "1", "--no-picture", scratch, corpus["train"])
    assert done.status == 0, done.stderr
    assert isinstance(bundles.load(scratch / "model"), bundles.Bundle)
    done = call("train", *RECIPE, scratch, corpus["train"])
    assert done.status == 0, done.stderr
    assert isinstance(bundles.load(scratch / "model"), bundles.ViewBundle)
    assert not (scratch / "model/history.csv").exists() and not list(scratch.glob("model/*.checkpoint"))
    assert call("classify", scratch, corpus["test"], tmp_path / "out.txt").status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        (*RECIPE, "--epochs", "150"),
        (*RECIPE, "--model", "2"),
        (*RECIPE, "--bands", "41"),
        (*RECIPE, "--engine", "keras"),
        (*RECIPE, "--device", "gpu"),
        (*RECIPE, "--tensorboard", "t"),
        (*RECIPE, "--rate", "44100"),
        ("--c", "3"),
        ("--tune",),
        ("--recipe", "paper", "--views", "mel-modulation"),
    ],
)
def test_options_of_the_other_recipe_are_refused_before_anything_is_written(arguments, corpus, tmp_path):
    done = call("train", *arguments, tmp_path / "s", corpus["train"], cwd=tmp_path)
    assert done.status == 2 and "[usage.other-recipe]" in done.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "arguments", [("--vote", "majority"), ("--model", "2"), ("--engine", "keras"), ("--device", "gpu")]
)
def test_options_of_networks_are_refused_by_a_classification(scratch, corpus, tmp_path, arguments):
    done = call("classify", *arguments, scratch, corpus["test"], tmp_path / "out.txt")
    assert done.status == 2 and "[usage.other-recipe]" in done.stderr


def test_only_a_missing_view_is_computed(trained, corpus, tmp_path):
    own = tmp_path / "scratch"
    assert call("extract", *RECIPE, "--views", "mel-modulation", own, corpus["features"]).status == 0
    before = {file: file.stat().st_ino for file in own.glob("features/mel*/*/*.view")}
    done = call("extract", *RECIPE, own, corpus["features"])
    assert done.status == 0 and before == {file: file.stat().st_ino for file in own.glob("features/mel*/*/*.view")}
    assert files_of(own / "features") == files_of(trained / "features")


def test_a_model_whose_view_has_a_newer_version_now_is_status_5(scratch, corpus, tmp_path):
    """As after an update of this package: new vectors must not be mixed with the old ones."""
    path = scratch / "model/bundle.json"
    path.write_bytes(seal(unseal(path.read_bytes()).replace(b'"version": "1"', b'"version": "0"')))
    before = files_of(scratch / "features")
    done = call("classify", "--no-check", scratch, corpus["test"], tmp_path / "out.txt")
    assert done.status == 5 and "[usage.view-version]" in done.stderr
    assert files_of(scratch / "features") == before and not (tmp_path / "out.txt").exists()


def test_a_dry_run_counts_the_tracks_of_both_lists(corpus, tmp_path):
    n = len(read_paths(corpus["features"]))
    for recipe in (RECIPE, ("--recipe", "paper")):
        done = call("train", *recipe, "--dry-run", tmp_path / "s", corpus["features"], corpus["train"])
        assert done.status == 0 and f"{n} to extract" in done.stdout


def test_a_missing_view_is_an_error_before_the_extraction(corpus, tmp_path):
    done = call("train", *RECIPE, "--views", "mel-modulation,openl3", tmp_path / "s", corpus["train"])
    assert done.status == 2 and "openl3" in done.stderr and "[usage.plugin-missing]" in done.stderr


def test_an_export_of_this_recipe_is_a_usage_error(trained, tmp_path):
    done = call("export", "--format", "onnx", "--output", tmp_path / "m.onnx", trained / "model")
    assert done.status == 2 and "modulation" in done.stderr and "[usage.other-recipe]" in done.stderr


def test_a_check_and_a_dry_run_write_nothing(trained, corpus, tmp_path):
    lists = ("--train", corpus["train"], "--test", corpus["test"])
    done = call("check", *RECIPE, tmp_path / "s", *lists)
    assert done.status == 0, done.stdout
    done = call("train", *RECIPE, "--dry-run", tmp_path / "s", corpus["train"])
    assert done.status == 0 and "recipe modulation" in done.stdout and "16 to extract" in done.stdout
    assert not (tmp_path / "s").exists()
    done = call("check", *RECIPE, trained, *lists)
    assert done.status == 0 and "recipe modulation" in done.stdout


def test_the_features_of_a_track_are_printed_exported_and_drawn(trained, corpus, tmp_path):
    track = read_paths(corpus["test"])[0]
    done = call("features", *RECIPE, "--scratch", trained, track)
    assert done.status == 0 and "mel-modulation" in done.stdout and "stored in" in done.stdout
    (file,) = [name for name in done.stdout.split() if "/vqt-modulation-" in name]
    assert call("features", file.strip(",")).status == 0
    one = (*RECIPE, "--views", "vqt-modulation")
    assert call("features", *one, "--export", tmp_path / "v.npy", "--scratch", trained, track).status == 0
    assert np.load(tmp_path / "v.npy").shape == (1, 1190)
    assert call("features", *one, "--export", tmp_path / "v.csv", "--scratch", trained, track).status == 0
    np.testing.assert_array_equal(
        np.loadtxt(tmp_path / "v.csv", delimiter=",", skiprows=1, dtype=np.float32), np.load(tmp_path / "v.npy")[0]
    )
    assert call("features", *one, "--export", tmp_path / "v.png", "--scratch", trained, track).status == 0
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")
    done = call("features", *RECIPE, "--export", tmp_path / "both.npy", "--scratch", trained, track)
    assert done.status == 2 and "[usage.several-views]" in done.stderr


def test_the_model_card_explains_the_views(trained):
    card = (trained / "model/MODEL_CARD.md").read_text()
    assert "recipe modulation" in card and "A view is" in card and "1568" in card and "scikit-learn" in card


def test_a_model_has_only_arrays_and_json(trained):
    bundle = bundles.load(trained / "model")
    record = json.loads((trained / "model/bundle.json").read_text().partition("\n")[2])
    assert record["recipe"]["views"] == ["mel-modulation", "vqt-modulation"]
    with np.load(trained / "model" / bundle.weights["classifier"], allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} <= {"f", "i"}


@pytest.mark.parametrize("part", ["bundle.json", "*.npz"])
def test_a_damaged_model_is_status_5_and_a_training_repairs_it(scratch, corpus, tmp_path, part):
    before = files_of(scratch)
    (file,) = scratch.glob(f"model/{part}")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    done = call("classify", scratch, corpus["test"], tmp_path / "out.txt")
    assert done.status == 5 and "[model.damaged]" in done.stderr
    assert call("train", *RECIPE, scratch, corpus["train"]).status == 0
    assert files_of(scratch) == before


def test_groups_and_tuning_change_only_the_model(scratch, corpus, tmp_path):
    before = files_of(scratch / "features")
    tracks = read_labelled(corpus["train"])
    (tmp_path / "groups.txt").write_text("".join(f"{track.path}\tg{k // 2}\n" for k, track in enumerate(tracks)))
    done = call("train", *RECIPE, "--tune", "--groups", tmp_path / "groups.txt", scratch, corpus["train"])
    assert done.status == 0 and done.stderr.count("tuning: ") == 12
    assert files_of(scratch / "features") == before
    chosen = bundles.load(scratch / "model").chosen
    assert chosen["c"] in (1, 3, 10)


@pytest.mark.slow
def test_plots_of_all_views_are_drawn(corpus, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in read_paths(corpus["test"])[:2]))
    done = call("extract", *RECIPE, "--plot", tmp_path / "plots", tmp_path / "s", tmp_path / "list.txt")
    assert done.status == 0, done.stderr
    assert len(list((tmp_path / "plots").glob("*-modulation.png"))) == 4


def test_shards_extract_all_views_of_their_tracks(trained, corpus, tmp_path):
    for k in (1, 2, 3):
        done = call("extract", *RECIPE, "--shard", f"{k}/3", tmp_path / "s", corpus["features"])
        assert done.status == 0, done.stderr
    assert files_of(tmp_path / "s/features") == files_of(trained / "features")
