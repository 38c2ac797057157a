"""Sphinx extension: text of the site that is made from the README, the argument parser, the public names and examples.

A page has the line `<!-- generated -->` where its text is put. Names of documents, such as `docs/recipes.md`, become
links to their pages.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import mirex_submission
from mirex_submission.cli.main import COMMANDS, PROGRAM, _parser

PROJECT = Path(__file__).resolve().parent.parent
MARK = "<!-- generated -->"


def readme() -> str:
    """Return the README with links that lead from a page of the site; files that are no page lose their link."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\[([^]]*)\]\((?!\w+:|docs/)[^)]*\)", r"\1", text)
    return text.replace("](docs/", "](")


def changelog() -> str:
    """Return the changelog."""
    return (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def commands() -> str:
    """Return all commands with their arguments, then each option once with the commands that have it."""
    formatter = argparse.HelpFormatter(PROGRAM)
    text, options = ["## Commands"], defaultdict(lambda: defaultdict(list))
    for name, command in COMMANDS.items():
        arguments, names = [], []
        for action in _parser(name)._actions:
            if action.help == argparse.SUPPRESS:
                continue
            shown, help_text = formatter._format_action_invocation(action), formatter._expand_help(action)
            if action.option_strings:
                names.append(action.option_strings[0])
                options[tuple(action.option_strings)][shown, help_text].append(name)
            else:
                arguments.append((shown, action.nargs, help_text))
        usage = " ".join(f"[{shown}]" if nargs == "?" else f"{shown}" for shown, nargs, _ in arguments)
        text += [f"### {name}", command.summary, f"```\n{PROGRAM} {name} [options] {usage}\n```"]
        text += ["\n".join(f"- `{shown}`: {_escaped(help_text)}" for shown, _, help_text in arguments)]
        text += ["Options: " + ", ".join(f"{{option}}`{option}`" for option in sorted(names, key=_by_name)) + "."]
    text.append("## Options")
    for names, definitions in sorted(options.items(), key=lambda item: _by_name(item[0][-1])):
        text.append("```{option} " + ", ".join(names))
        for (shown, help_text), of_commands in definitions.items():
            where = "all commands" if len(of_commands) == len(COMMANDS) else ", ".join(of_commands)
            text.append(f"`{shown}`: {_escaped(help_text)}. *In {where}.*")
        text.append("```")
    return "\n\n".join(text)


def _by_name(option: str) -> str:
    return option.lstrip("-").lower()


def _escaped(text: str) -> str:
    """Escape what Markdown would take for markup; code between backticks stays."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([\\*_<>|\[\]{}#$])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def public_names() -> str:
    """Return the overview of the package and the reference of each public name."""
    public = {name: getattr(mirex_submission, name) for name in mirex_submission.__all__ if name != "__version__"}
    functions = [name for name, value in public.items() if inspect.isfunction(value)]
    classes = [name for name in public if name not in functions]
    text = ["```{eval-rst}", ".. automodule:: mirex_submission", "   :no-members:", "```"]
    for title, names, directive in (("Functions", functions, "autofunction"), ("Classes", classes, "autoclass")):
        text += [f"## {title}", "```{eval-rst}", ".. currentmodule:: mirex_submission", ".. autosummary::"]
        text += ["\n".join(f"   {name}" for name in names)]
        text += [f".. {directive}:: {name}" + "\n   :members:" * (directive == "autoclass") for name in names] + ["```"]
    return "\n\n".join(text)


def gallery() -> str:
    """Return the description and the source of each example."""
    text = []
    for example in sorted((PROJECT / "examples").iterdir()):
        files = [example] if example.is_file() else sorted(path for path in example.iterdir() if path.is_file())
        files = [path for path in files if path.suffix in (".py", ".sh", ".toml", ".md")]
        if not files:
            continue
        if example.is_dir() and (example / "README.md").exists():
            text.append(f"```{{include}} ../examples/{example.name}/README.md\n:heading-offset: 1\n```")
        else:
            (first,) = [path for path in files if path.suffix == ".py" or len(files) == 1]
            text += [f"## {example.name}", description(first.read_text(encoding="utf-8"), first.suffix)]
        for path in files:
            if path.suffix != ".md":
                language = {".py": "python", ".sh": "bash", ".toml": "toml"}[path.suffix]
                name = path.relative_to(PROJECT)
                text += [f"<details><summary><code>{name}</code></summary>"]
                text += [f"```{{literalinclude}} ../{name}\n:language: {language}\n```", "</details>"]
    return "\n\n".join(text)


def description(source: str, suffix: str) -> str:
    """Return the docstring of a Python program, or the comment at the head of a shell script."""
    if suffix == ".py":
        return ast.get_docstring(ast.parse(source)) or ""
    head = re.match(r"#!.*\n((?:#.*\n)*)", source)
    lines = [line for line in head[1].splitlines() if not line.startswith("#SBATCH")] if head else []
    return "\n".join(line[1:].removeprefix(" ") for line in lines)


PAGES = {
    "index": readme,
    "changelog": changelog,
    "commands": commands,
    "api": public_names,
    "gallery": gallery,
}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the generated text into a page."""
    if page in PAGES:
        source[0] = source[0].replace(MARK, PAGES[page]())


def link_documents(app: Sphinx, doctree: nodes.document) -> None:
    """Make a link of each name of a document, and mark short words, such as options, which stay on one line."""
    for name in list(doctree.findall(nodes.literal)):
        if re.fullmatch(r"\S{,24}", name.astext()):
            name["classes"].append("word")
        page = re.fullmatch(r"docs/(\w+)\.md", name.astext())
        if page and not isinstance(name.parent, nodes.reference):
            target = {"refdomain": "std", "reftype": "doc", "reftarget": f"/{page[1]}", "refwarn": True}
            link = addnodes.pending_xref("", refdoc=app.env.docname, refexplicit=True, **target)
            name.replace_self(link)
            link += name


def skip(app: Sphinx, kind: str, name: str, member: object, skipped: bool, options: object) -> bool | None:
    """Leave out what scikit-learn adds to each estimator: its text has references into the site of scikit-learn."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx; pages with generated text are made in every build."""
    app.connect("source-read", fill)
    app.connect("doctree-read", link_documents)
    app.connect("autodoc-skip-member", skip)
    app.connect("env-get-outdated", lambda app, env, added, changed, removed: list(PAGES))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
