#!/usr/bin/env bash
# docker-build.sh [--cpu|--gpu] [options of `docker build` ...]: builds the image mirex-submission:cpu, or :gpu.
# $CONTAINER_ENGINE is docker or podman (default: the installed one); $MIREX_IMAGE is a name in place of mirex-submission.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
device=cpu
case ${1:-} in
--cpu | --gpu)
    device=${1#--}
    shift
    ;;
-h | --help)
    sed -n '2,3s/^# //p' -- "${BASH_SOURCE[0]}"
    exit 0
    ;;
esac
engine=${CONTAINER_ENGINE:-$(command -v docker || command -v podman || true)}
if [ -z "$engine" ]; then
    echo "docker-build.sh: neither docker nor podman is installed: install one, or set CONTAINER_ENGINE" >&2
    exit 2
fi
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$project/mirex_submission/version.py")
revision=$(git -C "$project" describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || true) # none in an archive
format=()
if [[ $engine == *podman* ]]; then # podman's own image format has no health check
    format=(--format docker)
fi
exec "$engine" build --tag "${MIREX_IMAGE:-mirex-submission}:$device" "${format[@]}" --build-arg "DEVICE=$device" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" "$project"
