"""The archives of a release: they are complete, and each can be installed alone and works.

The slow tests install into empty environments, for every Python from 3.10 to 3.13 on the PATH.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from project import PROJECT

PYTHONS = ("python3.10", "python3.11", "python3.12", "python3.13")
NO_COMPILER = {"CC": "/bin/false"}
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
A_USERS_FILE = """
from pathlib import Path
from mirex_submission import Recipe, RunOptions, TrainingOptions, classify, evaluate, extract, log_mel, train
from mirex_submission.errors import MirexError
from mirex_submission.estimator import MirexClassifier

def answers(scratch: Path, paths: list[str], labels: list[str]) -> list[str]:
    run = RunOptions(threads=2)
    unreadable = [path for path, record in extract(scratch, paths, run=run).items() if not record.content]
    training = TrainingOptions(time_limit=3600)
    folder: Path = train(scratch, list(zip(paths, labels)), recipe=Recipe(epochs=2), training=training)
    result = classify(scratch, paths, scratch / "out.txt", run=run)
    accuracy: float = evaluate(scratch / "truth", {"ours": scratch}, scratch / "all").systems[0].overall.accuracy
    estimator = MirexClassifier(epochs=1, scratch=folder).fit(paths, labels)
    print(log_mel(paths[0]).shape, accuracy, estimator.predict_proba(paths).shape, MirexError.exit_status)
    return unreadable + [track.label for track in result.tracks]
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project without files that git ignores."""
    ignored = [line.strip("/") for line in (PROJECT / ".gitignore").read_text().split()]
    folder = tmp_path_factory.mktemp("package") / "checkout"
    return Path(shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".git", *ignored)))


def build(folder, kind, out, environment=NO_COMPILER):
    """Build an archive with the installed setuptools: `sdist` or `wheel`."""
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = out.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return archive


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    wanted = {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()}
    for left in ("build/lib/fourth_network.py", "fourth_network.egg-info/PKG-INFO"):  # by docs/python.md
        path = checkout / "examples/fourth_network" / left
        path.parent.mkdir(parents=True)
        path.touch()
    return build(checkout, "sdist", tmp_path_factory.mktemp("sdist")), wanted


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "xf", sdist[0], "-C", folder], check=True)
    (project,) = folder.iterdir()
    return project


@pytest.mark.slow
def test_the_source_archive_is_the_whole_checkout_with_executable_scripts(sdist, unpacked, checkout):
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert sdist[1] - files == set()
    made = {path for path in files - sdist[1] if not path.startswith("mirex_submission.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}
    for path in sdist[1]:
        assert (unpacked / path).read_bytes() == (checkout / path).read_bytes()
        assert os.access(unpacked / path, os.X_OK) == os.access(checkout / path, os.X_OK), path


@pytest.mark.slow
def test_without_a_compiler_a_wheel_of_the_source_archive_has_everything_except_the_kernels(unpacked, tmp_path):
    environment = {**NO_COMPILER, "REPOSITORY_URL": "https://repository.example/mirex/"}
    with zipfile.ZipFile(build(unpacked, "wheel", tmp_path, environment)) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (wheel.read(name).decode() for name in names if name.endswith("/METADATA"))
        (entries,) = (wheel.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    package = {str(p.relative_to(PROJECT)) for p in (PROJECT / "mirex_submission").rglob("*") if p.suffix in
               (".py", ".css", ".jinja", ".typed")}  # fmt: skip
    assert {name for name in names if ".dist-info/" not in name} == package
    assert "mirex-submission = mirex_submission.cli.main:main" in entries
    assert "Project-URL: Issues, https://repository.example/mirex/issues\n" in metadata
    assert "License" in metadata and any(name.endswith("LICENSE") for name in names)
    assert "# mirex_submission" in metadata  # the README


@pytest.fixture(scope="module", params=PYTHONS)
def environment(request, tmp_path_factory):
    """The folder of an empty virtual environment."""
    python = shutil.which(request.param)
    if not python or subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode:
        pytest.skip(f"no {request.param} with venv on the PATH")
    folder = tmp_path_factory.mktemp(request.param) / "venv"
    subprocess.run([python, "-m", "venv", folder], check=True)
    yield folder
    shutil.rmtree(folder)  # 2 GB


def install(environment, archive, *options, **variables):
    constraints = [] if environment.parent.name.startswith("python3.10") else ["-c", PROJECT / "constraints.txt"]
    command = [environment / "bin/pip", "install", "-q", *constraints, *options, archive]
    done = subprocess.run(command, env={**os.environ, **variables}, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def kernels(environment):
    return list(environment.rglob("mirex_submission/*/_kernel*.so"))


@pytest.mark.slow
def test_each_archive_and_the_checkout_can_be_installed_alone_work_and_have_type_hints(
    environment, checkout, sdist, unpacked, corpus, tmp_path, run_script
):
    """The wheel is built with the Python that installs it, as its kernels need the same Python."""
    python = {"MIREX_PYTHON": str(environment / "bin/python")}
    outputs = {}
    for kind in ("wheel", "sdist", "checkout", "no compiler"):
        if kind == "wheel":
            command = [environment / "bin/pip", "wheel", "-q", "--no-deps", "-w", tmp_path, checkout]
            subprocess.run(command, check=True, cwd="/")
            install(environment, next(tmp_path.glob("*.whl")))
        else:
            archive = {"sdist": sdist[0], "checkout": checkout, "no compiler": unpacked}[kind]
            variables = NO_COMPILER if kind == "no compiler" else {}
            install(environment, archive, "--no-deps", "--force-reinstall", "--no-cache-dir", **variables)
        assert len(kernels(environment)) == (0 if kind == "no compiler" else 2)
        scratch, output = tmp_path / kind / "scratch", tmp_path / kind / "output.txt"
        command = [environment / "bin/mirex-submission", "extract", scratch, corpus["features"]]
        assert subprocess.run(command, cwd="/", capture_output=True).returncode == 0
        for script, *args in (
            ("train.sh", "--epochs", 2, "--segments-per-track", 2, scratch, corpus["train"]),
            ("classify.sh", scratch, corpus["test"], output),
            ("mirex-submission.sh", "validate", corpus["test"], corpus["train"], output),
            ("mirex-submission.sh", "doctor"),
        ):
            done = run_script(unpacked / "bin" / script, *args, env=python, cwd=tmp_path)
            assert done.returncode == 0, (kind, script, done.stderr)
        outputs[kind] = output.read_text()
    assert outputs["wheel"] == outputs["sdist"] == outputs["checkout"]
    for name, text in (("right", A_USERS_FILE), ("wrong", A_USERS_FILE.replace("epochs=2", "epochs=[]"))):
        (tmp_path / f"{name}.py").write_text(text)
        options = ["--strict", "--config-file=", f"--python-executable={environment}/bin/python"]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, f"{name}.py"], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode == 0) == (name == "right"), done.stdout
        assert ('"Recipe" has incompatible type "list[Never]"' in done.stdout) == (name == "wrong"), done.stdout
