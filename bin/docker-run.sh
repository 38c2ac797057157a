#!/usr/bin/env bash
# docker-run.sh [--cpu|--gpu] [--user UID[:GID]] [--read PATH ...] [--write FOLDER ...] CALL [arguments]
#
#     docker-run.sh --read /audio --read /lists --write /scratch train /scratch /lists/features.txt /lists/train.txt
#
# Runs CALL in the image that docker-build.sh has built, without network access. CALL is extractFeatures, train, classify,
# trainAndClassify, or any command of mirex-submission. It can read only the paths of --read and write only into the folders
# of --write, which are created if missing; all have the same absolute paths inside. --user owns the new files (default:
# you). $CONTAINER_ENGINE and $MIREX_IMAGE are those of docker-build.sh.
set -euo pipefail

refuse() {
    echo "docker-run.sh: $1" >&2
    exit 2
}

device=cpu user=$(id -u):$(id -g) mounts=()
while [[ ${1:-} == -* ]]; do
    case $1 in
    --cpu | --gpu)
        device=${1#--}
        shift
        continue
        ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' -- "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --user | --read | --write) [ -n "${2:-}" ] || refuse "$1 needs a value" ;;
    *) refuse "no option $1: see --help" ;;
    esac
    case $1 in
    --user) user=$2 ;;
    *)
        [[ $2 == /* && $2 != *:* ]] || refuse "$1 $2: give an absolute path without ':'"
        if [ "$1" = --write ]; then
            mkdir -p -- "$2"
            mounts+=(--volume "$2:$2")
        else
            [ -e "$2" ] || refuse "$1 $2: does not exist"
            mounts+=(--volume "$2:$2:ro")
        fi
        ;;
    esac
    shift 2
done
[ $# -gt 0 ] || refuse "no call: see --help"

engine=${CONTAINER_ENGINE:-$(command -v docker || command -v podman || true)}
[ -n "$engine" ] || refuse "neither docker nor podman is installed: install one, or set CONTAINER_ENGINE"
image=${MIREX_IMAGE:-mirex-submission}:$device
if ! "$engine" image inspect "$image" >/dev/null; then
    "$engine" info >/dev/null 2>&1 || refuse "$engine does not run: start it, or set CONTAINER_ENGINE to another engine"
    refuse "no image $image: build it with bin/docker-build.sh --$device"
fi
run=("$engine" run --rm --network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
    --pids-limit 256 --shm-size 128m --user "$user")
if [[ $engine == *podman* && $(id -u) != 0 ]]; then
    run+=(--userns keep-id) # otherwise this user's folders belong to root inside
fi
if [ "$device" = gpu ]; then
    gpus=(--gpus all)
    if [[ $engine == *podman* ]]; then
        gpus=(--device nvidia.com/gpu=all)
    fi
    # Test the GPU first: an engine reports a missing one with its own message and exit status.
    if ! "${run[@]}" "${gpus[@]}" --no-healthcheck --entrypoint true "$image"; then
        echo "docker-run.sh: ${engine##*/} cannot give a container the GPU. The usual causes: the host has no driver for it" \
            "(see \`nvidia-smi\`); the host lacks the NVIDIA container runtime, or ${engine##*/} is not configured for it;" \
            "the host has no GPU: give --cpu instead of --gpu" >&2
        exit 6
    fi
    run+=("${gpus[@]}")
fi
# A call ends by itself, so it needs no health check.
exec "${run[@]}" --no-healthcheck "${mounts[@]}" "$image" "$@"
