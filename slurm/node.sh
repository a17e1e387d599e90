#!/usr/bin/env bash
# What every node of a job runs, started by ray_cluster.sh: Ray in the foreground, in a private folder that is gone
# afterwards.  It ends when the file CKD_SECRETS/end is there, and with 85 or 2 where this node cannot work.
set -euo pipefail
umask 077
ulimit -c 0 # no record text in core dumps

# A node that cannot work ends the job at once: the others see the file, srun gives the highest status.
refuse() {
    echo "node ${SLURMD_NODENAME:-$(hostname)}: $2" >&2
    touch "$CKD_SECRETS/end"
    exit "$1"
}

if [ -n "${CKD_SITE:-}" ]; then
    [ -r "$CKD_SITE" ] || refuse 2 "CKD_SITE=$CKD_SITE: no such file on this node; put it where all nodes see it"
    set +euo pipefail # a site's file and what it loads are not written for this
    # shellcheck source=/dev/null
    source "$CKD_SITE"
    set -euo pipefail
fi
# shellcheck source=slurm/address.sh
source "$CKD_HOME/slurm/address.sh"
# shellcheck source=slurm/sweep.sh
source "$CKD_HOME/slurm/sweep.sh"
export PATH="$VENV/bin:$PATH"

HEAD_SECONDS=600 # for Ray on the first node to answer: it imports from a shared file system, beside all others
folder="$NODE_TMP/ckd-$SLURM_JOB_ID-$SLURM_NODEID"

# Fewer GPUs than Slurm gave are a fault of this machine: 85, the job is requeued.  No nvidia-smi at all is a matter of
# the site's modules, the same on every node: 2.  More are no fault: some sites do not hide those of other jobs.  Lines
# with a UUID are counted, so that slices of a divided GPU, which Slurm gives one by one, count too.
check_gpus() {
    local given=${SLURM_GPUS_ON_NODE:-0} seen
    [ "$given" -gt 0 ] || return 0
    command -v nvidia-smi >/dev/null ||
        refuse 2 "Slurm gave $given GPUs and there is no nvidia-smi: load what has it in CKD_SITE, or sbatch --gpus-per-node=0"
    seen=$(timeout 60 nvidia-smi -L 2>/dev/null | grep -c UUID) || true
    [ "$seen" -ge "$given" ] ||
        refuse 85 "Slurm gave $given GPUs, nvidia-smi sees $seen: a fault of this machine, tell the site"
}

# Where the batch host could not resolve this node's name the certificate lacks its address: nobody could call it.
check_address() {
    [ ! -e "$CKD_SECRETS/names" ] || grep -qwF "IP:$1" "$CKD_SECRETS/names" ||
        refuse 85 "the first node does not resolve this name, so the job's certificate lacks $1: put it into its /etc/hosts"
}

# Wait until the head's port is open.  Returns at once where the job ends.
wait_for_head() {
    local start=$SECONDS
    until (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; do
        [ ! -e "$CKD_SECRETS/end" ] || return 0
        [ $((SECONDS - start)) -lt "$HEAD_SECONDS" ] ||
            refuse 85 "no Ray answers at $1 after $((HEAD_SECONDS / 60)) minutes"
        sleep 0.5
    done
}

# Run Ray until the file is there.  Returns 85 where it ended by itself, after its last words: a fault of this machine.
run_ray() {
    local address=$1 port=${1##*:} mine ray
    local options=(
        --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --object-store-memory=200000000
        --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=$((port + 1 + SLURM_NODEID % 90))
        --temp-dir="$folder/ray" --disable-usage-stats --block
    )
    if [ "$SLURM_NODEID" = 0 ]; then
        options+=(--head --port="$port" --node-ip-address="${address%:*}" --include-dashboard=false)
        options+=(--ray-client-server-port=$((port + 99))) # it cannot be left out, and 10001 may be another job's
    else
        mine=$(address_of_this_node)
        check_address "$mine"
        options+=(--address="$address" --node-ip-address="$mine")
        wait_for_head "$address"
    fi
    [ ! -e "$CKD_SECRETS/end" ] || return 0
    ray start "${options[@]}" >"$folder/ray.log" 2>&1 &
    ray=$!
    while kill -0 "$ray" 2>/dev/null; do
        [ ! -e "$CKD_SECRETS/end" ] || kill "$ray" 2>/dev/null || true
        sleep 0.5
    done
    [ ! -e "$CKD_SECRETS/end" ] || return 0
    tail -n 20 "$folder/ray.log" >&2
    [ "$SLURM_NODEID" != 0 ] || refuse 85 "Ray ended, its last words are above; without its head the cluster is none"
    echo "node ${SLURMD_NODENAME:-$(hostname)}: Ray ended, its last words are above" >&2
    return 85
}

# Slurm sends TERM to this shell when the job is cancelled, preempted or requeued.  It goes on: the driver, which is told
# too, needs Ray to save.  What is left after KillWait Slurm kills.
trap : TERM INT
check_gpus
sweep "$NODE_TMP" 'ckd-([0-9]+)-[0-9]+'
rm -rf "$folder" # of this job's life before it was requeued
mkdir -p "$folder"
chmod 700 "$folder" # Ray opens its own folders to all: only the one above is private
trap 'rm -rf "$folder"' EXIT
run_ray "$1"
