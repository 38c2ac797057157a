"""The report: a self-contained page, complete as far as data exist, in which untrusted text stays text."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from browser import EXECUTABLE, Page
from project import PROJECT
from report_data import Reader, make_results

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.judging.evaluate import evaluate
from mirex_submission.evaluation.judging.tables import write_results
from mirex_submission.evaluation.report.page import write_report
from mirex_submission.protocol.lists import Track
from mirex_submission.protocol.outputs import write_predictions, write_probabilities
from mirex_submission.system.atomic import sha256
from mirex_submission.system.progress import printable

SECTIONS = ["summary", "folds", "classes", "significance", "confusion", "further", "training", "times", "mistakes",
            "findings", "provenance"]  # fmt: skip
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src="http://example.org/a.png" onerror="alert(1)">',
    "</svg></style><style>@import url(http://example.org/b.css);",
    "{{ 7 * 7 }}$x^2$&amp;",
    "a\u202eb" + "m" * 200,
    "発酵する音楽のとても長い名前と種類",
]
COMMAND = ["mirex-submission", "report", "RESULTS"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of labels, names and paths that contain markup: its folder and its Reader."""
    folder = make_results(tmp_path_factory.mktemp("hostile"), HOSTILE, ["<i onclick=x>", "_b&amp;$y$"])
    notes = write_report(folder, folder / "report.html", COMMAND)
    assert notes == []
    return folder, Reader((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The folder of a page with 50 classes and 4 systems, one of them with a long name."""
    names = ["model1", "all", "svm_of_mfcc_contrast_chroma_and_tempogram", "GT1"]
    labels = [f"genre_number_{k:02}" for k in range(50)]
    folder = make_results(tmp_path_factory.mktemp("many"), labels, names, n_tracks=3)
    write_report(folder, folder / "report.html", COMMAND)
    return folder


def plain(folder, system="A", answers="xyyy"):
    """Write the results of `evaluate` for one system on one fold of four tracks; return the folder."""
    paths = [f"/none/track{n}.wav" for n in range(4)]
    write_predictions(folder / "truth" / "1.txt", [Track(p, c) for p, c in zip(paths, "xxyy", strict=True)])
    write_predictions(folder / system / "1.txt", [Track(p, c) for p, c in zip(paths, answers, strict=True)])
    write_results(evaluate(folder / "truth", {system: folder / system}), folder)
    return folder


def page_of(folder):
    return Reader((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_has_every_section_and_no_script_and_loads_nothing(hostile):
    _, page = hostile
    assert {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags} == set()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"#|data:image/png;base64,", attributes.get(name) or "#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", page.text(tag="style"))
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == SECTIONS
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';") and "script" not in policy


def test_every_figure_has_a_name_and_a_caption_that_explains_it(hostile):
    _, page = hostile
    assert [tag for tag, _ in page.tags].count("figure") == [tag for tag, _ in page.tags].count("figcaption") == 11
    assert all(a["role"] == "img" and a["aria-label"] for tag, a in page.tags if tag == "svg")
    for text in (
        "its 95 % interval",
        "Two systems differ significantly if their lines do not overlap",
        "Low statistical power:",
        "Read down a column",
        "lower is better",
        "added up over the folds",
    ):
        assert text in page.text(tag="figcaption")


def test_untrusted_text_is_escaped_and_complete(hostile):
    folder, page = hostile
    for label in HOSTILE:
        assert label.replace("\u202e", r"\u202e") in page.text(section="classes"), label
    assert "\u202e" not in (folder / "report.html").read_text(encoding="utf-8")
    for name in ("<i onclick=x>", "_b&amp;$y$"):
        for section in SECTIONS[:9]:
            assert name in page.text(section=section), section
        assert name in page.text(tag="svg")
    assert f"{folder}/audio/track <b>" in page.text(section="mistakes")
    assert {"b", "i", "img"} & {tag for tag, a in page.tags if not a.get("src", "data:").startswith("data:")} == set()
    assert "i" not in [tag for tag, _ in page.tags]


def test_the_summary_is_sorted_and_has_the_figures_of_the_results(hostile):
    folder, page = hostile
    systems = {s["name"]: s["overall"] for s in json.loads((folder / "results.json").read_text())["systems"]}
    text = page.text(section="summary")
    rows = []
    for name, overall in sorted(systems.items(), key=lambda item: -item[1]["accuracy"]):
        low, high = (f"{100 * x:.1f}" for x in overall["accuracy_interval"])
        rows.append(f"{name} {100 * overall['accuracy']:.1f} {low}–{high} {100 * overall['normalised_accuracy']:.1f}")
    assert len(rows) == 2 and text.index(rows[0]) < text.index(rows[1])


def test_commands_versions_and_hashes_are_on_the_page(hostile):
    folder, page = hostile
    text = page.text(section="provenance")
    results = json.loads((folder / "results.json").read_text())
    for fold in [*results["folds"], *(fold for system in results["systems"] for fold in system["folds"])]:
        assert (fold.get("truth") or fold["output"])["sha256"] in text
    for part in ("mirex-submission crossval folds <b> --seed 7", "mirex-submission evaluate --truth 'truth <i>'",
                 "mirex-submission report RESULTS",
                 "'/systems/<b>/train.sh' -numThreads 4 '/scratch folder/one' --seed 7",
                 "keras 3.<b>15", "numpy ", "/lists/<b>features.txt", "ab" * 32, "2016-08-01T12:00:00"):  # fmt: skip
        assert part in text, part


def test_times_memory_and_failed_steps_are_added_up(hostile):
    _, page = hostile
    assert "<i onclick=x> train 3 9 min 36 s 3 min 13 s 210 MB –" in page.text(section="times")
    assert "_b&amp;$y$ classify 3 7.5 s 2.5 s 210 MB 3" in page.text(section="times")


def test_a_training_that_several_systems_share_is_marked_and_drawn_once(tmp_path):
    folder = make_results(tmp_path, ["x", "y"], ["all", "two", "other"])
    runs = json.loads((folder / "runs.json").read_text())
    for fold, of_fold in runs["systems"]["two"]["folds"].items():
        of_fold["calls"][0] = runs["systems"]["all"]["folds"][fold]["calls"][0]
    (folder / "runs.json").write_text(json.dumps(runs))
    write_report(folder, folder / "report.html", COMMAND)
    page = page_of(folder)
    times = page.text(section="times")
    assert "all train (shared with two) 3" in times and "two train (shared with all) 3" in times
    assert "other train 3" in times and "two classify 3" in times
    drawn = re.findall(r"(\w+)\. Above: loss", page.text(section="training"))
    assert len(drawn) == 2 and "other" in drawn


def test_files_changed_by_a_later_run_are_left_out_and_failures_are_listed(tmp_path):
    folder = make_results(tmp_path, ["x", "y"], ["one", "two"])
    runs = json.loads((folder / "runs.json").read_text())
    fold = runs["systems"]["one"]["folds"]["fold1"]
    fold["sha256"] = {"history": "0" * 64, "probabilities": sha256(folder / fold["probabilities"])}
    fold["faults"] = ["classify: status 0, but it did not write fold1.txt", "more"]
    fold["calls"][1]["fault"] = fold["faults"][0]
    (folder / "runs.json").write_text(json.dumps(runs))
    [note] = write_report(folder, folder / "report.html", COMMAND)
    assert note.startswith(f"{folder / fold['history']}: ") and note.endswith("[report.file-changed]")
    times = page_of(folder).text(section="times")
    assert "one fold1 classify: status 0, but it did not write fold1.txt (and 1 more)" in times
    assert "one classify 3 7.5 s 2.5 s 210 MB 1" in times


@pytest.mark.parametrize(
    "systems", ["[1]", '{"A": null}', '{"A": {"folds": {"1": {"calls": [3]}}}}', '{"A": {"extraction": 3}}']
)
def test_an_invalid_record_of_runs_is_an_error_that_names_it(tmp_path, systems):
    folder = plain(tmp_path)
    (folder / "runs.json").write_text(f'{{"systems": {systems}}}')
    with pytest.raises(ListError, match=r"runs\.json: ") as caught:
        write_report(folder, folder / "report.html", COMMAND)
    assert caught.value.code == "report.runs-invalid"


@pytest.mark.parametrize("name", ["results.json", "runs.json"])
def test_a_report_does_not_overwrite_its_sources(tmp_path, name):
    folder = plain(tmp_path)
    before = (folder / name).read_bytes() if (folder / name).exists() else None
    with pytest.raises(UsageError) as caught:
        write_report(folder, folder / name, COMMAND)
    assert caught.value.code == "report.replaces-results"
    assert before is None or (folder / name).read_bytes() == before


def test_the_most_confident_mistakes_come_first_with_a_spectrogram_if_there_is_audio(tmp_path):
    folder = plain(tmp_path, answers="yyxy")
    rows = [("/none/track0.wav", "y", (0.4, 0.6)), ("/none/track1.wav", "y", (0.1, 0.9)),
            ("/none/track2.wav", "x", (0.7, 0.3)), ("/none/track3.wav", "y", (0.0, 1.0))]  # fmt: skip
    write_probabilities(folder / "A" / "1.csv", ["x", "y"], rows)
    write_report(folder, folder / "report.html", COMMAND)
    text = page_of(folder).text(section="mistakes")
    assert re.findall(r"/none/track\d", text) == ["/none/track1", "/none/track2", "/none/track0"]
    assert "x , predicted as y (90.0 %) y 90.0 % x 10.0 %" in text
    assert text.count("No spectrogram: cannot be read: No such file or directory") == 3

    results = (folder / "results.json").read_text()
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(22050) / 9), 22050)
    (folder / "results.json").write_text(results.replace("/none/track2.wav", str(tmp_path / "tone.wav")))
    rows[2] = (str(tmp_path / "tone.wav"), *rows[2][1:])
    write_probabilities(folder / "A" / "1.csv", ["x", "y"], rows)
    write_report(folder, folder / "report.html", COMMAND)
    page = page_of(folder)
    assert [a["alt"] for tag, a in page.tags if tag == "img"] == [f"Spectrogram of {tmp_path}/tone.wav"]
    assert "1.0 s, 0 to 11.0 kHz" in page.text(section="mistakes")


def test_sections_without_data_say_so_and_the_others_are_complete(tmp_path):
    folder = plain(tmp_path)
    notes = write_report(folder, folder / "report.html", COMMAND)
    page = page_of(folder)
    assert [note.rpartition("[")[2] for note in notes] == ["report.no-runs]", "report.no-probabilities]"]
    assert all(note in page.text(section="provenance") for note in notes)
    for section in ("training", "times", "mistakes"):
        assert "Not known" in page.text(section=section)
    assert "There is only one system" in page.text(section="significance")
    assert "A has an accuracy of 75.0 %" in page.text(tag="header")
    assert "1 × x predicted as y" in page.text(section="confusion")


@pytest.mark.parametrize(
    ("history", "probabilities", "line"),
    [
        ("epoch,loss\n1,2\n", None, 1),
        ("model,epoch,loss,accuracy\n1,one,2,0.5\n", None, 2),
        ("model,epoch,loss,accuracy\n1,1,2\n1,x,2,3\n", None, 3),
        ("model,epoch,loss,accuracy\n1,1e308,2,1\n", None, 2),
        ("model,epoch,loss,accuracy\n1,1,2,1\n1,2,-1e308,1\n", None, 3),
        (None, "name,x,y\n", 1),
        (None, "path,label,x,y\n/none/track1.wav,y,0.1\n", 2),
        (None, "path,label,x,y\n/none/track1.wav,y,nan,0.5\n", 2),
        (None, "path,label,x,y\n/none/track1.wav,y,0.5,0.5\n/none/track2.wav\n", 3),
        (None, 'path,label,x,y\n"/none', 2),
    ],
)
def test_a_damaged_file_of_a_run_removes_only_its_own_section(tmp_path, history, probabilities, line):
    folder = plain(tmp_path)
    files = {"history": history, "probabilities": probabilities}
    for name, content in files.items():
        (folder / name).write_text(
            content
            or {"history": "model,epoch,loss,accuracy\n1,1,2,0.5\n"}.get(
                name, "path,label,x,y\n/none/track1.wav,y,0.1,0.9\n"
            )
        )
    runs = {"systems": {"A": {"folds": {"1": {name: name for name in files}}}}}
    (folder / "runs.json").write_text(json.dumps(runs))
    [note] = write_report(folder, folder / "report.html", COMMAND)
    page = page_of(folder)
    name, code = ("history", "report.history-invalid") if history else ("probabilities", "output.probabilities-invalid")
    assert f"{folder / name}:{line}: " in note and note.endswith(f"[{code}]")
    assert printable(note) in page.text(section="provenance")
    assert ("Not known" in page.text(section="training")) == (history is not None)
    assert ("Not known" in page.text(section="mistakes")) == (probabilities is not None)


SECRET = {
    "history": "model,epoch,loss,accuracy\nsecret,1,2,0.5\n",
    "probabilities": "path,label,secret\n/none/track1.wav,y,1\n",
}


@pytest.fixture
def named(tmp_path):
    """A function that writes a page from a runs.json with a path, where `put` creates a file; it returns the notes."""

    def run(name, path, put=lambda path: None):
        folder = plain(tmp_path / "results")
        (tmp_path / "secret").write_text(SECRET[name])
        (folder / "runs.json").write_text(json.dumps({"systems": {"A": {"folds": {"1": {name: path}}}}}))
        put(folder / path)
        notes = write_report(folder, folder / "report.html", COMMAND)
        assert "secret" not in page_of(folder).text(section="training" if name == "history" else "mistakes")
        return [note for note in notes if not note.endswith("[report.no-probabilities]")]

    return run


@pytest.mark.parametrize("name", ["history", pytest.param("probabilities", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "path", ["{}/secret", "../secret", "a/../../secret", "link", "below/secret", "/dev/zero", "\0"]
)
def test_files_outside_the_folder_of_the_results_are_not_read(named, tmp_path, name, path):
    def put(path):
        if path.name == "link":
            path.symlink_to(tmp_path / "secret")
        elif path.parent.name == "below":
            path.parent.symlink_to(tmp_path)

    [note] = named(name, path.format(tmp_path), put)
    assert note.endswith("[report.file-outside]")


def test_a_file_name_that_is_too_long_gives_no_traceback(named):
    [note] = named("history", "a" * 5000)
    assert note.endswith("[report.history-unreadable]")
    assert named("probabilities", "a" * 5000) == []


@pytest.mark.parametrize("name", ["history", pytest.param("probabilities", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["pipe", "inner link", "folder", "huge"])
def test_only_regular_files_of_plausible_size_are_read(named, name, kind):
    def put(path):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "inner link":
            (path.parent / "other").write_text(SECRET[name])
            path.symlink_to("other")
        else:
            with open(path, "wb") as f:
                f.truncate(1 << 40)

    [note] = named(name, "file", put)
    code = "report.history-unreadable" if name == "history" else "output.probabilities-unreadable"
    assert "/file: cannot be read: " in note and note.endswith(f"[{code}]")


@pytest.mark.parametrize("file", ["results.json", "runs.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "zeros", "nested", "digits"])
def test_special_huge_or_nested_results_are_an_error_at_once(tmp_path, file, kind):
    folder = plain(tmp_path)
    path = folder / file
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind in ("huge", "zeros"):
        with open(path, "wb") as f:
            f.truncate(1 << (40 if kind == "huge" else 29))
    else:
        path.write_text('{"format":' + ("[" * 100_000 if kind == "nested" else "9" * 10_000))
    with pytest.raises(ListError, match=rf"{file}: "):
        write_report(folder, folder / "report.html", COMMAND)


def test_probabilities_are_read_only_beside_an_output_of_the_results(tmp_path):
    folder = plain(tmp_path / "results")
    write_probabilities(folder / "A" / "1.csv", ["x", "secret"], [("/none/track1.wav", "y", (0, 1))])
    results = (folder / "results.json").read_text()
    other = tmp_path / "other.txt"
    other.write_text("no output")
    (folder / "A" / "1.csv").rename(tmp_path / "other.csv")
    (folder / "results.json").write_text(results.replace(str(folder / "A" / "1.txt"), str(other)))
    [*_, note] = write_report(folder, folder / "report.html", COMMAND)
    assert note.endswith("[report.no-probabilities]") and "secret" not in page_of(folder).text(section="mistakes")


def test_unreadable_results_are_an_error_that_names_the_file(tmp_path):
    codes = []
    for name, content in ((None, ""), ("results.json", '{"format": 0}'), ("runs.json", "{")):
        if name == "runs.json":
            plain(tmp_path)
        if name:
            (tmp_path / name).write_text(content)
        with pytest.raises(ListError, match=name or r"results\.json") as caught:
            write_report(tmp_path, tmp_path / "report.html", COMMAND)
        codes.append(caught.value.code)
    assert codes == ["report.results-missing", "report.results-invalid", "report.runs-invalid"]
    assert not (tmp_path / "report.html").exists()


def test_the_figures_of_500_classes_are_drawn_and_name_what_they_leave_out(tmp_path):
    labels = [f"class{k:03}" for k in range(500)]
    tracks = [Track(f"/none/{label}.wav", label) for label in labels]
    write_predictions(tmp_path / "truth/1.txt", tracks)
    write_predictions(tmp_path / "A/1.txt", [Track(t.path, labels[k - k % 2]) for k, t in enumerate(tracks)])
    write_results(evaluate(tmp_path / "truth", {"A": tmp_path / "A"}), tmp_path)
    write_report(tmp_path, tmp_path / "report.html", COMMAND)
    page = page_of(tmp_path)
    assert "class001 → class000" in page.text(tag="svg") and "class499" in page.text(section="classes")
    assert "The 50 classes with the lowest recall" in page.text(section="classes")
    assert "The 30 most frequent confusions" in page.text(section="confusion")


def test_equal_results_give_an_equal_page(hostile, tmp_path):
    folder, _ = hostile
    write_report(folder, tmp_path / "again.html", COMMAND)
    assert (tmp_path / "again.html").read_bytes() == (folder / "report.html").read_bytes()


def test_the_installed_package_has_the_template_and_its_style(tmp_path):
    build = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", tmp_path, "build_py", "--build-lib", tmp_path]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    built = {path.name for path in (tmp_path / "mirex_submission/evaluation/report").iterdir()}
    assert {"provenance.html.jinja", "report.css", "report.html.jinja", "page.py"} <= built


# Elements that reach beyond the window, except inside scrolling boxes; and text that reaches beyond its figure.
OUTSIDE = """[...document.querySelectorAll("body *")]
    .filter(e => e.matches(".scroll") || !e.closest(".scroll"))
    .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""
CUT = """[...document.querySelectorAll("svg text")].filter(text => {
    const inner = text.getBoundingClientRect(), outer = text.closest("svg").getBoundingClientRect();
    return inner.left < outer.left - 1 || inner.right > outer.right + 1
        || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
}).map(text => text.textContent)"""


@pytest.mark.slow
@pytest.mark.skipif(EXECUTABLE is None, reason="no browser: install chromium to see the page laid out")
@pytest.mark.parametrize("results", ["hostile", "many"])
def test_in_a_browser_nothing_overflows_nothing_is_fetched_and_it_prints(results, request, tmp_path):
    folder = request.getfixturevalue(results)
    page = (folder[0] if results == "hostile" else folder) / "report.html"
    with Page(tmp_path / "profile") as browser:
        for width_px in (1280, 400):
            browser.show(page.as_uri(), width=width_px)
            assert browser.evaluate("document.documentElement.scrollWidth") == width_px
            assert browser.evaluate(OUTSIDE) == []
            assert browser.evaluate(CUT) == []
            assert browser.evaluate("document.querySelectorAll('section').length") == len(SECTIONS)
            fetched = [address for address in browser.requested if not address.startswith("data:image/png;")]
            assert fetched == [page.as_uri()]
        assert browser.pdf().startswith(b"%PDF-")
