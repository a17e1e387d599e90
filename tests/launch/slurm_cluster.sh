#!/usr/bin/env bash
# A real two-node Slurm cluster on one host: slurm_cluster.sh COMMAND... runs the command against it and stops it again.
# Root, with Debian's slurm-wlm and munge.  Each node has one core, so that two workers need both, and eight GPUs, which
# are plain files.  A node that does not answer for ten seconds is dead; a job comes back five seconds after its end.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder" # slurm's own processes look into it
host=$(hostname)
for number in 0 1 2 3 4 5 6 7; do touch "$folder/gpu$number"; done
# As nearly all sites have it, where this machine's groups may be written; the other kind sends TERM to every process.
groups=/sys/fs/cgroup/freezer
if mkdir "$groups/ckd-probe" 2>/dev/null; then
    rmdir "$groups/ckd-probe"
    track=cgroup
else
    track=linuxproc
fi
mkdir -p "$folder/state" "$folder/log" /run/munge /var/log/munge
chown munge /run/munge /var/log/munge
chmod 755 /run/munge # who calls this may have a narrow umask
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldLogFile=$folder/log/ctld.log
SlurmdLogFile=$folder/log/%n.log
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/%n.pid
ProctrackType=proctrack/$track
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobRequeue=1
MinJobAge=600
SlurmdTimeout=10
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1 RealMemory=4000 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1 RealMemory=4000 Gres=gpu:8 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
echo "NodeName=n[1-2] Name=gpu File=$folder/gpu[0-7] AutoDetect=off" >"$folder/gres.conf"
printf '%s\n' CgroupPlugin=cgroup/v1 CgroupAutomount=no CgroupMountpoint="${groups%/*}" >"$folder/cgroup.conf"
export SLURM_CONF="$folder/slurm.conf" PATH="$PATH:/usr/sbin"

munge_pid=""
stop() {
    scancel --quiet --full --signal=KILL --user=root 2>/dev/null || true
    for _ in $(seq 60); do # who minds a job waits for its end
        [ -n "$(squeue --noheader --states=RUNNING,COMPLETING 2>/dev/null)" ] || break
        sleep 0.5
    done
    local pids
    pids=$(cat "$folder"/*.pid 2>/dev/null) || true
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do tail --pid="$pid" -f /dev/null; done # they write until they are gone
    [ -z "$munge_pid" ] || kill "$munge_pid" 2>/dev/null || true
    [ "$track" != cgroup ] || find "$groups"/slurm_n[12] -depth -type d -exec rmdir {} + 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

if ! pgrep -x munged >/dev/null; then
    [ -f /etc/munge/munge.key ] || su -s /bin/sh munge -c /usr/sbin/mungekey
    su -s /bin/sh munge -c /usr/sbin/munged
    munge_pid=$(pgrep -x munged)
fi
slurmctld -f "$folder/slurm.conf"
sleep 1
slurmd -f "$folder/slurm.conf" -N n1
slurmd -f "$folder/slurm.conf" -N n2
for _ in $(seq 30); do
    [ "$(sinfo --noheader --format=%D --states=idle)" != 2 ] || break
    sleep 1
done
[ "$(sinfo --noheader --format=%D --states=idle)" = 2 ] || { tail -n 20 "$folder"/log/*.log >&2; exit 1; }
"$@"
