#!/usr/bin/env bash
# A Ray cluster over the nodes of one Slurm job, a command beside it, and an orderly end.  Sourced by the other scripts:
#
#     on_ray_cluster COMMAND...     runs the command on the first node and ends the job with its status
#
# Site settings, from the environment of sbatch:
#     RUN_DIR       run folder, on a file system that all nodes see (required)
#     RECIPE        recipe name or file                              (default: the one that RUN_DIR keeps)
#     SOURCE        mimic3:DIR, mimic4:DIR, meds:DIR, synthetic:N    (default: the recipe's)
#     CKD_HOME      this checkout                                    (default: where sbatch was called)
#     VENV          virtual environment                              (default: CKD_HOME/.venv)
#     NODE_TMP      a folder on each node's own disk, short path     (default: /tmp)
#     MAX_RESTARTS  requeues before the job gives up                 (default: 20)
# Words after the script's name go to the command: sbatch slurm/teacher.sh teacher.workers.num=8
#
# Before the time limit Slurm sends USR1 (--signal=B:USR1@300): the stage saves, the command ends with 85, the job is
# requeued and goes on from there.  TERM (scancel, preemption) saves too and leaves requeueing to Slurm.
# Ray has a token of its own per job.  It has no loopback mode: use exclusive nodes, and TLS (RAY_USE_TLS) between them.
set -euo pipefail
umask 077
ulimit -c 0 # no record text in core dumps

: "${RUN_DIR:?give RUN_DIR, a folder that all nodes see}"
: "${SLURM_JOB_ID:?not inside a Slurm job: start this with sbatch}"
CKD_HOME=${CKD_HOME:-$SLURM_SUBMIT_DIR}
VENV=${VENV:-$CKD_HOME/.venv}
NODE_TMP=${NODE_TMP:-/tmp}
MAX_RESTARTS=${MAX_RESTARTS:-20}
export PATH="$VENV/bin:$PATH"

secrets="$RUN_DIR/.job-$SLURM_JOB_ID"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secrets/token" RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # when the command has ended nobody is left to wait for
unset RAY_TRAIN_CALLBACKS

# What every node runs: Ray in the foreground, in a private folder that is gone afterwards.
ray_node() {
    local address=$1 port=${1##*:} folder="$NODE_TMP/ckd-$SLURM_JOB_ID-$SLURM_NODEID" ray="" ended="" status=0
    trap 'ended=1; [ -z "$ray" ] || kill "$ray" 2>/dev/null || true' TERM INT
    mkdir -p "$folder"
    chmod 700 "$folder" # Ray opens its own folders to all: only the one above is private
    local options=(
        --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=200000000
        --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=$((port + 1 + SLURM_NODEID % 90))
        --temp-dir="$folder/ray" --disable-usage-stats --block
    )
    if [ "$SLURM_NODEID" = 0 ]; then
        options+=(--head --port="$port" --node-ip-address="${address%:*}" --include-dashboard=false)
    else
        options+=(--address="$address")
        for _ in $(seq 60); do
            [ -z "$ended" ] || break
            (exec 3<>"/dev/tcp/${address%:*}/$port") 2>/dev/null && break
            sleep 1
        done
    fi
    if [ -z "$ended" ]; then
        ray start "${options[@]}" >"$folder/ray.log" 2>&1 &
        ray=$!
        [ -z "$ended" ] || kill "$ray" 2>/dev/null || true
        while kill -0 "$ray" 2>/dev/null && [ -z "$ended" ]; do
            [ ! -e "$secrets/end" ] || { ended=1 && kill "$ray" 2>/dev/null; }
            sleep 1
        done
        wait "$ray" || status=$?
        [ -n "$ended" ] || tail -n 20 "$folder/ray.log" >&2
    fi
    rm -rf "$folder"
    [ -n "$ended" ] || return "$status"
}

on_ray_cluster() {
    mkdir -p "$secrets"
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$secrets/token"
    local ip port=$((20000 + 100 * (SLURM_JOB_ID % 300))) cluster driver status=0 signal=""
    ip=$(hostname -I | cut -d' ' -f1)
    export RAY_ADDRESS="$ip:$port"

    srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --kill-on-bad-exit=0 \
        bash "$CKD_HOME/slurm/ray_cluster.sh" node "$RAY_ADDRESS" &
    cluster=$!
    (cd "$CKD_HOME" && exec "$@") &
    driver=$!
    trap 'signal=USR1; kill -USR1 "$driver" 2>/dev/null || true' USR1
    trap 'signal=TERM; kill -TERM "$driver" 2>/dev/null || true' TERM

    while kill -0 "$driver" 2>/dev/null; do
        wait -n "$cluster" "$driver" || true # a trap ends it early
        if kill -0 "$driver" 2>/dev/null && ! kill -0 "$cluster" 2>/dev/null; then
            echo "Ray ended before the command did; its last words are above" >&2
            kill -TERM "$driver" 2>/dev/null || true
            wait "$driver" || true
            stop_cluster "$cluster"
            exit 1
        fi
    done
    wait "$driver" || status=$?
    stop_cluster "$cluster"

    if [ "$signal" = USR1 ] && { [ "$status" = 85 ] || [ "$status" = 138 ]; }; then # 138: USR1 came while it started
        if [ "${SLURM_RESTART_COUNT:-0}" -ge "$MAX_RESTARTS" ]; then
            echo "requeued $MAX_RESTARTS times already: giving up" >&2
            exit 1
        fi
        scontrol requeue "$SLURM_JOB_ID"
        exit 85
    fi
    exit "$status"
}

# A file asks the nodes to end, because srun answers TERM by killing them where they stand.
stop_cluster() {
    touch "$secrets/end"
    for _ in $(seq 30); do
        kill -0 "$1" 2>/dev/null || break
        sleep 1
    done
    kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    rm -rf "$secrets"
}

# The command line that all stages share: launch_line STAGE [FIELD=VALUE ...]
launch_line() {
    local stage=$1
    shift
    on_ray_cluster python -m launch.run "$stage" --run "$RUN_DIR" \
        ${RECIPE:+--recipe "$RECIPE"} ${SOURCE:+--source "$SOURCE"} "$@"
}

if [ "${1:-}" = node ] && [ "${BASH_SOURCE[0]}" = "$0" ]; then
    ray_node "$2"
fi
