"""Headers of many files are read once and in parallel; a file that never opens does not stop the others."""

import threading

import pytest

from mirex_submission.errors import AudioError, ResourceError
from mirex_submission.features import audio
from mirex_submission.features.audio import AudioHeader
from mirex_submission.features.headers import Headers


@pytest.fixture
def reader(monkeypatch):
    """Fake files that open, are not audio, or do not open before the test ends; return the names that were read."""
    end, names = threading.Event(), []

    def read_header(path):
        names.append(path)
        if "never" in path:
            end.wait()
        if "no-audio" in path:
            raise AudioError("no known audio format", code="audio.undecodable")
        return AudioHeader(len(path), 1.0)

    monkeypatch.setattr(audio, "read_header", read_header)
    yield names
    end.set()


def test_a_file_that_never_opens_is_given_up_after_the_time_limit(reader):
    paths = [f"/{k}{'-never' if k in (0, 1, 3, 9) else ''}" for k in range(10)]
    headers = Headers(2, limit_s=0.2).of(paths)
    assert list(headers) == paths
    for path, header in headers.items():
        if "never" in path:
            assert header.endswith("[audio.track-limit]")
        else:
            assert header.rate_hz == len(path)
    assert sorted(reader) == sorted(paths)


def test_headers_and_reasons_are_read_once(reader):
    headers = Headers(3)
    for _ in range(2):
        assert headers.of(["/a", "/no-audio", "/a"])["/no-audio"].endswith("[audio.undecodable]")
    assert sorted(reader) == ["/a", "/no-audio"]


def test_an_error_that_is_not_of_a_file_ends_the_reading(monkeypatch):
    def read_header(path):
        raise ResourceError("no audio file can be opened", code="limits.files")

    monkeypatch.setattr(audio, "read_header", read_header)
    with pytest.raises(ResourceError):
        Headers(2).of(["/a", "/b", "/c"])
