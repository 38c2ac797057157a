"""What each command takes: options, then the scratch folder, the lists and the output, in MIREX's order.

Nothing here has side effects or loads anything heavy: `--help` is to answer at once.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable

from mirex_submission.features.spec import DEFAULT_BANDS, DEFAULT_FRAMES, WORKING_RATES_HZ
from mirex_submission.networks import registry as networks
from mirex_submission.system import runtime
from mirex_submission.system.workers import BACKENDS
from mirex_submission.training.recipe import (
    CLASS_WEIGHTS,
    MODEL_NAME,
    MODELS,
    PRECISIONS,
    SEGMENT_CHOICES,
    VOTES,
    Recipe,
    is_model,
)

MAX_BAD_PERCENT = 10.0
MAX_THREADS = 100_000  # more are a slip, for which joblib has no room
SHELLS = ("bash", "zsh")
EXPORT_FORMATS = ("savedmodel", "onnx", "tflite")


def common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-numThreads",
        "--threads",
        dest="threads",
        type=threads,
        metavar="N",
        default=runtime.default_threads(),
        help="threads and processes for everything",
    )
    parser.add_argument(
        "--strict", action="store_true", help="status 4 if any track, 3 if any list cannot be used as it is"
    )
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    parser.add_argument("-q", "--quiet", action="count", default=0, help="say only warnings; twice: only errors")


def _add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features")
    group.add_argument(
        "--rate", choices=["auto", *map(str, WORKING_RATES_HZ)], default="auto", help="working sampling rate in Hz"
    )
    group.add_argument("--bands", type=positive(int), metavar="N", default=DEFAULT_BANDS, help="Mel bands")
    group.add_argument("--frames", type=positive(int), metavar="N", default=DEFAULT_FRAMES, help="frames a segment")


def _add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training (the defaults are the paper's)")
    paper = Recipe()
    added = ", ".join(networks.names())
    group.add_argument(
        "--model",
        type=model,
        metavar="|".join((*MODELS, "NAME")),
        default=paper.model,
        help=f"network; all: the mean of the three; NAME: one that an installed package adds, here {added or 'none'}",
    )
    group.add_argument("--epochs", type=positive(int), metavar="N", default=paper.epochs, help="passes over the data")
    group.add_argument(
        "--batch-size", type=positive(int), metavar="N", default=paper.batch_size, help="segments a mini-batch"
    )
    group.add_argument(
        "--learning-rate", type=positive(float), metavar="X", default=paper.learning_rate, help="of SGD, constant"
    )
    group.add_argument("--segments", choices=SEGMENT_CHOICES, default=paper.segments, help="where in a track")
    group.add_argument(
        "--segments-per-track",
        type=positive(int),
        metavar="N",
        default=paper.segments_per_track,
        help="random segments of each track",
    )
    group.add_argument(
        "--class-weights", choices=CLASS_WEIGHTS, default=paper.class_weights, help="balanced: rare classes weigh more"
    )
    _add_vote_argument(group, paper.vote)
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=paper.precision,
        help="auto: the fastest, bfloat16 on GPUs that have it",
    )
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        default=paper.patience,
        help="hold out a tenth of the tracks, end after N epochs that do not lower their loss, keep the best",
    )
    group.add_argument(
        "--groups",
        type=path,
        metavar="FILE",
        help="path<TAB>group a line, such as artists: --patience never splits one",
    )
    group.add_argument("--seed", type=seed, metavar="N", default=paper.seed, help="of everything random")
    group.add_argument(
        "--max-bad",
        type=_percent,
        metavar="PERCENT",
        default=MAX_BAD_PERCENT,
        help="most training tracks that may be unusable",
    )


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    _add_recipe_arguments(parser)
    group = parser.add_argument_group("run")
    group.add_argument(
        "--restart", action="store_true", help="do not go on with what an earlier call for the same tracks has left"
    )
    group.add_argument(
        "--time-limit", type=seconds, metavar="TIME", help="end in time with what is learned by then: 20h, 90m, 30s"
    )
    group.add_argument(
        "--checkpoint-every",
        type=seconds,
        metavar="TIME",
        default="5m",
        help="keep the training's state after the first epoch that ends so long after the last time; 0: every epoch",
    )
    group.add_argument(
        "--tensorboard", type=path, metavar="DIR", help="also write loss and accuracy of every epoch for TensorBoard"
    )
    group.add_argument("--no-picture", action="store_true", help="do not draw history.png, which takes half a second")


def add_device(parser: argparse.ArgumentParser, help_: str = "auto: a GPU if there is one") -> None:
    """--device; its default is $MIREX_DEVICE, which the image for GPUs sets."""
    parser.add_argument(
        "--device",
        type=_device,
        metavar="auto|cpu|gpu|gpu:1,2",
        default=os.environ.get("MIREX_DEVICE") or "auto",
        help=help_,
    )


def _add_vote_argument(parser: argparse._ActionsContainer, default: str | None) -> None:
    shown = "" if default else " (default: as it was trained)"
    parser.add_argument("--vote", choices=VOTES, default=default, help=f"how segments decide a track{shown}")


def _add_name_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", type=name, help="of the model, to keep several in one scratch folder (default: none)")


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=path, metavar="OUTPUT", help="file to write: path<TAB>label a line")
    parser.add_argument("--probabilities", type=path, metavar="CSV", help="also write each track's class probabilities")


def _add_no_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-check", action="store_true", help="begin without a look at the disk, memory and the files' headers"
    )


def _add_scratch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scratch", type=path, metavar="SCRATCH", help="folder for features and models, kept between calls"
    )


def extract(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("feature_list", type=path, metavar="FEATURELIST", help="one path a line")
    _add_feature_arguments(parser)
    group = parser.add_argument_group("work")
    group.add_argument(
        "--jobs",
        type=_jobs,
        metavar="N",
        help="processes, as joblib means it: -1 is all (default: -numThreads; a cluster: all of it, Dask always)",
    )
    group.add_argument("--backend", choices=BACKENDS, default="loky", help="this machine (loky) or a cluster")
    group.add_argument(
        "--scheduler", type=path, metavar="ADDRESS", help="of the Dask scheduler or the Ray head to join"
    )
    group.add_argument(
        "--shard", type=_shard, metavar="I/N", default="1/1", help="extract only the I-th of N shares of the tracks"
    )
    group.add_argument(
        "--verify", action="store_true", help="read and check all stored features and their audio, and mend them"
    )
    group.add_argument("--plot", type=path, metavar="DIR", help="draw each track's frames and segments into DIR")
    _add_no_check(parser)


def features(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("track", type=path, metavar="TRACK", help="an audio file, or a stored feature file")
    parser.add_argument(
        "--scratch", type=path, metavar="SCRATCH", help="look the track up there (default: compute its features)"
    )
    parser.add_argument("--export", type=path, metavar="FILE", help="write the frames to FILE, .npy or .csv")
    _add_feature_arguments(parser)


def train(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument(
        "feature_list", type=path, metavar="FEATURELIST", nargs="?", help="one path a line: all files of the task"
    )
    parser.add_argument("train_list", type=path, metavar="TRAINLIST", help="path<TAB>label a line")
    _add_name_argument(parser)
    add_device(parser)
    _add_feature_arguments(parser)
    _add_training_arguments(parser)
    _add_no_check(parser)
    group = parser.add_argument_group("instead")
    group.add_argument("--dry-run", action="store_true", help="print what would be done, and how long it would take")


def classify(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("test_list", type=path, metavar="TESTLIST", help="one path a line")
    _add_output_arguments(parser)
    _add_name_argument(parser)
    add_device(parser)
    group = parser.add_argument_group("decision")
    group.add_argument(
        "--model",
        type=model,
        metavar="|".join((*MODELS, "NAME")),
        help="one network alone of a model that was trained with `all` (default: as it was trained)",
    )
    _add_vote_argument(group, None)
    _add_no_check(parser)


def train_and_classify(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument("train_list", type=path, metavar="TRAINLIST", help="path<TAB>label a line")
    parser.add_argument("test_list", type=path, metavar="TESTLIST", help="one path a line")
    _add_output_arguments(parser)
    _add_name_argument(parser)
    add_device(parser)
    _add_feature_arguments(parser)
    _add_training_arguments(parser)
    _add_no_check(parser)


def check(parser: argparse.ArgumentParser) -> None:
    _add_scratch(parser)
    parser.add_argument(
        "lists", type=path, metavar="LIST", nargs="*", help="feature, training and test lists, known by what they hold"
    )
    _add_name_argument(parser)
    add_device(parser)
    _add_feature_arguments(parser)
    _add_recipe_arguments(parser)


def export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("bundle", type=path, metavar="BUNDLE", help="SCRATCH/model, or SCRATCH/models/NAME")
    parser.add_argument("--format", choices=EXPORT_FORMATS, required=True, help="what to make of it")
    parser.add_argument(
        "--output",
        type=path,
        metavar="PATH",
        help="file, or folder of a savedmodel, to write or replace (default: the bundle's name with the format, here)",
    )
    parser.add_argument(
        "--audio",
        type=path,
        metavar="FILE",
        action="append",
        help="audio to verify the export on; may be repeated (default: a training track of each class)",
    )


def doctor(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def completion(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(scratch=None)
    parser.add_argument("shell", choices=SHELLS, help="whose syntax to print")


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
        return value

    convert.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return convert


def threads(text: str) -> int:
    value = int(text)
    if not 0 < value <= MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {MAX_THREADS}")
    return value


def seconds(text: str) -> float:
    """A time as people write it: 20h, 90m, 30s, 30."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number and s, m, h or d, as 20h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to {2**32 - 1}")
    return value


def model(text: str) -> str:
    if not is_model(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose one of {', '.join(MODELS)}, or a network that a package adds"
        )
    return text


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 100")
    return value


def _jobs(text: str) -> int:
    try:
        n_jobs = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
    if n_jobs == 0:
        raise argparse.ArgumentTypeError("0 processes can do nothing")
    return n_jobs


def _device(text: str) -> str:
    match = re.fullmatch(r"auto|cpu|gpu(:\d+(,\d+)*)?", text)
    numbers = text.partition(":")[2].split(",")
    if not match or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r}: give auto, cpu, gpu, or the numbers of GPUs, as gpu:1,2")
    return text


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: give I/N with I from 1 to N, as 2/3")
    return int(match[1]), int(match[2])


def path(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty path: is a variable unset?")
    return text


def name(text: str) -> str:
    if not re.fullmatch(MODEL_NAME, text):
        raise argparse.ArgumentTypeError(f"{text!r}: use letters, digits, '_', '-' and '.' only")
    return text


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of every option that takes a value and has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.nargs != 0 and action.default is not None else action.help
