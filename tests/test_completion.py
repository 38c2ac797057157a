"""What a shell completes, once it has read what `mirex-submission completion` prints."""

import shutil
import subprocess
import sys

import pytest

from mirex_submission.cli import COMMANDS


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    return printed("bash", tmp_path_factory.mktemp("completion") / "script")


def printed(shell, path):
    command = [sys.executable, "-m", "mirex_submission", "completion", shell]
    path.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return path


def completed(script, *words, cwd):
    """What bash offers for the last of the words."""
    code = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$(complete -p mirex-submission | sed 's/.* -F \\([^ ]*\\) .*/\\1/')" mirex-submission "${COMP_WORDS[-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    command = ["bash", "--norc", "-c", code, "bash", str(script), "mirex-submission", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {word.strip() for word in done.stdout.splitlines()}


def test_bash_completes_commands_options_values_and_files(bash_script, tmp_path):
    (tmp_path / "some_list.txt").touch()
    (tmp_path / "some_folder").mkdir()
    for words, expected in (
        (["tra"], {"train", "train-and-classify"}),
        ([""], set(COMMANDS)),
        (["train", "--seg"], {"--segments", "--segments-per-track"}),
        (["train", "--model", ""], {"1", "2", "3", "all"}),
        (["classify", "-num"], {"-numThreads"}),
        (["extract", "some"], {"some_list.txt", "some_folder"}),
        (["classify", "scratch", "some_l"], {"some_list.txt"}),
        (["classify", "--probabilities", "some_l"], {"some_list.txt"}),
    ):
        assert completed(bash_script, *words, cwd=tmp_path) == expected, words


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
def test_zsh_takes_its_script(tmp_path):
    script = printed("zsh", tmp_path / "_mirex-submission")
    code = (
        "autoload -Uz compinit && compinit -u -d ./dump && source ./_mirex-submission && echo $_comps[mirex-submission]"
    )
    done = subprocess.run(["zsh", "-f", "-c", code], cwd=script.parent, capture_output=True, text=True)
    assert done.returncode == 0 and "mirex" in done.stdout, done.stderr
