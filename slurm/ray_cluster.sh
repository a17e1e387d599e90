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
#     MAX_RESTARTS  most requeues                                    (default: no bound while something is finished)
#     CKD_SITE      a file that is sourced first, on the batch host and on every node: modules, NCCL variables, a fabric
#     CKD_SRUN      further options, as words, of the srun that starts Ray, as for a container (see README.md)
# Words after the script's name go to the command: sbatch slurm/teacher.sh teacher.workers.num=8
#
# Before the time limit Slurm sends USR1 (--signal=B:USR1@300): the stage saves, the command ends with 85, the job is
# requeued and goes on from there.  So is one whose machines were at fault, while something gets finished (restarts.sh).
# To stop one by hand so that it saves: touch RUN_DIR/STOP; so that it saves and goes on later: scancel --batch
# --signal=USR1 JOB.
# scancel, preemption and scontrol requeue send TERM to this shell and to node.sh, which keeps Ray up until the driver has
# saved: it has KillWait seconds (30 by default).  That is so with ProctrackType=proctrack/cgroup; the other kinds send it
# to every process, srun and Ray die at once, and what is lost are the steps since the last save by the clock.
# Ray has a token of its own per job and, above one node, TLS (tls.sh).  It has no loopback mode: use exclusive nodes.
set -euo pipefail
umask 077
ulimit -c 0 # no record text in core dumps

: "${RUN_DIR:?give RUN_DIR, a folder that all nodes see}"
: "${SLURM_JOB_ID:?not inside a Slurm job: start this with sbatch}"
if [ -n "${CKD_SITE:-}" ]; then
    [ -r "$CKD_SITE" ] || { echo "CKD_SITE=$CKD_SITE: no such file on ${SLURMD_NODENAME:-this node}" >&2; exit 2; }
    set +euo pipefail # a site's file and what it loads are not written for this
    # shellcheck source=/dev/null
    source "$CKD_SITE"
    set -euo pipefail
fi
export CKD_HOME=${CKD_HOME:-$SLURM_SUBMIT_DIR} NODE_TMP=${NODE_TMP:-/tmp}
export VENV=${VENV:-$CKD_HOME/.venv}
RUN_DIR=$(realpath -m -- "$RUN_DIR")
export RUN_DIR
export PATH="$VENV/bin:$PATH"
# shellcheck source=slurm/address.sh
source "$CKD_HOME/slurm/address.sh"
# shellcheck source=slurm/restarts.sh
source "$CKD_HOME/slurm/restarts.sh"
# shellcheck source=slurm/sweep.sh
source "$CKD_HOME/slurm/sweep.sh"
# shellcheck source=slurm/tls.sh
source "$CKD_HOME/slurm/tls.sh"
# A socket's path has at most 107 characters: NODE_TMP /ckd-JOB -NODE /ray/session_DATE_TIME_PID /sockets/plasma_store.
if [ $((${#NODE_TMP} + 5 + ${#SLURM_JOB_ID} + 4 + 47 + 21)) -gt 107 ]; then
    echo "NODE_TMP=$NODE_TMP is too long for Ray's sockets: give a folder with a shorter path" >&2
    exit 2
fi

export CKD_SECRETS="$RUN_DIR/.job-$SLURM_JOB_ID"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$CKD_SECRETS/token" RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # when the command has ended nobody is left to wait for
unset RAY_TRAIN_CALLBACKS

on_ray_cluster() {
    CKD_LIVING=$(squeue --noheader --user="$UID" --format=%A 2>/dev/null | tr '\n' ' ') || CKD_LIVING=""
    export CKD_LIVING
    mkdir -p "$RUN_DIR"
    sweep "$RUN_DIR" '\.job-([0-9]+)'
    rm -rf "$CKD_SECRETS" # of this job's life before it was requeued
    mkdir "$CKD_SECRETS"
    begin_counting
    addresses_of_all >"$CKD_SECRETS/addresses"
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$CKD_SECRETS/token"
    use_tls "$CKD_SECRETS"
    local port=$((10000 + 100 * (SLURM_JOB_ID % 220))) # below the ephemeral ports
    local cluster driver status=0 signal="" broken="" nodes=0
    RAY_ADDRESS="$(address_of_this_node):$port"
    export RAY_ADDRESS

    # A task gets one core unless it asks for more.
    # shellcheck disable=SC2086 # words
    srun ${CKD_SRUN:-} --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 \
        --cpus-per-task="$SLURM_CPUS_ON_NODE" --kill-on-bad-exit=0 bash "$CKD_HOME/slurm/node.sh" "$RAY_ADDRESS" &
    cluster=$!
    (cd "$CKD_HOME" && exec "$@") &
    driver=$!
    trap 'signal=USR1; kill -USR1 "$driver" 2>/dev/null || true' USR1
    trap 'signal=TERM; kill -TERM "$driver" 2>/dev/null || true' TERM

    while kill -0 "$driver" 2>/dev/null; do
        wait -n "$cluster" "$driver" || true # a trap ends it early
        if kill -0 "$driver" 2>/dev/null && ! kill -0 "$cluster" 2>/dev/null; then
            kill -TERM "$driver" 2>/dev/null || true
            wait_for_end "$driver" 120 || kill -KILL "$driver" # Ray ends whoever has lost its head after 60 s
        fi
    done
    wait "$driver" || status=$?
    [ ! -e "$CKD_SECRETS/end" ] || broken=1
    kill -0 "$cluster" 2>/dev/null || broken=1
    stop_cluster "$cluster" || nodes=$?
    unlock "$driver"
    # The command ends with 85 after USR1 (138: it came while it started) and after a fault of machines, with 130 where
    # somebody made RUN_DIR/STOP: that ends the job.  Where the nodes ended first, one of them has said why: a mistake
    # with 2, else a fault.  After TERM Slurm decides.
    local again=""
    case "$signal:${broken:+$nodes}:$status" in
        TERM:*:* | *:*:0) ;;
        *:2:*) status=2 ;;
        *:?*:* | *::85 | USR1::138) again=1 ;;
    esac
    rm -rf "$CKD_SECRETS"
    [ -z "$again" ] || requeue
    [ "$status" != 0 ] || rm -f "$restarts"
    exit "$status"
}

# A file asks the nodes to end, because srun answers TERM by killing them where they stand.  Returns the highest status.
stop_cluster() {
    touch "$CKD_SECRETS/end"
    wait_for_end "$1" 30 || kill -TERM "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null
}

# Wait until process $1 has ended, $2 seconds at most.  Returns 1 where it has not.
wait_for_end() {
    for _ in $(seq $((2 * $2))); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.5
    done
    return 1
}

# Remove the lock of the run folder where process $1 left it, killed: the next life would take it for somebody at work.
unlock() {
    ! grep -qs "\"pid\": $1, \"host\": \"$(uname -n)\"" "$RUN_DIR/driver.lock" || rm -f "$RUN_DIR/driver.lock"
}

# The command line that all stages share: launch_line STAGE [FIELD=VALUE ...]
launch_line() {
    local stage=$1
    shift
    on_ray_cluster python -m launch.run "$stage" --run "$RUN_DIR" \
        ${RECIPE:+--recipe "$RECIPE"} ${SOURCE:+--source "$SOURCE"} "$@"
}
