"""MODEL_CARD.md in a model's folder: origin, training figures and limits of the model.

The card depends on the bundle only: the same model has the same card. No program reads it, so users can edit or delete
it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import jinja2

from mirex_submission.features.spec import WINDOW_S
from mirex_submission.models.bundle import CLASSIFIER, AnyBundle, Bundle, ViewBundle
from mirex_submission.system.atomic import write_file
from mirex_submission.system.inner import read_inner
from mirex_submission.system.progress import printable
from mirex_submission.training.checkpoint import Checkpoint

FILE = "MODEL_CARD.md"


def write(folder: Path, bundle: AnyBundle) -> None:
    """Write the card into the model's folder, unless it is there already. Raises StorageError."""
    text, file = as_markdown(bundle).encode(), folder / FILE
    with contextlib.suppress(OSError):
        if read_inner(file, most_bytes=len(text)) == text:
            return
    write_file(file, text)


def as_markdown(bundle: AnyBundle) -> str:
    """Return the card of a model as valid GitHub Markdown, whatever characters its labels have."""
    labels = [track.label for track in bundle.tracks]
    return render(
        "card.md.jinja",
        recipe=bundle.recipe,
        choices={name: _choice(value) for name, value in dataclasses.asdict(bundle.recipe).items()},
        rate_hz=bundle.specs[0].rate_hz,
        classes=[(label, labels.count(label)) for label in bundle.classes],
        usual=bundle.classes[int(bundle.class_shares.argmax())],
        n_tracks=len(labels),
        n_contents=len({track.content for track in bundle.tracks}),
        list_hash=list_hash(bundle),
        audio_hash=audio_hash(bundle),
        packages=[" ".join(package) for package in bundle.packages.values()],
        versions=bundle.versions,
        engine=bundle.engine,
        calibration=bundle.calibration,
        **(_of_networks(bundle) if isinstance(bundle, Bundle) else _of_views(bundle)),
    )


def render(template: str, **values: object) -> str:
    """Fill in a template of this folder; the filter `text` escapes text for Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # it is Markdown: see _text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = _text
    return environment.get_template(template).render(**values)


def list_hash(bundle: AnyBundle) -> str:
    """Compute the SHA-256 of the training list: paths and labels."""
    return _sha256(f"{track.path}\t{track.label}" for track in bundle.tracks)


def audio_hash(bundle: AnyBundle) -> str:
    """Compute the SHA-256 of the training's audio: hashes of the files, and labels."""
    return _sha256(f"{track.content}\t{track.label}" for track in bundle.tracks)


def _of_networks(bundle: Bundle) -> dict[str, object]:
    if bundle.recipe.segments == "consecutive":
        coverage = "all segments are used"
    else:
        coverage = f"{bundle.recipe.segments_per_track} segments, drawn at random, are used"
    networks = [_network(bundle, name) for name in bundle.recipe.networks]
    return {"spec": bundle.spec, "networks": networks, "coverage": coverage, "views": []}


def _of_views(bundle: ViewBundle) -> dict[str, object]:
    views = [
        {"name": spec.view, "package": " ".join(bundle.packages.get(spec.view, ("built in",))), "spec": spec}
        for spec in bundle.specs
    ]
    arrays = bundle.weights[CLASSIFIER].partition(".")[0]
    return {"views": views, "chosen": bundle.chosen, "arrays": arrays, "window_s": WINDOW_S}


def _network(bundle: Bundle, name: str) -> dict[str, object]:
    history = bundle.history[name]
    k = Checkpoint({}, history).best_epoch if bundle.recipe.patience else len(history) - 1
    return {
        "name": name,
        "package": " ".join(bundle.packages.get(name, ("the paper",))),
        "weights": bundle.weights[name].partition(".")[0],
        "epochs": len(history),
        "epoch": k + 1,
        "figures": history[k],
    }


def _choice(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else "default" if value is None else value


def _sha256(lines: Iterable[str]) -> str:
    whole = hashlib.sha256()
    for line in lines:
        whole.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _text(value: object) -> str:
    """Escape every character that Markdown or HTML could interpret, so that the text is shown unchanged."""
    return re.sub(r"""([\\`*_\[\]<>|&~^$#!@:"']|\.(?!\d))""", r"\\\1", printable(str(value)))
