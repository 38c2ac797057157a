"""Installed packages: fixed versions and hashes for the image, and no module of the current folder."""

import os
import re
import subprocess

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import PROJECT

LINE = re.compile(r"([a-z0-9-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


def pinned(name):
    """Return the version of each package of a list, by its canonical name."""
    lines = (PROJECT / name).read_text().splitlines()
    rows = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(package): version.split()[0] for package, version in rows}


def required():
    """Return the requirements in setup.py without its extras."""
    text = re.search(r"install_requires=\[(.*?)\]", (PROJECT / "setup.py").read_text(), re.DOTALL)[1]
    return [Requirement(line) for line in re.findall(r'"(.+?)"', text)]


@pytest.mark.parametrize(("device", "tensorflow"), [("cpu", "tensorflow-cpu"), ("gpu", "tensorflow")])
def test_the_image_has_every_requirement_in_the_tested_version_with_its_hash(device, tensorflow):
    name = f"requirements-{device}.txt"
    lines = [line for line in (PROJECT / name).read_text().splitlines() if not line.startswith("#")]
    assert lines == sorted(lines) and all(LINE.fullmatch(line) for line in lines)
    versions, proven = pinned(name), pinned("constraints.txt")
    assert {package: proven.get(package) for package in versions} == versions
    for requirement in required():
        package = tensorflow if requirement.name == "tensorflow" else canonicalize_name(requirement.name)
        assert requirement.specifier.contains(versions[package]), requirement
    assert any(package.startswith("nvidia-") for package in versions) == (device == "gpu")


def test_all_lists_have_the_same_version_of_setuptools():
    build = re.search(r'^requires = \["setuptools==(.+)"\]$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    lists = ("requirements-cpu.txt", "requirements-gpu.txt", "constraints.txt")
    assert {pinned(name)["setuptools"] for name in lists} == {build[1]}


def test_the_image_installs_no_package_without_a_hash():
    installs = re.findall(r"\bpip\b[^&]*? install\b[^&]*", (PROJECT / "Dockerfile").read_text())
    assert len(installs) == 3
    assert all("--require-hashes" in install or "--no-index" in install for install in installs)


def test_installing_runs_no_module_of_the_current_folder(tmp_path):
    for module in ("venv", "pip", "runpy", "ensurepip", "subprocess"):
        (tmp_path / f"{module}.py").write_text("open('imported', 'w')\n")
    (tmp_path / "file").touch()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("PYTHONSAFEPATH", None)
    command = [str(PROJECT / "bin/install.sh"), str(tmp_path / "file" / "venv")]  # this folder cannot be made
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "imported").exists(), done.stderr
