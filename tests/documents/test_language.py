"""Plain English: no banned words in texts, and no meaningless names."""

import ast
import re

import pytest
from project import PROJECT

PACKAGES = ("mirex_submission", "benchmarks", "examples", "docs")
NAMES = {"all_there", "each", "found", "said", "told", "what"}
MODULES = {"fault", "heard", "kinds", "shape", "suspects", "usable"}
# Metaphors and incomplete sentences that a reader whose second language is English does not understand.
WORDS = re.compile(
    r"\b(?:heard|mends|(?:is|are) no numbers? any more|nobody reads|(?:goes|go) on to the same bits|unheard)\b",
    re.IGNORECASE,
)
TEXTS = [
    path
    for pattern in ("mirex_submission/**/*.py", "mirex_submission/**/*.jinja", "docs/*.md", "README.md", "bin/*.sh")
    for path in sorted(PROJECT.glob(pattern))
]


def names_in(source):
    """Yield the names of all variables, parameters, functions and classes of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_banned(package):
    sources = sorted((PROJECT / package).rglob("*.py"))
    assert not MODULES & {path.stem for path in sources}
    banned = {
        f"{path.relative_to(PROJECT)}: {name}"
        for path in sources
        for name in NAMES & set(names_in(path.read_text(encoding="utf-8")))
    }
    assert not banned


def test_no_text_has_a_banned_word():
    banned = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert not banned, "\n".join(banned)
