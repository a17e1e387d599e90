# shellcheck shell=bash
# TLS between the nodes of one job: a certificate authority and one certificate, made for the job and gone with it.
# Sourced by ray_cluster.sh.

# Make both in the folder $1 and tell Ray, above one node; one node that does not ask for it needs none.
# Ends the job with 2 where nodes would talk in clear: whoever reads the token owns the job.
use_tls() {
    local wanted=${RAY_USE_TLS:-$((SLURM_JOB_NUM_NODES > 1))}
    if [[ "$wanted" != 1 && "$wanted" != [tT]rue ]]; then
        [ "$SLURM_JOB_NUM_NODES" -gt 1 ] || return 0
        echo "RAY_USE_TLS=$wanted: the $SLURM_JOB_NUM_NODES nodes would talk in clear; unset it, or sbatch --nodes=1" >&2
        exit 2
    fi
    if ! command -v openssl >/dev/null; then
        echo "no openssl on ${SLURMD_NODENAME:-this node}: load it in CKD_SITE for TLS between nodes, or sbatch --nodes=1" >&2
        exit 2
    fi
    make_certificate "$1" || { cat "$1/openssl.log" >&2; exit 1; }
    export RAY_USE_TLS=1 RAY_TLS_SERVER_CERT="$1/cert.pem" RAY_TLS_SERVER_KEY="$1/key.pem" RAY_TLS_CA_CERT="$1/ca.pem"
}

# Ray's clients check the address that they call, so the certificate names those of all nodes.  The authority's key goes
# at once: nobody can make a second certificate.
make_certificate() (
    cd "$1" || return 1
    local names=DNS:localhost,IP:127.0.0.1 node address curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
    for address in $(hostname -I); do
        [[ "$address" == *:* ]] || names+=",IP:$address"
    done
    for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
        names+=",DNS:$node"
        for address in $(addresses_of "$node"); do names+=",IP:$address"; done
    done
    {
        openssl req -x509 "${curve[@]}" -subj "/CN=job $SLURM_JOB_ID" -days 365 -keyout ca.key -out ca.pem &&
            openssl req "${curve[@]}" -subj "/CN=nodes of job $SLURM_JOB_ID" -keyout key.pem -out request.pem &&
            printf 'subjectAltName=%s\n' "$names" >names &&
            openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile names -out cert.pem
    } >openssl.log 2>&1 </dev/null || return 1
    rm -f ca.key ca.srl request.pem openssl.log # names stays: a node may look for its address in it
)
