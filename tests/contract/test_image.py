"""The image: tests without building it, and slow tests of the built image with the flags of a blind evaluation."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from processes import PATIENCE_S, wait_for
from project import PROJECT

from mirex_submission.networks import engine as engines

USER = 54321
HARDENED = (
    "--network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --pids-limit 256 "
    "--shm-size 128m"
)
CAUSES = ("no driver", "--gpus all", "NVIDIA container runtime", "image for CPUs")
# An engine that prints its arguments; it has neither a GPU nor an image named `none`.
RECORDER = """#!/bin/sh
case "$*" in *none:* | *gpu*--entrypoint*) exit 125 ;; esac
[ "$1" = image ] || printf '%s\\n' "$*"
"""


@pytest.fixture
def recorded(tmp_path, run_script):
    """Call a script with an engine that only prints its arguments."""
    engine = tmp_path / "docker"
    engine.write_text(RECORDER)
    engine.chmod(0o755)
    return lambda script, *args: run_script(script, *args, env={"CONTAINER_ENGINE": str(engine)})


def test_the_build_context_has_all_copied_files_and_is_small(tmp_path):
    if not importlib.util.find_spec("setuptools"):  # an import here would affect other tests
        pytest.skip("setuptools, which builds the package, is not installed")
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == allowed
    for name in allowed:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(PROJECT / name, tmp_path / name)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 2_000_000
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    package = PROJECT / "mirex_submission"
    wanted = {path.relative_to(PROJECT) for path in package.rglob("*") if path.suffix in (".py", ".css", ".jinja")}
    built = {path.relative_to(tmp_path / "built") for path in (tmp_path / "built").rglob("*") if path.is_file()}
    assert wanted <= built


def test_a_run_has_no_network_and_access_only_to_the_given_paths(recorded, tmp_path):
    done = recorded(
        "docker-run.sh", "--user", "7:8", "--read", "/usr", "--write", tmp_path / "new", "train", "a b", "-v"
    )
    assert done.returncode == 0, done.stderr
    volumes = f"--volume /usr:/usr:ro --volume {tmp_path}/new:{tmp_path}/new"
    run = f"run --rm {HARDENED} --user 7:8 --no-healthcheck {volumes} mirex-submission:cpu train a b -v"
    assert done.stdout.splitlines() == [run]
    assert (tmp_path / "new").is_dir()
    assert f"--user {os.getuid()}:{os.getgid()} " in recorded("docker-run.sh", "doctor").stdout


def test_a_build_passes_device_version_revision_and_further_options(recorded):
    done = recorded("docker-build.sh", "--gpu", "--no-cache")
    assert re.fullmatch(
        r"build --tag mirex-submission:gpu --build-arg DEVICE=gpu --build-arg VERSION=\d+\.\S+ "
        rf"--build-arg REVISION=([0-9a-f]{{40}}(-dirty)?)? --no-cache {re.escape(str(PROJECT))}\n", done.stdout
    )  # fmt: skip


def test_an_engine_without_a_gpu_is_status_6_with_the_usual_causes(recorded):
    done = recorded("docker-run.sh", "--gpu", "train", "scratch", "list")
    assert done.returncode == 6 and done.stdout == ""
    for cause in ("no driver", "nvidia-smi", "NVIDIA container runtime", "--cpu instead of --gpu"):
        assert cause in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no call: see --help"),
        (["--tpu", "train"], "no option --tpu: see --help"),
        (["--read"], "--read needs a value"),
        (["--read", "lists", "train"], "--read lists: give an absolute path without ':'"),
        (["--write", "/a:b", "train"], "--write /a:b: give an absolute path without ':'"),
        (["--read", "/not/there", "train"], "--read /not/there: does not exist"),
    ],
)
def test_a_run_with_wrong_arguments_is_status_2(recorded, arguments, message):
    done = recorded("docker-run.sh", *arguments)
    assert (done.returncode, done.stderr) == (2, f"docker-run.sh: {message}\n")


@pytest.mark.parametrize("script", ["docker-run.sh", "docker-build.sh"])
def test_without_an_engine_the_status_is_2(run_script, tmp_path, script):
    for tool in ("bash", "env", "id", "sed", "dirname", "readlink"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    done = run_script(
        script, *(["doctor"] if script == "docker-run.sh" else []), env={"PATH": str(tmp_path), "CONTAINER_ENGINE": ""}
    )
    assert done.returncode == 2 and "neither docker nor podman is installed" in done.stderr


def test_the_message_for_a_missing_image_has_the_command_to_build_it(recorded, monkeypatch):
    monkeypatch.setenv("MIREX_IMAGE", "none")
    done = recorded("docker-run.sh", "doctor")
    assert done.returncode == 2 and "build it with bin/docker-build.sh --cpu" in done.stderr


def test_an_engine_that_does_not_run_is_not_reported_as_a_missing_image(run_script):
    done = run_script("docker-run.sh", "doctor", env={"CONTAINER_ENGINE": "false"})
    assert done.returncode == 2 and "docker-run.sh: false does not run" in done.stderr
    assert "no image" not in done.stderr


@pytest.mark.parametrize("script", ["docker-run.sh", "docker-build.sh", "docker-blind-test.sh"])
def test_help_is_the_first_comment_of_the_script(run_script, script):
    done = run_script(script, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"{script} [--cpu|--gpu] ") and "#" not in done.stdout


# The following tests build the image.


@pytest.fixture(scope="session")
def blind(container, tmp_path_factory):
    """Run the blind test; return its completed process and its folder."""
    folder = tmp_path_factory.mktemp("blind")
    command = [str(PROJECT / "bin/docker-blind-test.sh"), "--cpu", str(folder)]
    environment = {**os.environ, "MIREX_PYTHON": sys.executable, **container}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done, folder


@pytest.fixture
def run_image(blind, container, run_script):
    """Call docker-run.sh on the corpus of the blind test, as a user that the image does not know."""
    corpus = blind[1] / "corpus"

    def run(*args, write=(), user=USER):
        mounts = [word for folder in write for word in ("--write", folder)]
        return run_script("docker-run.sh", "--user", f"{user}:{user}", "--read", corpus, *mounts, *args, env=container)

    return run


@pytest.fixture
def run_engine(container):
    """Run a program of the image with the same flags and others; return the completed process."""

    def run(program, *args, options=(), **more):
        flags = [*HARDENED.split(), "--no-healthcheck", "--user", f"{USER}:{USER}", *options]
        image = f"{container['MIREX_IMAGE']}:cpu"
        command = [container["CONTAINER_ENGINE"], "run", "--rm", *flags, "--entrypoint", program, image, *args]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, **more)

    return run


@pytest.fixture
def writable(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.mark.slow
def test_a_blind_evaluation_writes_an_output_that_the_evaluator_accepts(blind):
    done, folder = blind
    assert "can read this output and counts all 16 tracks" in done.stderr
    output = folder / "results/output.txt"
    assert len(output.read_text().splitlines()) == 16
    if os.geteuid() == 0:  # otherwise the engine decides the owner
        assert output.stat().st_uid == USER


@pytest.mark.slow
def test_the_image_has_kernels_bytecode_labels_and_a_health_check_and_no_compiler(
    blind, container, run_image, run_engine
):
    facts = json.loads(run_image("doctor", "--json").stdout)
    assert facts["status"] == 0
    for part in ("kernel of features", "kernel of networks"):
        assert facts["facts"][part]["value"].startswith("compiled")
    assert run_engine("sh", "-c", "command -v cc gcc ld as").stdout == ""
    uncompiled = (
        "import importlib.util, os, pathlib, sys, mirex_submission, tensorflow; print([str(path)"
        "  for module in (os, mirex_submission, tensorflow)"
        "  for path in pathlib.Path(module.__file__).parent.glob('*.py')"
        "  if not os.path.exists(importlib.util.cache_from_source(str(path)))])"
    )
    assert run_engine("python", "-c", uncompiled).stdout == "[]\n"
    command = [container["CONTAINER_ENGINE"], "image", "inspect", f"{container['MIREX_IMAGE']}:cpu"]
    image = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[0]
    config = {**image, **image["Config"]}  # podman has the health check outside of Config
    assert config["User"] == "65532:65532" and "doctor" in config["Healthcheck"]["Test"]
    assert config["Labels"]["org.opencontainers.image.version"] == facts["version"]


@pytest.mark.slow
@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_missing_gpu_is_status_6_in_the_image_and_by_the_engine(run_image, writable, blind, container, run_script):
    train = ["train", writable, blind[1] / "corpus/train.txt"]
    done = run_image(*train, "--device", "gpu", write=[writable])
    assert done.returncode == 6 and all(cause in done.stderr for cause in CAUSES), done.stderr
    image = container["MIREX_IMAGE"]
    subprocess.run([container["CONTAINER_ENGINE"], "tag", f"{image}:cpu", f"{image}:gpu"], check=True)
    done = run_script("docker-run.sh", "--gpu", *train, env=container)
    assert done.returncode == 6 and "NVIDIA container runtime" in done.stderr, done.stderr
    assert os.listdir(writable) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["", "tensorflow"])
def test_without_a_home_and_with_little_shared_memory_both_engines_train(blind, run_engine, writable, backend):
    corpus = blind[1] / "corpus"
    calls = ["train", "--epochs", 1, writable, corpus / "features.txt", corpus / "train.txt"]
    options = ["--shm-size", "64m", "--volume", f"{corpus}:{corpus}:ro", "--volume", f"{writable}:{writable}"]
    environment = ["-u", "HOME", f"KERAS_BACKEND={backend}"]
    done = run_engine("env", *environment, "mirex-submission", *calls, options=options)
    assert done.returncode == 0, done.stderr
    assert ("on TensorFlow" if backend else "native kernel") in done.stderr and "WARNING" not in done.stderr


@pytest.mark.slow
def test_a_whole_cross_validation_runs_in_the_image(run_image, writable, blind):
    audio, folds = blind[1] / "corpus/audio", writable / "folds"
    done = run_image("folds", "--from-folders", audio, "--folds", "2", "--out", folds, write=[writable])
    assert done.returncode == 0, done.stderr
    options = ["--train-options", "mirex_submission=--epochs 1", "--out", writable / "out"]
    done = run_image("crossval", folds, "--scratch", writable / "scratch", *options, write=[writable])
    assert done.returncode == 0, done.stderr
    done = run_image("report", writable / "out", "-o", writable / "report.html", write=[writable])
    assert done.returncode == 0 and (writable / "report.html").stat().st_size > 10_000, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("early", [True, False])
def test_a_stopped_container_ends_at_once_with_143_and_the_training_resumes_later(
    blind, container, run_image, writable, early
):
    corpus, name = blind[1] / "corpus", f"mirex-stopped-{os.getpid()}-{early}"
    engine, image = container["CONTAINER_ENGINE"], f"{container['MIREX_IMAGE']}:cpu"
    flags = [*HARDENED.split(), "--no-healthcheck", "--name", name, "--user", f"{USER}:{USER}"]
    volumes = ["--volume", f"{corpus}:{corpus}:ro", "--volume", f"{writable}:{writable}"]
    train = [
        "train",
        "--epochs",
        "60",
        "--segments-per-track",
        "10",
        "--checkpoint-every",
        "0",
        str(writable),
        str(corpus / "train.txt"),
    ]
    command = [engine, "run", "--rm", *flags, *volumes, image, *train]
    running = [engine, "container", "inspect", "--format", "{{.State.Running}}", name]
    log = writable.parent / "log"
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        if early:  # Python has just started
            wait_for(lambda: subprocess.run(running, capture_output=True, text=True).stdout == "true\n")
        else:
            wait_for(lambda: list(writable.glob("model/*.checkpoint")))
        started_s = time.monotonic()
        subprocess.run([engine, "kill", "--signal", "TERM", name], check=True, capture_output=True)
        assert process.wait(PATIENCE_S) == 143, log.read_text()
        assert time.monotonic() - started_s < 30
    assert "Traceback" not in log.read_text()
    if not early:
        done = run_image(*train, write=[writable])
        assert done.returncode == 0 and "resumes after epoch" in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that belongs to somebody else")
def test_a_scratch_folder_that_is_not_writable_is_status_7_with_its_path(run_image, writable, blind):
    writable.chmod(0o755)
    done = run_image("train", writable, blind[1] / "corpus/train.txt", write=[writable])
    assert done.returncode == 7 and str(writable) in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert os.listdir(writable) == []
