"""All code blocks in docs/python.md run one after the other, with the results that the text shows."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys

import pytest
from project import PROJECT

PAGE = PROJECT / "docs/python.md"


def blocks_of(page):
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_block_is_python_and_its_imports_exist():
    for block in blocks_of(PAGE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.slow
def test_every_block_of_the_page_runs(corpus, tmp_path, run_script):
    for name in ("features", "train", "test"):
        shutil.copy(corpus[name], tmp_path)
    (tmp_path / "truth").mkdir()
    shutil.copy(corpus["truth"], tmp_path / "truth/fold1.txt")
    blocks = blocks_of(PAGE)
    assert len(blocks) == PAGE.read_text(encoding="utf-8").count("```") / 2
    (tmp_path / "page.py").write_text("\nprint('== block')\n".join(blocks))
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "page.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split("== block\n")
    assert outputs[0].startswith("[]\n") and "(8, 4)\n[]\n" in outputs[0]
    assert len(ast.literal_eval(outputs[2])) == 16  # a label for each track
    assert outputs[3].startswith("4 ") and "[audio.empty-class]" in outputs[3] and "learning_rate" in outputs[4]
    assert (tmp_path / "answers/fold1.txt").read_text().count("\n") == 8
    assert not list((tmp_path / "scratch/models").glob("estimator-*"))
    answer = tmp_path / "answer.txt"
    assert run_script("classify.sh", tmp_path / "other", corpus["test"], answer).returncode == 0
