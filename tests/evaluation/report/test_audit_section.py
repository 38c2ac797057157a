"""The audit section of the report, and the page of an audit alone."""

import msgspec
import pytest
from report_data import Reader, make_results

from mirex_submission.errors import ListError, UsageError
from mirex_submission.evaluation.audit.records import AUDIT, Audit, Problem, Shortcut
from mirex_submission.evaluation.report.page import write_report

HOSTILE = '</table><script>alert(1)</script>"{{ 7 * 7 }}'


def write_audit(folder, *, n_problems=7):
    problems = [
        Problem(code="audit.near-copy", severity="warning", message=f"copy {k} {HOSTILE}", paths=["a", "b"])
        for k in range(n_problems)
    ]
    problems.append(Problem(code="audit.exact-copy", severity="error", message="two labels", paths=["a", "c"]))
    shortcuts = [
        Shortcut(feature=name, accuracy=0.7, interval=(0.6, 0.8), chance=0.25, chance_interval=(0.2, 0.3), n_tests=9)
        for name in ("all", f"rate {HOSTILE}")
    ]
    audit = Audit(
        problems=problems, shortcuts=shortcuts, folds=["fold1"], n_tracks=1234, n_unreadable=2,
        command=["mirex-submission", "audit", "<b>"], versions={"Python": "3"},
    )  # fmt: skip
    (folder / AUDIT).write_bytes(msgspec.json.encode(audit))
    return audit


def test_results_with_an_audit_beside_them(tmp_path):
    folder = make_results(tmp_path / "results", ["rock", "jazz"], ["ours"], n_folds=1)
    write_report(folder, tmp_path / "without.html", ["report"])
    assert 'id="audit"' not in (tmp_path / "without.html").read_text()
    write_audit(folder)
    write_report(folder, tmp_path / "page.html", ["report"])
    page = (tmp_path / "page.html").read_text()
    reader = Reader(page)  # checks that all tags are closed
    assert 'href="#audit"' in page and "<script" not in page
    assert {"summary", "audit", "provenance"} <= {attributes.get("id") for _, attributes in reader.tags}


def test_an_audit_alone_is_a_page_of_its_own(tmp_path):
    audit = write_audit(tmp_path)
    assert write_report(tmp_path, tmp_path / "report.html", ["mirex-submission", "report", "x"]) == []
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and "1,234 tracks" in page and "8 problem(s)" in page
    assert page.index("two labels") < page.index("copy 0") and "copy 4" in page and "copy 5" not in page
    assert page.count("<svg") == 1 and "70.0" in page and audit.versions["Python"] in page
    with pytest.raises(UsageError, match="replace"):
        write_report(tmp_path, tmp_path / AUDIT, ["report"])


def test_a_folder_without_results_and_audit_is_refused(tmp_path):
    with pytest.raises(ListError, match="results-missing"):
        write_report(tmp_path, tmp_path / "report.html", ["report"])
    (tmp_path / AUDIT).write_text("{}")
    with pytest.raises(ListError, match=r"audit\.invalid"):
        write_report(tmp_path, tmp_path / "report.html", ["report"])
