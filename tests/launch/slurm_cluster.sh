#!/usr/bin/env bash
# A real two-node Slurm cluster on one host: slurm_cluster.sh COMMAND... runs the command against it and stops it again.
# Root, with Debian's slurm-wlm and munge.  Each node has one core, so that two workers need both.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder" # slurm's own processes look into it
host=$(hostname)
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
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldLogFile=$folder/log/ctld.log
SlurmdLogFile=$folder/log/%n.log
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
MinJobAge=600
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf" PATH="$PATH:/usr/sbin"

munge_pid=""
stop() {
    scancel --quiet --user=root 2>/dev/null || true
    local pids
    pids=$(cat "$folder"/*.pid 2>/dev/null) || true
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do tail --pid="$pid" -f /dev/null; done # they write until they are gone
    [ -z "$munge_pid" ] || kill "$munge_pid" 2>/dev/null || true
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
