"""The documents: every `bash` block runs unchanged, every named file and option exists, and the README is short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT

from mirex_submission.cli.main import COMMANDS, _parser

# Pages of the site whose text is generated.
GENERATED = ("api.md", "changelog.md", "commands.md", "gallery.md", "index.md")
PAGES = [path.name for path in sorted((PROJECT / "docs").glob("*.md")) if path.name not in GENERATED]
DOCUMENTS = ["README.md", *(f"docs/{name}" for name in PAGES)]
# Options of other programs in the documents: Ray and Dask, Slurm, ruff, pip, docker and podman, Apptainer.
FOREIGN = {
    "--address", "--head", "--nthreads", "--array", "--cpus-per-task", "--kill-on-bad-exit", "--nodes",
    "--ntasks-per-node", "--parsable", "--dependency", "--check", "--no-deps", "--format", "--gpus", "--rm", "--bind",
    "--containall", "--no-home", "--nv", "--xla", "--hash", "--ignore-installed", "--only-binary", "--report",
    "--require-hashes",
}  # fmt: skip


def read(document):
    return (PROJECT / document).read_text(encoding="utf-8")


def blocks(document):
    return re.findall(r"^```bash\n(.*?)^```$", read(document), flags=re.M | re.S)


@pytest.fixture(scope="module")
def place(corpus, tmp_path_factory):
    """The files that the documents need: lists of folds over a small corpus, and a table of its tracks."""
    folder = tmp_path_factory.mktemp("documents")
    tracks = [line.split("\t") for line in corpus["truth"].read_text().splitlines()]
    tracks += [line.split("\t") for line in corpus["train"].read_text().splitlines()]
    table = folder / "table.tsv"
    lines = [f"{path}\t{label}\tartist {k % 6} of {label}" for k, (path, label) in enumerate(sorted(tracks))]
    table.write_text("\n".join(["path\tlabel\tartist", *lines]) + "\n")
    lists = folder / "folds"
    command = [sys.executable, "-m", "mirex_submission", "folds", str(table), "--group", "artist", "--out", str(lists)]
    subprocess.run(command, check=True, capture_output=True)
    return {"TABLE": table, "LISTS": lists}


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [name for name in DOCUMENTS if blocks(name)],
)
def test_every_block_runs(document, place, tmp_path):
    script = "set -euxo pipefail\n" + "\n".join(blocks(document))
    folders = {name: tmp_path / name.lower() for name in ("SCRATCH", "OUT", "WORK")}
    for name in ("OUT", "WORK"):
        folders[name].mkdir()
    environment = {
        **os.environ,
        **{name: str(path) for name, path in {**place, **folders}.items()},
        "MIREX_PYTHON": sys.executable,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(["bash", "-c", script], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def our_options():
    """Return the options of all commands."""
    return ["--version"] + [
        option for name in COMMANDS for action in _parser(name)._actions for option in action.option_strings
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_named_option_exists(document):
    scripts = [
        *(PROJECT / "bin").glob("*.sh"),
        *(PROJECT / "benchmarks").glob("*.py"),
        *(PROJECT / "examples").glob("*.py"),
    ]
    ours = " ".join([*(path.read_text() for path in scripts), *our_options()])
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", read(document)))
    assert not {option for option in named - FOREIGN if not re.search(rf"{option}\b(?!-)", ours)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_named_file_exists(document):
    named = re.findall(
        r"(?:bin|docs|examples|benchmarks|tests|mirex_submission)/[\w/-]+\.(?:sh|md|py|c)", read(document)
    )
    assert not [name for name in named if not (PROJECT / name).is_file()]


def test_the_readme_is_three_screens_and_leads_to_every_document():
    assert len(read("README.md").splitlines()) < 150
    assert all(document in read("README.md") for document in DOCUMENTS[1:])
