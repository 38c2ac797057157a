"""Modules that happen to lie in the current folder are imported by no process of ours, however it was started."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from project import PROJECT

from mirex_submission.errors import InstallationError
from mirex_submission.system import import_path
from mirex_submission.system.import_path import leave_out_current_folder
from mirex_submission.system.workers import check_imports

N_TRACKS = 9  # for fewer, one process that is forked does the work, and imports nothing
EXTRACT = "from mirex_submission import RunOptions, extract; extract('scratch', 'list.txt', run=RunOptions(threads=2))"
# What a worker process loads, but not Python's own start of `python -m`.
NAMES = (
    "typing",
    "pathlib",
    "argparse",
    "random",
    "copy",
    "socket",
    "signal",
    "numpy",
    "soundfile",
    "msgspec",
    "joblib/__init__",
)


@pytest.fixture
def folder(tmp_path):
    """A current folder with tracks, a list, and modules that leave a sign when they are imported."""
    (tmp_path / "joblib").mkdir()
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    noise = np.random.default_rng(0)
    for k in range(N_TRACKS):
        soundfile.write(tmp_path / f"{k}.wav", noise.uniform(-0.5, 0.5, 30_000), 22050)
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/{k}.wav\n" for k in range(N_TRACKS)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "script.py").write_text(EXTRACT)
    return tmp_path


def environment(**changed):
    """The environment without the settings that this test is about."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    return {**kept, "MIREX_PYTHON": sys.executable, **changed}


CALL = ("extract", "--threads", "2", "scratch", "list.txt")


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        pytest.param([str(Path(sys.executable).parent / "mirex-submission"), *CALL], {}, marks=pytest.mark.slow),
        pytest.param([sys.executable, "-m", "mirex_submission", *CALL], {}, marks=pytest.mark.slow),
        ([sys.executable, "elsewhere/script.py"], {}),
        pytest.param([str(PROJECT / "bin/extractFeatures.sh"), *CALL[1:]], {}, marks=pytest.mark.slow),
        ([str(PROJECT / "bin/extractFeatures.sh"), *CALL[1:]], {"PYTHONPATH": "::/nowhere:"}),
        pytest.param(
            [str(Path(sys.executable).parent / "mirex-submission"), *CALL],
            {"PYTHONPATH": "elsewhere"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["console script", "python -m", "Python API", "bin", "bin with empty entries", "with another folder"],
)
def test_no_process_imports_from_the_current_folder(folder, command, changed):
    done = subprocess.run(command, cwd=folder, env=environment(**changed), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "scratch").rglob("*.logmel"))) == N_TRACKS
    assert not (folder / "imported").exists(), (folder / "imported").read_text()


@pytest.fixture
def imports(tmp_path, monkeypatch):
    """Set the path of imports and $PYTHONPATH, with tmp_path as the current folder: what stays of both."""
    monkeypatch.chdir(tmp_path)

    def left(path, python_path=None):
        monkeypatch.setattr(sys, "path", [str(tmp_path) if entry == "HERE" else entry for entry in path])
        monkeypatch.setenv("PYTHONPATH", python_path or "")
        if python_path is None:
            monkeypatch.delenv("PYTHONPATH")
        monkeypatch.setenv("PYTHONSAFEPATH", "")
        leave_out_current_folder()
        assert os.environ["PYTHONSAFEPATH"] == "1"
        return ["HERE" if entry == str(tmp_path) else entry for entry in sys.path], os.environ.get("PYTHONPATH")

    return left


@pytest.mark.parametrize(
    ("path", "python_path", "left"),
    [
        (["", "/lib"], None, (["/lib"], None)),
        (["HERE", "/lib"], None, (["/lib"], None)),
        (["/bin", "HERE", "/more", "/lib"], ":/more", (["/bin", "/more", "/lib"], "/more")),
        (["HERE", "/more", "HERE", "/lib"], "/more:", (["/more", "/lib"], "/more")),
        # Named on purpose: as it is, by another spelling, or by an installed package that is developed there.
        (["HERE", "/lib"], ".", (["HERE", "/lib"], ".")),
        (["/bin", "HERE", "/lib"], "../{}", (["/bin", "HERE", "/lib"], "../{}")),
        (["/bin", "/lib", "/packages", "HERE"], None, (["/bin", "/lib", "/packages", "HERE"], None)),
    ],
)
def test_the_current_folder_is_removed_unless_it_is_named(imports, tmp_path, path, python_path, left):
    python_path = python_path and python_path.format(tmp_path.name)
    assert imports(path, python_path) == (left[0], left[1] and left[1].format(tmp_path.name))


def test_the_folder_of_this_package_stays(imports, monkeypatch, tmp_path):
    monkeypatch.setattr(import_path, "_PACKAGES", str(tmp_path))
    assert imports(["HERE", "/lib"]) == (["HERE", "/lib"], None)


def test_a_run_from_python_restores_the_import_path(folder):
    code = f"import sys; sys.path.append(''); before = sys.path[:]; {EXTRACT}; assert sys.path == before, sys.path"
    (folder / "elsewhere" / "script.py").write_text(code)
    command = [sys.executable, "elsewhere/script.py"]
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "joblib.externals.loky.backend.popen_loky_posix", "--help"],
        [sys.executable, "-c", "from multiprocessing.resource_tracker import main; print('usage:')"],
        [sys.executable, "-c", "from joblib.externals.loky.backend.resource_tracker import main; print('usage:')"],
    ],
)
def test_python_310_starts_its_processes_without_the_current_folder(folder, command):
    """What Python 3.11 does for PYTHONSAFEPATH, shown in every version without it."""
    started = []
    import_path._safe_start(lambda command, *args: started.append((command, args)))([*map(os.fsencode, command)], 1, 2)
    ((safe, args),) = started
    assert args == (1, 2)
    for argv, is_safe in ((safe, True), (command, False)):
        done = subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True)
        assert (done.returncode == 0 and "usage:" in done.stdout and not (folder / "imported").exists()) == is_safe


def test_the_start_of_other_processes_is_not_changed():
    for command in (["/bin/true", "-m", "x"], [sys.executable, "-m", "venv"], [sys.executable]):
        assert import_path._safe_start(lambda command: command)(command) == [*map(os.fsencode, command)]


# A worker that cannot import.

POISON = """
import sys
if any("popen_loky" in arg for arg in sys.orig_argv):
    {statement}
sys.path.remove({folder!r})
del sys.modules["soundfile"]
import soundfile
sys.path.insert(0, {folder!r})
"""


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("raise ImportError('a broken wheel')", 1, "installation.worker"),
        pytest.param("import module_that_is_nowhere", 1, "installation.worker", marks=pytest.mark.slow),
        pytest.param(
            "raise ImportError('libx.so: failed to map segment from shared object')",
            9,
            "limits.memory",
            marks=pytest.mark.slow,
        ),
        ("sys.exit(7)", 9, "limits.workers"),
    ],
)
def test_a_worker_that_cannot_import_is_named_once_and_no_track_is_blamed(folder, statement, status, code):
    (folder / "elsewhere" / "soundfile.py").write_text(
        POISON.format(statement=statement, folder=str(folder / "elsewhere"))
    )
    command = [str(PROJECT / "bin/extractFeatures.sh"), *CALL[1:]]
    poisoned = environment(PYTHONPATH=str(folder / "elsewhere"))
    done = subprocess.run(command, cwd=folder, env=poisoned, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert done.stderr.count(f"[{code}]") == 1 and "[audio." not in done.stderr


def test_a_failed_start_is_distinguished_from_a_killed_process(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "broken.py").write_text("def broken(:")
    (folder / "short.py").write_text("raise MemoryError")
    with pytest.raises(InstallationError, match=r"SyntaxError: .*\[installation\.worker\]"):
        check_imports("broken")
    check_imports("short")
    check_imports("os")
