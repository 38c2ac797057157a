"""The commands of a packed submission: the one that packs a model, and the one that a pack runs."""

from __future__ import annotations

import argparse

from mirex_submission.cli.options import add_options, path, read_options
from mirex_submission.runs.options import ClassificationOptions, PackOptions, RunOptions


def add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=path, metavar="MODEL", help="scratch folder, or folder of a model in it")
    parser.add_argument("output", type=path, metavar="OUT", help="folder to write")
    add_options(parser, PackOptions)


def pack(args: argparse.Namespace) -> None:
    from mirex_submission.runs.pack import pack

    pack(args.model, args.output, read_options(args, PackOptions), threads=read_options(args, RunOptions).threads)


def add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model_folder", type=path, metavar="MODEL", help="folder of a model, which is only read")
    parser.add_argument("input", type=path, metavar="INPUT", help="list, folder of audio, or audio file")
    parser.add_argument("output", type=path, metavar="OUTPUT", help="file to write, path<TAB>label a line; or a folder")
    add_options(parser, ClassificationOptions, "format", "confidence")
    add_options(parser, RunOptions, "device", "engine", "strict", "no_check", "track_limit")


def predict(args: argparse.Namespace) -> None:
    from mirex_submission.runs.inference import predict

    predict(
        args.model_folder,
        args.input,
        args.output,
        classification=read_options(args, ClassificationOptions),
        run=read_options(args, RunOptions),
    )
