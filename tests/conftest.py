"""Fixtures of several test files: a small synthetic corpus, and a function that runs the shell scripts."""

import importlib
import itertools
import logging
import os
import shutil
import subprocess
import sys

import pytest
from project import PROJECT
from synthetic_corpus import write_corpus

from mirex_submission.system import plugins

# ONNX Runtime would send telemetry from the tests; our own commands must not rely on this variable.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
ENVIRONMENT = dict(os.environ)
LOG = logging.getLogger("mirex_submission")


@pytest.fixture(autouse=True)
def environment():
    """Restore the environment and the log, because commands in this process change them, also in wider fixtures.

    Processes that a test starts inherit the environment.
    """
    put_back()
    yield
    put_back()


def put_back():
    for name in os.environ.keys() - ENVIRONMENT.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    LOG.handlers, LOG.propagate = [], True
    LOG.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The lists, {name: path}, of a corpus of four styles with six clips of 4 s each; a third is held out."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), n_clips=6, seconds=4.0)


@pytest.fixture
def run_script():
    """A function that runs a script of bin/ as an evaluator does: stdout and stderr apart, exit status unchecked."""

    def run(script, *args, cwd=None, env=None, timeout=300):
        environment = {**os.environ, "MIREX_PYTHON": sys.executable, **(env or {})}
        command = [str(script if os.sep in str(script) else PROJECT / "bin" / script), *map(str, args)]
        return subprocess.run(command, cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True)

    return run


@pytest.fixture
def install_package(tmp_path, monkeypatch):
    """A function that installs a package of one module with one network or view into the folder `site` of the test."""
    site, moments = tmp_path / "site", itertools.count()
    monkeypatch.syspath_prepend(site)

    def add(code, group, *, name, value, package="their-package", version="1.0"):
        module = value.partition(":")[0]
        folder = package.replace("-", "_")
        for old in site.glob(f"{folder}-*.dist-info"):
            shutil.rmtree(old)
        metadata = site / f"{folder}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
        (site / f"{module}.py").write_text(code)
        os.utime(site, ns=(0, next(moments)))  # importlib.metadata detects changes by this time
        forget(module)

    def forget(module="their_module"):
        plugins._entries.cache_clear()
        sys.modules.pop(module, None)
        shutil.rmtree(site / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()

    yield add
    forget()
