"""Matplotlib draws with its packaged settings, whatever lies in the current, the home or the scratch folder."""

import os
import subprocess
import sys

import pytest
from project import PROJECT

DRAW = """
import hashlib, json, os, sys
import numpy as np
here = os.getcwd()
from mirex_submission.features import picture
from mirex_submission.features.spec import FeatureSpec, ViewSpec
from mirex_submission.features import view_picture
from mirex_submission.training import history
noise = np.random.default_rng(0).normal(size=(100, 40)).astype(np.float32)
drawn = [
    picture.draw(noise, np.array([0, 20]), FeatureSpec(), title="$x$"),
    history.draw({"1": [{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.7}]}),
]
assert os.getcwd() == here and "matplotlib.pyplot" not in sys.modules
print([hashlib.sha256(data).hexdigest() for data in drawn])
"""
SETTINGS = "text.usetex: True\nfont.size: 30\nlines.linewidth: 9\naxes.grid: True\nfont.family: cursive\n"


@pytest.fixture
def places(tmp_path):
    """Folders whose `matplotlibrc` matplotlib may read, and the environment that names them."""
    places = {name: tmp_path / name for name in ("here", "home/.config/matplotlib", "configured", "rc")}
    for path in places.values():
        path.mkdir(parents=True)
    environment = {
        **os.environ, "HOME": str(tmp_path / "home"), "MPLCONFIGDIR": str(places["configured"]),
        "MATPLOTLIBRC": str(places["rc"]), "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": str(PROJECT),
    }  # fmt: skip
    (tmp_path / "temporary").mkdir()
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    return places, environment


def draw(places, environment, code=DRAW):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=places["here"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.slow
def test_settings_files_have_no_influence_and_no_cache_is_written(places, tmp_path):
    places, environment = places
    plain, messages = draw(places, environment)
    assert messages == "" and files_below(tmp_path) == []
    for path in places.values():
        (path / "matplotlibrc").write_text(SETTINGS)
    for name in ("configured", "home/.config/matplotlib"):
        for k in range(300, 500, 10):
            (places[name] / f"fontlist-v{k}.json").write_text('{"__class__": "FontManager"}')
    before = files_below(tmp_path)
    assert draw(places, environment) == (plain, "")
    assert files_below(tmp_path) == before
    # Without the variables it is the home folder that matplotlib reads.
    for name in ("MPLCONFIGDIR", "MATPLOTLIBRC"):
        del environment[name]
    assert draw(places, environment) == (plain, "")
    assert files_below(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"password: 1234\n", b"\xff\xfe\x00", b"text.usetex: 7\nno colon\n"])
def test_a_file_of_settings_is_neither_shown_nor_ends_the_drawing(places, tmp_path, data):
    places, environment = places
    (tmp_path / "secret").write_bytes(data)
    for path in places.values():
        (path / "matplotlibrc").symlink_to(tmp_path / "secret")
    assert draw(places, environment)[1] == ""
    os.mkfifo(places["here"] / "pipe")
    (places["here"] / "matplotlibrc").unlink()
    os.rename(places["here"] / "pipe", places["here"] / "matplotlibrc")
    assert draw(places, environment)[1] == ""


@pytest.mark.slow
def test_settings_of_the_caller_have_no_influence_and_are_kept(places):
    places, environment = places
    plain, _ = draw(places, environment)
    caller = "import matplotlib\nmatplotlib.rcParams.update({'text.usetex': True, 'font.size': 30})\n"
    after = "assert matplotlib.rcParams['text.usetex'] and os.environ['MPLCONFIGDIR'].endswith('configured')\n"
    assert draw(places, environment, caller + DRAW + after)[0] == plain
