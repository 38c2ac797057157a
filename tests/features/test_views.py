"""Views by name, windows of long tracks, and views that packages add."""

import numpy as np
import pytest

from mirex_submission import View
from mirex_submission.errors import AudioError, UsageError
from mirex_submission.features import views
from mirex_submission.features.modulation_views import mel_modulation
from mirex_submission.features.spec import ViewSpec
from mirex_submission.features.views import OWN, PLUGINS, vectors_of_blocks, view, view_spec

LEVELS = """
import numpy as np
from mirex_submission import View

def levels(samples, rate_hz):
    return np.array([samples.min(), samples.max(), len(samples) / rate_hz])

view = View(levels, length=3, version="7")
"""


@pytest.fixture
def install(install_package):
    """Install a package of one module that adds one view."""

    def add(code, **package):
        install_package(code, PLUGINS.group, name="levels", value="their_module:view", **package)

    return add


def vectors(spec, *blocks):
    (rows,) = vectors_of_blocks(blocks, [spec])
    return rows


@pytest.mark.parametrize("name", OWN)
def test_a_built_in_view_has_the_length_that_it_declares(name):
    spec = view_spec(name, 11025)
    assert (spec.view, spec.rate_hz) == (name, 11025)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 11025).astype(np.float32)
    assert vectors(spec, noise).shape == (1, spec.length) == (1, view(name).length)


def test_two_views_of_one_decoding_equal_those_computed_separately():
    specs = [view_spec(name, 11025) for name in OWN]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20000).astype(np.float32)
    together = vectors_of_blocks([noise[:7000], noise[7000:]], specs)
    for rows, spec in zip(together, specs, strict=True):
        np.testing.assert_array_equal(rows, vectors(spec, noise))


def test_samples_of_16_bits_are_scaled_to_1(install):
    install(LEVELS)
    spec = view_spec("levels", 22050)
    assert vectors(spec, np.array([-32768, 16384], np.int16)).tolist() == [[-1.0, 0.5, pytest.approx(2 / 22050)]]


# Windows.


@pytest.mark.parametrize("n_block", [1, 3, 10, 100])
@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, [(0, 0)]),
        (10, [(0, 9)]),
        (11, [(0, 9), (1, 10)]),
        (20, [(0, 9), (10, 19)]),
        (25, [(0, 9), (10, 19), (15, 24)]),
        (30, [(0, 9), (10, 19), (20, 29)]),
    ],
)
def test_the_last_window_of_a_long_track_ends_with_the_track(n, expected, n_block):
    samples = np.arange(n, dtype=np.float32)
    blocks = [samples[k : k + n_block] for k in range(0, n, n_block)]
    assert [(window.min(), window.max()) for window in views._windows(blocks, 10)] == expected


def test_a_track_of_one_window_has_the_vector_of_the_function():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 30000).astype(np.float32)
    np.testing.assert_array_equal(vectors(view_spec("mel-modulation", 11025), noise)[0], mel_modulation(noise, 11025))


# Views of packages.


def test_a_package_adds_a_view(install):
    install(LEVELS)
    assert isinstance(view("levels"), View) and PLUGINS.names == ["levels"]
    assert view_spec("levels", 22050) == ViewSpec("levels", "7", 22050, 3)
    assert view_spec("levels", 22050).id == "levels-22050hz-3-v7"


def test_the_mean_of_a_matrix_is_used(install):
    install(LEVELS.replace("np.array([", "np.array([[0, 0, 0], [").replace("rate_hz])", "rate_hz]])"))
    assert vectors(view_spec("levels", 11025), np.float32([-1, 0.5])).tolist() == [
        [-0.5, 0.25, pytest.approx(1 / 11025)]
    ]


@pytest.mark.parametrize(
    "returned",
    [
        "np.zeros(2)", "np.zeros((0, 3))", "np.zeros((1, 1, 3))", "np.full(3, np.nan)", "np.zeros(())", "None", "1 / 0",
        "[[1, 2, 3], [4]]", "['a', 'b', 'c']", "np.full(3, 1j)", "np.full((2, 3), 1e300)", "exit(3)",
    ],
)  # fmt: skip
def test_an_invalid_vector_is_an_audio_error(install, returned):
    install(LEVELS.replace("np.array([samples.min(), samples.max(), len(samples) / rate_hz])", returned))
    with pytest.raises(AudioError, match=r"view levels: .*\[features.view\]"):
        vectors(view_spec("levels", 11025), np.zeros(10, np.float32))


def test_a_large_matrix_has_a_finite_mean(install):
    install(LEVELS.replace("np.array([samples.min(), samples.max(), len(samples) / rate_hz])", "np.full((9, 3), 3e38)"))
    assert vectors(view_spec("levels", 11025), np.zeros(10, np.float32)).tolist() == [[np.float32(3e38)] * 3]


def test_a_view_that_changes_its_samples_affects_no_other_view(install):
    install(LEVELS.replace("    return", "    samples *= 0\n    return"))
    specs = [view_spec("levels", 11025), view_spec("mel-modulation", 11025)]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20000).astype(np.float32)
    np.testing.assert_array_equal(vectors_of_blocks([noise], specs)[1], vectors(specs[1], noise))


@pytest.mark.parametrize("spec", [ViewSpec("levels", "6", 11025, 3), ViewSpec("levels", "7", 11025, 4)])
def test_another_version_or_length_than_the_spec_is_a_usage_error(install, spec):
    install(LEVELS)
    with pytest.raises(UsageError) as raised:
        vectors(spec, np.zeros(10, np.float32))
    assert raised.value.code == "usage.view-version"


@pytest.mark.parametrize(
    "options",
    [
        {"version": 1}, {"version": "2026/11"}, {"version": "../../up"}, {"version": ""}, {"version": "a" * 100},
        {"length": 0}, {"length": -1}, {"length": 2.0}, {"length": True}, {"length": 10**9}, {"compute": 3},
    ],
)  # fmt: skip
def test_the_fields_of_a_view_are_checked(options):
    with pytest.raises(UsageError) as raised:
        View(**{"compute": np.mean, "length": 1} | options)
    assert raised.value.code == "usage.view"


@pytest.mark.parametrize("rate_hz", [0, 10, 44100, 10**9, 11025.0])
def test_views_are_computed_at_their_rates_only(rate_hz):
    with pytest.raises(UsageError):
        ViewSpec("levels", "1", rate_hz, 3)


def test_an_unknown_view_is_a_usage_error():
    with pytest.raises(UsageError, match=r"view nothing: .*mel-modulation.*\[usage.plugin-missing\]"):
        view("nothing")


def test_a_registered_object_that_is_not_a_view_is_a_usage_error(install):
    install(LEVELS.replace("View(levels", "dict(compute=levels"))
    with pytest.raises(UsageError, match=r"their-package 1.0 registers .*\[usage.plugin-fails\]"):
        view("levels")


def test_a_package_cannot_replace_a_built_in_view(install_package):
    install_package(LEVELS, PLUGINS.group, name="mel-modulation", value="their_module:view")
    assert view("mel-modulation").length == 1568
