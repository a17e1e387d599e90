# shellcheck shell=bash
# By which address nodes know one another.  Sourced by ray_cluster.sh, node.sh and tls.sh.

# The addresses that other nodes know a node by: those of its name, which is not that of this machine alone.
addresses_of() {
    getent ahostsv4 "$1" 2>/dev/null | awk '$1 !~ /^127\./ && !seen[$1]++ { print $1 }' || true
}

# The first of them of each node of the job, after its name.  Asked once, on the batch host: a node's own table may hold
# its name as one of that machine alone, and the certificate names what is asked here.
addresses_of_all() {
    local node
    for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
        echo "$node $(addresses_of "$node" | head -n 1)"
    done
}

# What the batch host calls this node; where it does not know it, what the node calls itself; where that is not known
# either, the first interface, which may be one for management.
address_of_this_node() {
    local known
    known=$(awk -v node="${SLURMD_NODENAME:-}" '$1 == node { print $2 }' "$CKD_SECRETS/addresses")
    [ -n "$known" ] || known=$(addresses_of "${SLURMD_NODENAME:-}" | head -n 1)
    echo "${known:-$(hostname -I | cut -d' ' -f1)}"
}
