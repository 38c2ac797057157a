"""The scripts with folders, tables and audio files in place of lists, and `try`."""

import csv
import json
import os

import pytest
from command_line import call

from mirex_submission import ClassificationOptions, Recipe, RunOptions, classify, train

QUICK = ("--model", "1", "--epochs", "2", "--segments-per-track", "3", "--no-picture")


@pytest.fixture(scope="module")
def music(corpus, tmp_path_factory):
    """A folder of links: CLASS/ARTIST/clip, and one of new clips with a broken one."""
    folder = tmp_path_factory.mktemp("folders")
    for k, line in enumerate(corpus["train"].read_text().splitlines()):
        path, label = line.split("\t")
        artist = folder / "music" / label / f"{label} {k % 2}"
        artist.mkdir(parents=True, exist_ok=True)
        (artist / os.path.basename(path)).symlink_to(path)
    (folder / "new").mkdir()
    for path in corpus["test"].read_text().splitlines():
        (folder / "new" / os.path.basename(path)).symlink_to(path)
    (folder / "new/broken.wav").write_text("no audio")
    (folder / "new/cover.jpg").write_text("no audio")
    return folder


@pytest.fixture(scope="module")
def listed(music):
    """The same tracks as a table and as lists."""
    tracks = sorted(music.glob("music/*/*/*.wav"))
    lines = [f"{path}\t{path.parts[-3]}\t{path.parts[-2]}" for path in tracks]
    (music / "table.tsv").write_text("\n".join(["path\tlabel\tartist", *lines]))
    (music / "train.txt").write_text("".join(f"{line.rpartition(chr(9))[0]}\n" for line in lines))
    (music / "groups.txt").write_text("".join(f"{path}\t{path.parts[-2]}\n" for path in tracks))
    (music / "test.txt").write_text("".join(f"{path}\n" for path in sorted(music.glob("new/*.wav"))))
    return music


def model(scratch, name):
    """The record of a model but for what differs from run to run."""
    return json.loads((scratch / "models" / name / "bundle.json").read_bytes().partition(b"\n")[2])


def test_a_folder_and_a_table_give_what_the_list_gives(listed, run_script, tmp_path):
    scratch, patient = tmp_path / "s", (*QUICK, "--patience", "1")
    sources = {
        "folder": ("--groups", "folder", "music"),
        "table": ("--group-column", "artist", "table.tsv"),
        "list": ("--groups", "groups.txt", "train.txt"),
    }
    outputs = {}
    for name, (*options, source) in sources.items():
        train_arguments = (*patient, "--name", name, *options, scratch, source)
        test_arguments = ("--name", name, scratch, "test.txt" if name == "list" else "new", tmp_path / name)
        if name == "folder":
            for script, rest in (("train.sh", train_arguments), ("classify.sh", test_arguments)):
                done = run_script(script, *rest, cwd=listed)
                assert done.returncode == 0, done.stderr
        else:
            assert call("train", *train_arguments, cwd=listed).status == 0
            assert call("classify", *test_arguments, cwd=listed).status == 0
        outputs[name] = (tmp_path / name).read_text()
    assert outputs["folder"] == outputs["table"] == outputs["list"]
    assert [line.split("\t")[0] for line in outputs["folder"].splitlines()] == [
        str(path) for path in sorted(listed.glob("new/*.wav"))
    ]
    assert model(scratch, "folder")["keys"] == model(scratch, "table")["keys"] == model(scratch, "list")["keys"]


@pytest.fixture(scope="module")
def scratch(listed):
    done = call("train", *QUICK, listed / "s", listed / "music")
    assert done.status == 0, done.stderr
    return listed / "s"


def test_every_format_goes_to_a_file_or_to_standard_output(scratch, listed, run_script, tmp_path):
    done = run_script("classify.sh", "--format", "csv", scratch, "new", "-", cwd=listed)
    assert done.returncode == 0, done.stderr
    outputs = {"csv": done.stdout}
    for form in ("mirex", "jsonl"):
        outputs[form] = call("classify", "--format", form, scratch, "new", "-", cwd=listed).stdout
    assert call("classify", scratch, "test.txt", tmp_path / "mirex", cwd=listed).status == 0
    assert outputs["mirex"] == (tmp_path / "mirex").read_text() and not (listed / "-").exists()
    pairs = [line.split("\t") for line in outputs["mirex"].splitlines()]
    rows = list(csv.DictReader(outputs["csv"].splitlines()))
    objects = [json.loads(line) for line in outputs["jsonl"].splitlines()]
    assert pairs == [[row["path"], row["label"]] for row in rows] == [[o["path"], o["label"]] for o in objects]
    classes = sorted(path.name for path in (listed / "music").iterdir())
    for row, obj in zip(rows, objects, strict=True):
        assert list(row) == ["path", "label", *classes, "seconds", "note"]
        assert {name: float(row[name]) for name in classes} == obj["probabilities"]
        assert sum(obj["probabilities"].values()) == pytest.approx(1) and obj["seconds"] >= 0
        assert ("[audio.undecodable]" in row["note"]) == ("broken" in row["path"]) and obj["note"] == row["note"]


def test_one_audio_file_from_python_and_the_command_line(scratch, listed):
    clip = sorted((listed / "new").glob("*.wav"))[1]
    done = call("classify", scratch, clip, "-")
    result = classify(scratch, clip, classification=ClassificationOptions(format="csv"), run=RunOptions(threads=1))
    assert (done.status, done.stdout) == (0, f"{clip}\t{result.tracks[0].label}\n")
    assert len(result.seconds) == 1 and result.notes == [""]


def test_python_takes_folders_and_tables(listed, tmp_path):
    quick = Recipe(model="1", epochs=1, segments_per_track=1)
    train(listed / "s", listed / "music", listed / "new", recipe=quick, name="one", no_picture=True)
    train(listed / "s", listed / "table.tsv", recipe=quick, name="two", no_picture=True, label_column="artist")
    assert [len(model(listed / "s", name)["classes"]) for name in ("one", "two")] == [4, 8]


def test_check_extract_and_train_and_classify_take_folders(listed, tmp_path):
    done = call("check", tmp_path, "--features", "music", "--train", "music", "--test", "new", cwd=listed)
    assert "music: a training list, 16 tracks of 4 classes" in done.stdout
    assert "new: a test list, 9 tracks" in done.stdout and "music: a feature list, 16 tracks" in done.stdout
    done = call("extract", "--no-check", tmp_path / "s", "new", cwd=listed)
    assert done.status == 0 and "9 tracks to do" in done.stderr and "cover.jpg" in done.stderr
    done = call("train-and-classify", *QUICK, tmp_path / "s", "music", "new", "-", cwd=listed)
    assert done.status == 0 and len(done.stdout.splitlines()) == 9


def test_validate_and_audit_take_folders_and_tables(scratch, listed, tmp_path):
    output, rows = tmp_path / "out.txt", ["file,class"]
    for path in listed.glob("music/*/*/*.wav"):  # no blanks in the paths
        plain = tmp_path / "plain" / path.parts[-3] / path.name
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.symlink_to(path.resolve())
        rows.append(f"plain/{path.parts[-3]}/{path.name},{path.parts[-3]}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    assert call("classify", scratch, listed / "new", output).status == 0
    for training, columns in (("plain", ()), ("table.csv", ("--path-column", "file", "--label-column", "class"))):
        done = call("validate", *columns, listed / "new", tmp_path / training, output)
        assert done.status == 0 and "count all 9 tracks" in done.stderr, done.stderr
    done = call("audit", tmp_path / "plain", listed / "new", "--out", tmp_path / "audit")
    assert done.status == 0 and json.loads((tmp_path / "audit/audit.json").read_text()), done.stderr
    output.write_text(output.read_text().partition("\n")[2])
    done = call("validate", listed / "new", tmp_path / "plain", output)
    assert done.status == 3 and "out.txt" in done.stderr


@pytest.fixture
def folder(tmp_path, corpus):
    """Make a folder of links to one clip."""
    clip = corpus["test"].read_text().splitlines()[0]

    def make(*names):
        for name in names:
            (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "m" / name).symlink_to(clip)
        (tmp_path / "m").mkdir(exist_ok=True)
        return tmp_path / "m"

    return make


@pytest.mark.parametrize(
    ("names", "commands", "code"),
    [
        ((), ("train", "try"), "folds.no-audio"),
        ((), ("classify",), "list.folder"),
        (("rock/a.wav", "rock/b.wav"), ("train", "try"), "list.one-class"),
        (("rock/a.wav", "jazz/b.wav"), ("try",), "folds.few-groups"),
        (("rock/a.wav", "jazz/b.wav", "c.wav"), ("train", "try"), "list.two-readings"),
        ((".rock/a.wav", ".jazz/b.wav"), ("train", "try"), "folds.no-audio"),
        (("train/rock/a.wav", "test/rock/b.wav"), ("train", "try"), "folds.parts"),
    ],
)
def test_a_bad_folder_is_an_error_with_its_code(folder, tmp_path, names, commands, code):
    music = folder(*names)
    for command in commands:
        rest = {"try": (music,), "train": (tmp_path / "s", music), "classify": (tmp_path / "s", music, "-")}[command]
        done = call(command, *rest, cwd=tmp_path)
        assert done.status == 3 and f"[{code}]" in done.stderr.splitlines()[-1], done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_an_error(folder, tmp_path):
    music = folder("rock/a.wav", "jazz/b.wav")
    (music / "rock").chmod(0)
    done = call("train", tmp_path / "s", music)
    (music / "rock").chmod(0o700)
    assert done.status == 3 and "[folds.unreadable-folder]" in done.stderr


def test_the_scratch_folder_of_try_must_not_lie_in_the_music(folder):
    music = folder("rock/a.wav")
    done = call("try", ".", cwd=music)
    assert done.status == 2 and "[usage.scratch-inside]" in done.stderr and os.listdir(music) == ["rock"]


def test_try_gives_a_first_answer_and_resumes(music, run_script, tmp_path):
    command = ("try", "music", "--scratch", tmp_path / "t", "--recipe", "modulation", "--folds", "2")
    done = run_script("mirex-submission.sh", *command, cwd=music)
    assert done.returncode == 0, done.stderr
    assert "recipe modulation: about" in done.stderr and "this takes about" in done.stderr
    assert "best: modulation, " in done.stdout and (tmp_path / "t/results/report.html").is_file()
    groups = dict(line.split("\t") for line in (tmp_path / "t/folds/groups.txt").read_text().splitlines())
    for k in (1, 2):
        sides = [(tmp_path / f"t/folds/fold{k}.{side}.txt").read_text().splitlines() for side in ("train", "test")]
        train_groups, test_groups = ({groups[line.split("\t")[0]] for line in side} for side in sides)
        assert len(groups) == 16 and not train_groups & test_groups
    done = run_script("classify.sh", tmp_path / "t", "new", "-", cwd=music)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 9
    again = run_script("mirex-submission.sh", *command, cwd=music)
    assert again.returncode == 0 and "begins" not in again.stderr and "nothing to do" in again.stderr
