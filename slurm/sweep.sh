# shellcheck shell=bash
# What killed jobs left behind.  Sourced by ray_cluster.sh and node.sh.

# Remove the folders below $1 whose name matches $2 and which belong to a job that has ended: its number, the pattern's
# first group, is lower than this job's and not among CKD_LIVING, this user's jobs in the queue.  Not known: nothing.
sweep() {
    local folder
    [ -n "${CKD_LIVING:-}" ] || return 0
    for folder in "$1"/*-* "$1"/.*-*; do
        if [[ "${folder##*/}" =~ ^$2$ ]] && [ "${BASH_REMATCH[1]}" -lt "$SLURM_JOB_ID" ] && # a later job may live
            [[ " $CKD_LIVING " != *" ${BASH_REMATCH[1]} "* ]] && [ -O "$folder" ] && [ ! -L "$folder" ]; then
            rm -rf "$folder"
        fi
    done
}
