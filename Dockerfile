# The submission as an image for a CPU, or with --build-arg DEVICE=gpu for NVIDIA's GPUs (docs/deployment.md):
# bin/docker-build.sh builds it, bin/docker-run.sh runs it. Packages are those of requirements-cpu.txt or -gpu.txt, each
# with its hash. With --build-arg BASE=python:3.11-slim-bookworm@sha256:... the base cannot change either.
ARG DEVICE=cpu
ARG BASE=python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS for-cpu

# The CUDA libraries come as wheels; of the host only its driver is needed, which the NVIDIA container runtime lends.
# A GPU that is missing is an error, and not a run on the CPU.
# hadolint ignore=DL3006
FROM ${BASE} AS for-gpu
ENV MIREX_DEVICE=gpu \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# Python's headers are for a base whose Python is Debian's. Debian keeps only the last build of a version, so that none
# can be named.
# hadolint ignore=DL3006
FROM ${BASE} AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev libpython3.11-dev \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-cpu.txt requirements-gpu.txt ./
RUN grep '^setuptools==' requirements-cpu.txt >build.txt && pip install --require-hashes --no-deps -r build.txt \
    && python -m venv --without-pip /opt/venv

# The package with its kernels in C, which run on any processor and use what it has.
FROM build AS package
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY mirex_submission mirex_submission
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/venv/bin/python install --no-deps --no-index /wheels/*.whl \
    && /opt/venv/bin/python -P -c 'import mirex_submission.features._kernel, mirex_submission.networks._kernel'

# The root file system is read-only in a run: what Python's own library compiles to must be there. Taken away from the
# packages is what nothing reads: headers, their own tests, the compiler that TensorFlow is built with, and symbols for a
# debugger. TensorFlow's own search path lacks some of the CUDA wheels.
# hadolint ignore=DL3006
FROM for-${DEVICE}
ARG DEVICE
COPY --from=build /src/requirements-*.txt /src/
# hadolint ignore=DL3008
RUN python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && apt-get update && apt-get install --yes --no-install-recommends binutils \
    && python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes --no-deps \
        -r "/src/requirements-${DEVICE}.txt" \
    && rm -rf /opt/venv/lib/python3.11/site-packages/tensorflow/include /opt/venv/lib/python3.11/site-packages/clang \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} + \
    && strip --strip-unneeded /opt/venv/lib/python3.11/site-packages/tensorflow/libtensorflow_*.so.2 \
    && find /opt/venv -type d -path '*/nvidia/*/lib' >/etc/ld.so.conf.d/nvidia-wheels.conf && ldconfig \
    && apt-get purge --yes --auto-remove binutils && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=package /opt/venv /opt/venv
# Where crossval looks for our own calls.
COPY bin /opt/venv/lib/python3.11/site-packages/bin

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUTF8=1 \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
# Process 1 gets no signal that it has no answer to yet: they wait until the program has.
ENTRYPOINT ["env", "--block-signal=INT,TERM", "mirex-submission"]
CMD ["--help"]
HEALTHCHECK --interval=10m --timeout=1m CMD ["mirex-submission", "doctor", "--quiet"]

ARG BASE
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="mirex-submission" \
    org.opencontainers.image.description="Parallel CNNs for MIREX train/test music classification" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="$BASE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
