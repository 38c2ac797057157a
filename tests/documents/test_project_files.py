"""The usual files of a project on GitHub: they agree with each other and with the scripts."""

import re

import pytest
import yaml
from project import PROJECT

import mirex_submission

TEMPLATES = PROJECT / ".github/ISSUE_TEMPLATE"


def text_of(name):
    return (PROJECT / name).read_text(encoding="utf-8")


def test_the_changelog_and_the_citation_have_this_version():
    versions = re.findall(r"^## (.+)$", text_of("CHANGELOG.md"), re.MULTILINE)
    released = [version for version in versions if version != "Unreleased"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \((not released|\d{4}-\d\d-\d\d)\)", version) for version in released)
    assert released[0].split()[0] == mirex_submission.__version__
    assert yaml.safe_load(text_of("CITATION.cff"))["version"] == mirex_submission.__version__


def test_the_changelog_has_the_usual_headings():
    headings = set(re.findall(r"^### (.+)$", text_of("CHANGELOG.md"), re.MULTILINE))
    assert headings <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_pre_commit_runs_the_linters_of_the_tests_and_downloads_nothing():
    (repository,) = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    linters = text_of("bin/test.sh").splitlines()
    for hook in repository["hooks"]:
        command = hook["entry"].removeprefix(".venv/bin/")
        assert hook["language"] == "system" and any(line.startswith(command) for line in linters), command
    (shellcheck,) = [hook for hook in repository["hooks"] if hook["id"] == "shellcheck"]
    (line,) = [line for line in linters if line.startswith("shellcheck ")]
    scripts = [str(path.relative_to(PROJECT)) for pattern in line.split()[1:] for path in PROJECT.glob(pattern)]
    assert scripts and [name for name in scripts if not re.search(shellcheck["files"], name)] == []


def test_the_workflow_runs_the_ci_script():
    jobs = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["tests"]["steps"]]
    assert "sphinx-build -W" in text_of(".ci/run") and "bin/test.sh" in text_of(".ci/run")


@pytest.mark.parametrize("template", ["bug.yml", "question.yml"])
def test_an_issue_asks_for_the_output_of_doctor(template):
    form = yaml.safe_load((TEMPLATES / template).read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    labels = [part["attributes"]["label"] for part in form["body"] if part["type"] == "textarea"]
    assert "Output of `mirex-submission doctor`" in labels
    assert len({part["id"] for part in form["body"] if "id" in part}) == len(labels)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "SECURITY.md"])
def test_every_named_file_exists(document):
    named = re.findall(r"`((?:bin|docs)/[\w.-]+|[A-Z]+(?:\.md)?)`", text_of(document))
    assert named and [name for name in named if not (PROJECT / name).is_file()] == []
