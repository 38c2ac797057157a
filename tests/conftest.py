"""What several test files need: a small corpus that the example synthesises, and the shell scripts as a caller."""

import os
import subprocess
import sys

import pytest
from project import PROJECT
from synthetic_corpus import write_corpus

# ONNX Runtime would send its maker statistics; what our own commands start is not to rely on this.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """{list name: path} of four styles with six clips of 4 s each; a third is held out."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), n_clips=6, seconds=4.0)


@pytest.fixture
def run_script():
    """Call a script of bin/ as an evaluator does: stdout and stderr apart, exit status unchecked."""

    def run(script, *args, cwd=None, env=None, timeout=300):
        environment = {**os.environ, "MIREX_PYTHON": sys.executable, **(env or {})}
        command = [str(script if os.sep in str(script) else PROJECT / "bin" / script), *map(str, args)]
        return subprocess.run(command, cwd=cwd, env=environment, timeout=timeout, capture_output=True, text=True)

    return run
