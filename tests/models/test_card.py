"""MODEL_CARD.md: what it tells, that it is Markdown whatever a label holds, and that no model needs it."""

import dataclasses
import hashlib

import pytest
from markdown_it import MarkdownIt

from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.models import card
from mirex_submission.models.bundle import Bundle, TrainedTrack
from mirex_submission.protocol.lists import read_labelled, read_paths
from mirex_submission.runs import fitting
from mirex_submission.runs.classify import classify
from mirex_submission.runs.options import RunOptions, TrainingOptions
from mirex_submission.training.recipe import Recipe

LABELS = [
    "a | b", "`code`", "<script>alert(1)</script>", "*bold* _it_", "[x](http://y.z)", "&lt; &", "back\\slash\\|", "# x",
    "![i](http://y.z/i.png)", "www.example.org", "http://example.org", "a@b.org", "~~no~~", "$x$", "音楽",
    "{{ recipe }}", "{% raw %}", "1. one", "- two",
]  # fmt: skip
HIDDEN = "turned\u202eround\x1b\u2028line"
QUICK = Recipe(model="1", epochs=1, segments_per_track=2)


RUN = RunOptions(threads=1, no_check=True)


def bundle_of(labels, *, validation=False):
    epochs = [{"loss": 1.5, "accuracy": 0.25}, {"loss": 0.5, "accuracy": 0.75}, {"loss": 0.125, "accuracy": 1.0}]
    if validation:
        epochs = [
            e | {"validation_loss": v, "validation_accuracy": 0.5} for e, v in zip(epochs, (3, 1, 2), strict=True)
        ]
    tracks = [TrainedTrack(f"/{k}.wav", label, f"{k:02x}") for k, label in enumerate(labels)]
    return Bundle(
        classes=tuple(sorted(set(labels))),
        spec=FeatureSpec(11025),
        recipe=Recipe(model="1", epochs=3, patience=2 if validation else 0, seed=7),
        tracks=tuple(tracks),
        weights={"1": "0123abcd.weights.npz"},
        keys={"1": "k"},
        versions={"python": "3.11.7", "numpy": "2.4.6"},
        engine="native kernel, CPU, vectors of 16, 4 threads, float32",
        history={"1": epochs},
    )


def tables(text):
    """Every table of a Markdown text, as rows of what a reader sees."""
    parser = MarkdownIt("commonmark", {"linkify": False}).enable("table").enable("strikethrough")
    rows, found = [], []
    for token in parser.parse(text):
        if token.type == "table_open":
            rows = []
            found.append(rows)
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level == 4:
            kinds = {child.type for child in token.children}
            assert kinds <= {"text", "text_special"}, (token.content, kinds)
            rows[-1].append("".join(child.content for child in token.children))
        assert token.type != "html_block"
    return found


def test_every_label_is_shown_unchanged_and_breaks_no_table():
    found = tables(card.as_markdown(bundle_of([*LABELS, LABELS[0]])))
    assert len(found) == 5
    assert [row[0] for row in found[0][1:]] == sorted(LABELS)
    assert {row[0]: row[1] for row in found[0][1:]}[LABELS[0]] == "2"
    assert {len(row) for row in found[0]} == {3}


def test_unprintable_characters_are_shown_as_escapes():
    text = card.as_markdown(bundle_of([HIDDEN, "b"]))
    assert tables(text)[0][-1][0] == r"turned\u202eround\x1b\u2028line"
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("label", ["www.example.org", "http://example.org", "a@b.org"])
def test_no_label_becomes_a_link(label):
    assert f" {label} " not in card.as_markdown(bundle_of([label, "b"]))


def test_the_card_has_data_recipe_figures_and_versions():
    bundle = bundle_of(["b", "a", "b"])
    _, data, recipe, figures, versions = (
        {row[0]: row[1:] for row in table} for table in tables(card.as_markdown(bundle))
    )
    lines = b"/0.wav\tb\n/1.wav\ta\n/2.wav\tb\n"  # as a training list would have them
    assert hashlib.sha256(lines).hexdigest() in data["training list, SHA-256"][0]
    assert bundle.spec.id in data["features"][0] and "11025 Hz" in data["features"][0]
    assert {name: value[0] for name, value in list(recipe.items())[1:]} == {
        name: str(value) for name, value in dataclasses.asdict(bundle.recipe).items()
    }
    assert figures["1"] == ["the paper", "0123abcd", "3", "3", "0.1250", "1.0000", "none", "none"]
    assert versions["numpy"] == ["2.4.6"] and "native kernel" in versions["computed by"][0]


def test_with_held_out_tracks_the_figures_are_those_of_the_best_epoch():
    figures = tables(card.as_markdown(bundle_of(["a", "b"], validation=True)))[3]
    assert figures[1] == ["1", "the paper", "0123abcd", "3", "2", "0.5000", "0.7500", "1.0000", "0.5000"]


def test_a_model_works_without_its_card_and_the_next_training_writes_it_again(corpus, tmp_path):
    tracks, paths = read_labelled(corpus["train"]), read_paths(corpus["test"])
    folder = fitting.train(tmp_path, tracks, QUICK, FeatureSpec(), training=TrainingOptions(), run=RUN)
    file, output = folder / card.FILE, tmp_path / "out.txt"
    good = file.read_bytes()
    assert good.decode() == card.as_markdown(bundles.load(folder))
    expected = classify(tmp_path, paths, output, run=RUN).tracks
    for data in (b"edited", b"\xff\x00", None):
        file.unlink()
        if data is not None:
            file.write_bytes(data)
        assert classify(tmp_path, paths, output, run=RUN).tracks == expected
        fitting.train(tmp_path, tracks, QUICK, FeatureSpec(), training=TrainingOptions(), run=RUN)
        assert file.read_bytes() == good
