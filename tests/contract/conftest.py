"""Fixture of several contract tests: an engine that can build and run containers."""

import os
import shutil
import subprocess

import pytest
from project import PROJECT


@pytest.fixture(scope="session")
def container(tmp_path_factory):
    """Return the environment variables with an engine that can build images and a name for the image of the tests."""
    engine = os.environ.get("CONTAINER_ENGINE")
    # Without a registry, a builder beside the project may make its own base image.
    builder = PROJECT.parent / "shared/tools/build-image.sh"
    if not engine and builder.is_file() and os.geteuid() == 0:
        wrapper = tmp_path_factory.mktemp("engine") / "podman"
        wrapper.write_text(
            f'#!/bin/bash\nif [ "$1" = build ]; then exec "{builder}" build "${{@: -1}}" "$3" "${{@:4:$#-4}}"; fi\n'
            f'exec "{builder}" podman "$@"\n'
        )
        wrapper.chmod(0o755)
        subprocess.run([builder, "setup"], check=True, capture_output=True)
        engine = str(wrapper)
    engine = engine or shutil.which("docker") or shutil.which("podman")
    if not engine or subprocess.run([engine, "info"], capture_output=True).returncode:
        pytest.skip("no docker or podman that runs, and CONTAINER_ENGINE names none")
    base = "python:3.11-slim-bookworm"
    commands = [[engine, "image", "inspect", base], [engine, "pull", base]]
    if all(subprocess.run(command, capture_output=True).returncode for command in commands):
        pytest.skip(f"{engine} cannot get {base}, on which the image is built")
    return {"CONTAINER_ENGINE": engine, "MIREX_IMAGE": "mirex-submission-test"}
