#!/usr/bin/env bash
# Soft labels to student: data-parallel ranks over the nodes.
# Machines and time are set here, learning in the recipe, site settings in ray_cluster.sh:
#     RUN_DIR=/shared/run RECIPE=disease_mimic3_7b SOURCE=mimic3:/shared/mimic3 sbatch slurm/student.sh
#SBATCH --job-name=ckd-student
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
#SBATCH --output=%x-%j.log
# shellcheck source=slurm/ray_cluster.sh
source "${CKD_HOME:-$SLURM_SUBMIT_DIR}/slurm/ray_cluster.sh"
launch_line distill "$@"
