#!/usr/bin/env bash
# docker-run.sh [--cpu|--gpu] [--user UID[:GID]] [--read PATH ...] [--write FOLDER ...] CALL [arguments]
#
#     docker-run.sh --read /audio --read /lists --write /scratch train /scratch /lists/features.txt /lists/train.txt
#
# Runs a call in the image that docker-build.sh has built, without a network and with no rights but to read the paths of
# --read and to write into the folders of --write, which it makes; inside they have the same names, from the root on.
# CALL is extractFeatures, train, classify, trainAndClassify, or any command of mirex-submission. --user is whose the
# files will be (default: yours). $CONTAINER_ENGINE and $MIREX_IMAGE are those of docker-build.sh.
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
        [[ $2 == /* && $2 != *:* ]] || refuse "$1 $2: give the whole path from / on, without ':'"
        if [ "$1" = --write ]; then
            mkdir -p -- "$2"
            mounts+=(--volume "$2:$2")
        else
            [ -e "$2" ] || refuse "$1 $2: is not there"
            mounts+=(--volume "$2:$2:ro")
        fi
        ;;
    esac
    shift 2
done
[ $# -gt 0 ] || refuse "no call: see --help"

engine=${CONTAINER_ENGINE:-$(command -v docker || command -v podman || true)}
[ -n "$engine" ] || refuse "neither docker nor podman is here: install one, or set CONTAINER_ENGINE"
image=${MIREX_IMAGE:-mirex-submission}:$device
if ! "$engine" image inspect "$image" >/dev/null; then
    "$engine" info >/dev/null 2>&1 || refuse "$engine does not run here: start it, or set CONTAINER_ENGINE to another"
    refuse "no image $image: build it with bin/docker-build.sh --$device"
fi
run=("$engine" run --rm --network none --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
    --pids-limit 256 --shm-size 128m --user "$user")
if [[ $engine == *podman* && $(id -u) != 0 ]]; then
    run+=(--userns keep-id) # else this user's folders were root's inside
fi
if [ "$device" = gpu ]; then
    gpus=(--gpus all)
    if [[ $engine == *podman* ]]; then
        gpus=(--device nvidia.com/gpu=all)
    fi
    # An engine that cannot lend a GPU says so in its own words and with a status of its own.
    if ! "${run[@]}" "${gpus[@]}" --no-healthcheck --entrypoint true "$image"; then
        echo "docker-run.sh: ${engine##*/} cannot give a container the GPU. The usual causes: the host has no driver for it" \
            "(see \`nvidia-smi\`); the host lacks the NVIDIA container runtime, or ${engine##*/} does not know of it; this" \
            "host is for CPUs: --cpu instead of --gpu does without" >&2
        exit 6
    fi
    run+=("${gpus[@]}")
fi
# A call ends by itself: nobody needs to ask how it is.
exec "${run[@]}" --no-healthcheck "${mounts[@]}" "$image" "$@"
