"""The documentation site: it builds without warnings and loads nothing from other hosts."""

import re
import subprocess
import sys

import pytest
from project import PROJECT

import mirex_submission
from mirex_submission.cli.main import COMMANDS, _parser

pytestmark = pytest.mark.slow  # .ci/run builds the site too


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(out)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def text_of(page):
    return page.read_text(encoding="utf-8")


def test_every_document_is_a_page_with_links_to_others(site):
    for document in (PROJECT / "docs").glob("*.md"):
        assert f"{document.stem}.html" in text_of(site / "index.html"), document
    assert '<a class="reference internal" href="recipes.html"' in text_of(site / "training.html")


def test_no_page_loads_anything_from_another_host(site):
    of_tags = r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="(?:https?:)?//'
    loaded = re.compile(of_tags + r"""|@import|url\(["']?(?:https?:)?//""")
    pages = [*site.glob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    assert [page.name for page in pages if loaded.search(text_of(page))] == []


def test_each_option_is_documented_once_and_each_command_links_to_its_options(site):
    page = text_of(site / "commands.html")
    terms = re.findall(r'<dt class="sig sig-object std" id="([^"]+)">', page)
    actions = {name: [a for a in _parser(name)._actions if a.option_strings] for name in COMMANDS}
    expected = {tuple(action.option_strings) for of_command in actions.values() for action in of_command}
    assert len(terms) == len(set(terms)) == len(expected)
    sections = dict(zip(COMMANDS, re.split(r'<section id="[a-z-]+">', page)[3:], strict=False))
    for name, of_command in actions.items():
        linked = set(re.findall(r'href="#cmdoption-[^"]+"[^>]*><code[^>]*><span class="pre">([^<]+)<', sections[name]))
        assert linked == {action.option_strings[0] for action in of_command}, name


def test_the_reference_has_every_public_name_and_the_gallery_every_example(site):
    reference, gallery = text_of(site / "api.html"), text_of(site / "gallery.html")
    names = set(mirex_submission.__all__) - {"__version__"}
    assert [name for name in names if f'id="mirex_submission.{name}"' not in reference] == []
    assert "set_fit_request" not in reference
    examples = [path.name for path in (PROJECT / "examples").iterdir() if not path.name.startswith(("_", "."))]
    assert [name for name in examples if f"examples/{name}" not in gallery] == []
