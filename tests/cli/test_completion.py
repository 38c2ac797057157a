"""Completions in a shell that has read the output of `mirex-submission completion`."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest
from command_line import call

from mirex_submission.cli.main import COMMANDS


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    return printed("bash", tmp_path_factory.mktemp("completion") / "script")


def printed(shell, path):
    path.write_text(call("completion", shell).stdout)
    return path


def completed(script, *words, cwd):
    """Return the completions that bash offers for the last of the words."""
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


def test_without_shtab_the_status_is_2_and_the_message_has_the_command_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    done = call("completion", "bash")
    assert (done.status, done.stdout) == (2, "")
    assert "[completion]" in done.stderr and "[usage.package]" in done.stderr


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
def test_zsh_completes_them_too(tmp_path):
    """zsh runs on a pseudo-terminal, as it completes nothing without a terminal."""
    script = printed("zsh", tmp_path / "script")
    line = b"mirex-submission classify --prob\t"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        ready = b"READ''Y"  # the terminal echoes it with the quotes, and zsh answers without them
        os.write(terminal, b'autoload -Uz compinit; compinit -u -d dump; eval "$(<%s)"; echo %s\n' % (
            os.fsencode(script), ready))  # fmt: skip
        read_until(terminal, b"READY")
        os.write(terminal, line)
        read_until(terminal, b"abilities")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def read_until(terminal, words):
    text, until_s = b"", time.monotonic() + 60
    while words not in text:
        assert time.monotonic() < until_s, text
        if select.select([terminal], [], [], 1)[0]:
            text += os.read(terminal, 1000)
