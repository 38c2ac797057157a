"""Wheels of installed packages: which are needed, and that a wheel made again is whole and unchanged or not made."""

import base64
import subprocess
import sys
import zipfile
from hashlib import sha256
from importlib.metadata import Distribution

import pytest

from mirex_submission.errors import InstallationError, UsageError
from mirex_submission.system import wheels

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"


def digest(data):
    return base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Install packages of one module into a folder on Python's path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def add(name, *requires, record=True, **files):
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        lines = [f"Requires-Dist: {line}\n" for line in requires]
        files = {
            f"{name}.py": f"name = {name!r}\n",
            f"{info.name}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + "".join(lines),
            f"{info.name}/WHEEL": WHEEL,
            f"{info.name}/INSTALLER": "pip",
            **{file.replace("__", "/"): text for file, text in files.items()},
        }
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        rows = [f'"{file}",sha256={digest(text.encode())},{len(text)}\n' for file, text in files.items()]
        if record:
            (info / "RECORD").write_text("".join([*rows, f"{info.name}/RECORD,,\n", f"../../bin/{name},,\n"]))
        return Distribution.at(info)

    add.folder = folder
    return add


def test_needed_follows_extras_and_skips_requirements_of_other_systems(site):
    site("aa_top", "bb-middle[more]>=1", "zz-elsewhere; sys_platform == 'win32'", "zz-test; extra == 'test'")
    site("bb_middle", "cc-low; extra == 'more'", "dd-own", "mirex-submission", "aa-top")
    site("cc_low")
    site("dd_own")
    assert [package.name for package in wheels.needed(["aa-top"])] == ["aa_top", "bb_middle", "cc_low", "dd_own"]


def test_a_package_that_is_missing_is_named(site):
    site("aa_top", "bb-missing>=2")
    with pytest.raises(InstallationError, match=r"bb-missing>=2 is not installed.*\[pack.package\]"):
        wheels.needed(["aa-top"])


def test_a_wheel_made_again_is_installed_by_pip_with_all_its_files(site, tmp_path):
    package = site("aa_top", **{"data__a, b.txt": "text"})
    path = wheels.rebuild(package, tmp_path)
    assert path.name == "aa_top-1.0-py2.py3-none-any.whl"
    before = path.read_bytes()
    assert wheels.rebuild(package, tmp_path).read_bytes() == before
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        tmp_path / "to",
        path,
    ]
    subprocess.run(command, check=True)
    assert (tmp_path / "to/aa_top.py").read_text() == "name = 'aa_top'\n"
    assert (tmp_path / "to/data/a, b.txt").read_text() == "text"
    names = zipfile.ZipFile(path).namelist()
    assert not [name for name in names if ".." in name or name.endswith("INSTALLER")] and len(names) == len(set(names))


def test_a_changed_or_incomplete_package_gives_no_wheel(site, tmp_path):
    changed, lost, bare = site("aa_changed"), site("bb_lost"), site("cc_bare", record=False)
    (site.folder / "aa_changed.py").write_text("name = 'another'\n")
    (site.folder / "bb_lost.py").unlink()
    for package, reason in ((changed, "changed since"), (lost, "No such file"), (bare, "no RECORD")):
        with pytest.raises(InstallationError, match=rf"{reason}.*\[pack.record\]"):
            wheels.rebuild(package, tmp_path)


def test_an_editable_package_gives_no_wheel_and_a_local_one_is_recognised(site, tmp_path):
    local = site("aa_local")
    assert not wheels.is_local(local)
    url = site.folder / "aa_local-1.0.dist-info/direct_url.json"
    url.write_text('{"url": "file:///project", "dir_info": {}}')
    assert wheels.is_local(local) and wheels.rebuild(local, tmp_path)
    url.write_text('{"url": "file:///project", "dir_info": {"editable": true}}')
    with pytest.raises(InstallationError, match=r"installed with -e.*\[pack.record\]"):
        wheels.rebuild(local, tmp_path)


def test_a_failed_download_suggests_offline(site, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UsageError, match=r"--offline.*\[pack.download\]"):
        wheels.download([site("aa_nowhere")], tmp_path)
