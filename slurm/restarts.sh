# shellcheck shell=bash
# How often a job comes back.  Sourced by ray_cluster.sh.
#
# RUN_DIR/.restarts holds the job's number and how often in a row it was requeued with nothing new; the file's time is
# that of the last count.  Lives that Slurm ended itself, as by preemption, are not counted; what they finished counts.

restarts="$RUN_DIR/.restarts"
FRUITLESS=3 # requeues in a row with nothing new before the job gives up

# Start at 0 in the first life of this job.
begin_counting() {
    local job=""
    [ ! -f "$restarts" ] || read -r job _ <"$restarts" || true
    [ "$job" = "$SLURM_JOB_ID" ] || echo "$SLURM_JOB_ID 0" >"$restarts"
}

# Say whether a checkpoint, a shard, an experiment or a stage was finished since the last count.  What is half written
# lies under hidden names, or has no COMMITTED yet.
is_further() {
    [ -n "$(cd "$RUN_DIR" && find . -mindepth 1 -name '.*' -prune -o \( -name COMMITTED -o -path './stages/*.json' \
        -o -path './softlabels/*.safetensors' -o -path './experiments/*.safetensors' \) \
        -newer "$restarts" -print -quit 2>/dev/null)" ]
}

# End this life of the job and ask for another; give up where it would only meet the same again.
requeue() {
    local num=0
    read -r _ num <"$restarts" || true # somebody has removed it
    num=$((num + 1))
    ! is_further || num=0
    if [ "$num" -gt "$FRUITLESS" ]; then
        rm -f "$restarts" # who asks for the job again by hand begins anew
        echo "requeued $FRUITLESS times and no checkpoint, shard or stage was finished: giving up" >&2
        exit 1
    fi
    if [ -n "${MAX_RESTARTS:-}" ] && [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
        echo "requeued $MAX_RESTARTS times already (MAX_RESTARTS): giving up" >&2
        exit 1
    fi
    echo "$SLURM_JOB_ID $num" >"$restarts"
    scontrol requeue "$SLURM_JOB_ID"
    exit 85
}
