#!/usr/bin/env bash
#SBATCH --job-name=mirex --cpus-per-task=4 --mem=2G --time=24:00:00 --requeue
# slurm_folds.sh LISTS SCRATCH OUT [option of train ...]: a cross-validation on a cluster, one array task per fold.
# LISTS is a folder from `mirex-submission folds`; all nodes share SCRATCH. Run it in the folder of the project:
#
#     job=$(sbatch --parsable examples/slurm_folds.sh LISTS SCRATCH OUT)                       # extraction, once
#     sbatch --array=1-3 --dependency=afterok:$job examples/slurm_folds.sh LISTS SCRATCH OUT   # then the folds
#     bin/mirex-submission.sh evaluate --truth LISTS --system ours=OUT --out OUT/evaluation    # when all are done
#
# MIREX is the command that each task runs (default: bin/mirex-submission.sh). With the image (docs/deployment.md):
#
#     export MIREX="apptainer run --containall --bind /audio:/audio:ro,$PWD mirex-submission.sif"
#
# If Slurm stops a task and queues it again, the training resumes.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: slurm_folds.sh LISTS SCRATCH OUT [option of train ...]" >&2; exit 2; }
lists=$(realpath -- "$1") scratch=$(realpath -m -- "$2") out=$(realpath -m -- "$3")
read -ra mirex <<<"${MIREX:-bin/mirex-submission.sh}"
threads=(-numThreads "${SLURM_CPUS_PER_TASK:-1}")
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
    exec "${mirex[@]}" extract "${threads[@]}" "$scratch" "$lists/features.txt"
fi
fold=fold$SLURM_ARRAY_TASK_ID
mkdir -p -- "$out"
"${mirex[@]}" train "${threads[@]}" --name "$fold" "${@:4}" "$scratch" "$lists/$fold.train.txt"
"${mirex[@]}" classify "${threads[@]}" --name "$fold" "$scratch" "$lists/$fold.test.txt" "$out/$fold.txt"
