"""What a job's nodes are told before Ray starts: the site's file, GPUs, addresses, a certificate, old folders."""

import re
import sys

import pytest

from tests.launch.script_jobs import FAKES, ROOT, WAITS, left_over


def test_every_port_of_a_job_is_its_own(tmp_path, job):
    """All 100 from the first on; job 220 would get port 10000, beside the one that Ray takes for its clients."""
    process = job(
        ray='echo "$@" > "$RUN_DIR/ray"; exec sleep 60',
        python='while [ ! -s "$RUN_DIR/ray" ]; do sleep 0.1; done; echo "$RAY_ADDRESS" > "$RUN_DIR/seen"',
        environment={"SLURM_JOB_ID": "220"},
    )
    process.communicate(timeout=30)
    given = dict(re.findall(r"--([a-z-]*port)=(\d+)", (tmp_path / "run" / "ray").read_text()))
    ports = [int(given[name]) for name in ("port", "dashboard-agent-listen-port", "ray-client-server-port")]
    assert len(set(ports)) == 3 and all(10000 <= port < 10100 for port in ports)
    assert (tmp_path / "run" / "seen").read_text() == f"192.0.2.1:{ports[0]}\n"


UNTIL_RAY_SEES = 'while [ ! -s "$RUN_DIR/ray_sees" ]; do sleep 0.1; done'


def test_a_site_s_own_file_is_sourced_on_the_batch_host_and_on_every_node(tmp_path, job):
    site = tmp_path / "site.sh"
    site.write_text('export NCCL_SOCKET_IFNAME=ib0; echo "${SLURM_NODEID:-batch}" >> "$RUN_DIR/sourced"\n')
    process = job(
        ray='echo "$NCCL_SOCKET_IFNAME" > "$RUN_DIR/ray_sees"; exec sleep 60',
        srun='echo "$@" > "$RUN_DIR/srun"; ' + FAKES["srun"],
        python='echo "$NCCL_SOCKET_IFNAME" > "$RUN_DIR/driver_sees"; ' + UNTIL_RAY_SEES,
        environment={"CKD_SITE": str(site), "CKD_SRUN": "--container-image=trainer --mpi=none"},
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    run = tmp_path / "run"
    assert (run / "sourced").read_text() == "batch\n0\n"
    assert (run / "ray_sees").read_text() == (run / "driver_sees").read_text() == "ib0\n"
    assert (run / "srun").read_text().startswith("--container-image=trainer --mpi=none --nodes=1 ")


def test_a_site_s_own_file_may_read_what_is_not_set_and_fail_on_its_way(tmp_path, job):
    """As those of environment modules and conda do; the scripts themselves stay strict."""
    site = tmp_path / "site.sh"
    site.write_text("export FOUND=/opt/lib:$NEVER_SET\nfalse\nfalse | true\nexport SITE=read; false\n")
    process = job(
        ray='echo "$SITE $FOUND" > "$RUN_DIR/ray_sees"; exec sleep 60',
        python='echo "$SITE" > "$RUN_DIR/driver_sees"; ' + UNTIL_RAY_SEES,
        environment={"CKD_SITE": str(site)},
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert (tmp_path / "run" / "ray_sees").read_text() == "read /opt/lib:\n"
    assert (tmp_path / "run" / "driver_sees").read_text() == "read\n"
    for script in ("node.sh", "ray_cluster.sh"):
        assert re.search(r'source "\$CKD_SITE"\n    set -euo pipefail\n', (ROOT / "slurm" / script).read_text())


def test_a_site_s_file_that_is_not_there_is_refused_on_the_batch_host_and_on_a_node(tmp_path, job):
    process = job(ray=WAITS, python=WAITS, environment={"CKD_SITE": str(tmp_path / "site.sh")})
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2 and f"CKD_SITE={tmp_path}/site.sh: no such file on n1" in out
    (tmp_path / "site.sh").touch()
    process = job(
        ray=WAITS,
        python=WAITS,
        srun='rm -f "$CKD_SITE"; ' + FAKES["srun"],
        environment={"CKD_SITE": f"{tmp_path}/site.sh"},
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2 and "node n1: CKD_SITE" in out


GPUS = 'for i in 1 2; do echo "GPU $i: a name (UUID: GPU-$i)"; done'


@pytest.mark.parametrize(
    ("given", "fakes", "code", "said"),
    [
        ("2", {"nvidia-smi": GPUS}, 0, ""),
        ("1", {"nvidia-smi": GPUS}, 0, ""),
        ("3", {"nvidia-smi": GPUS}, 85, "node n1: Slurm gave 3 GPUs, nvidia-smi sees 2"),
        ("2", {"nvidia-smi": "echo no driver; exit 9"}, 85, "node n1: Slurm gave 2 GPUs, nvidia-smi sees 0"),
        ("2", {}, 2, "node n1: Slurm gave 2 GPUs and there is no nvidia-smi"),
        ("0", {}, 0, ""),
    ],
)
def test_gpus_that_slurm_gave_are_counted_before_ray_starts(
    tmp_path, node_tmp, job, bare_path, given, fakes, code, said
):
    process = job(
        ray='touch "$RUN_DIR/ray"; exec sleep 60',
        python='while [ ! -e "$RUN_DIR/ray" ]; do sleep 0.1; done',
        environment={"SLURM_GPUS_ON_NODE": given, "PATH": bare_path},
        **fakes,
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code and said in out
    assert (tmp_path / "run" / "ray").exists() == (code == 0)
    assert (tmp_path / "run" / "scontrol").exists() == (code == 85)
    assert "Ray ended before" not in out
    assert not left_over(tmp_path, node_tmp)


CHECKS_CERTIFICATE = """cd "$RUN_DIR/.job-1234"
check() { openssl verify -CAfile "$RAY_TLS_CA_CERT" "$@" "$RAY_TLS_SERVER_CERT" 2>&1; }
for place in "ip 127.0.0.1" "ip 192.0.2.1" "ip 192.0.2.2" "ip 192.0.2.7" "hostname n2" "hostname localhost"; do
    check -verify_$place >> "$RUN_DIR/verified"
done
check -verify_ip 127.0.1.1 > "$RUN_DIR/refused"
openssl pkey -in "$RAY_TLS_SERVER_KEY" -noout && stat -c '%a %n' . * > "$RUN_DIR/modes"
echo "$RAY_USE_TLS $RAY_AUTH_MODE" > "$RUN_DIR/seen"
"""


def test_two_nodes_talk_over_tls_with_a_certificate_of_the_job_s_own(tmp_path, node_tmp, job):
    process = job(ray=WAITS, python=CHECKS_CERTIFICATE, environment={"SLURM_JOB_NUM_NODES": "2"})
    out, _ = process.communicate(timeout=30)
    run = tmp_path / "run"
    assert process.returncode == 0, out
    assert (run / "verified").read_text().count("OK") == 6 and "mismatch" in (run / "refused").read_text()
    assert (run / "modes").read_text().split("\n")[:-1] == [
        "700 .",
        "600 addresses",
        "600 ca.pem",
        "600 cert.pem",
        "600 key.pem",
        "600 names",
        "600 token",
    ]
    assert (run / "seen").read_text() == "1 token\n"
    assert not left_over(tmp_path, node_tmp)


TWO_NODES = """while [[ $1 == --* ]]; do shift; done
status=0; running=()
for i in 0 1; do SLURM_NODEID=$i SLURMD_NODENAME=n$((i + 1)) SLURM_CPUS_ON_NODE=2 "$@" & running+=($!); done
for each in "${running[@]}"; do wait "$each" || status=$?; done; exit $status"""
# The first node's own name is in no table; its address is the loopback, so that the second may call it here.
HOST = 'echo "127.0.0.1"'
JOINS = f"""case " $* " in
*" --head "*) exec {sys.executable} -c "import os, socket, time
server = socket.create_server(('127.0.0.1', int(os.environ['RAY_ADDRESS'].rpartition(':')[2]))); time.sleep(60)" ;;
*) echo "$@" > "$RUN_DIR/joined"; exec sleep 60 ;;
esac"""


@pytest.mark.parametrize(
    ("second", "code", "said"),
    [
        ('echo "${SLURM_NODEID:+127.0.1.1 }${SLURM_NODEID-192.0.2.2 }STREAM"', 0, "--node-ip-address=192.0.2.2\n"),
        ("exit 2", 0, "--node-ip-address=127.0.0.1\n"),
        ('[ -n "${SLURM_NODEID:-}" ] && echo "192.0.2.9 STREAM"', 85, "so the job's certificate lacks 192.0.2.9"),
    ],
    ids=["its own table has the loopback", "what all know", "its own table alone has it"],
)
def test_a_node_has_the_address_that_the_batch_host_gives_it(tmp_path, node_tmp, job, second, code, said):
    """The certificate names what the batch host resolves, so that a node's own table does not matter."""
    process = job(
        ray=JOINS,
        srun=TWO_NODES,
        hostname=HOST,
        getent=f'[ "$2" = n2 ] || exit 2; {second}',
        python='for i in {1..200}; do [ ! -s "$RUN_DIR/joined" ] || exit 0; sleep 0.1; done; exit 1',
        environment={"SLURM_JOB_NUM_NODES": "2"},
    )
    out, _ = process.communicate(timeout=60)
    joined = tmp_path / "run" / "joined"
    assert process.returncode == code and said in (out if code else joined.read_text()), out
    assert joined.exists() == (code == 0)
    assert not left_over(tmp_path, node_tmp)


@pytest.mark.parametrize(
    ("nodes", "settings", "code", "said"),
    [
        ("2", {"RAY_USE_TLS": "0"}, 2, "RAY_USE_TLS=0: the 2 nodes would talk in clear"),
        ("2", {"lacks": "openssl"}, 2, "no openssl on n1"),
        ("1", {"RAY_USE_TLS": "0"}, 0, ""),
        ("1", {"lacks": "openssl"}, 0, ""),
    ],
)
def test_several_nodes_without_tls_are_refused(job, bare_path, nodes, settings, code, said):
    path = {"PATH": bare_path} if "lacks" in settings else {}
    process = job(ray=WAITS, python="exit 0", environment={"SLURM_JOB_NUM_NODES": nodes} | settings | path)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code and said in out
    assert out.count("\n") == (code == 2)


def test_folders_of_dead_jobs_are_swept_and_those_of_the_living_are_not(tmp_path, node_tmp, job):
    """In the queue are 1000 and this job, 1234."""
    dead, alive, others = (
        ("ckd-999-1", "ckd-7-0"),
        ("ckd-1000-1", "ckd-1300-0"),
        ("ckd-ab_cdefg", "ckd-7-0-old", "n7-0"),
    )
    for name in dead + alive + others:
        (node_tmp / name / "ray").mkdir(parents=True)
    (node_tmp / "ckd-8-0").symlink_to(node_tmp / "n7-0")
    for number in (999, 1000):
        (tmp_path / "run" / f".job-{number}").mkdir()
    process = job(ray=WAITS, python="sleep 1")
    process.communicate(timeout=30)
    assert {path.name for path in node_tmp.iterdir()} == {*alive, *others, "ckd-8-0"}
    assert [path.name for path in tmp_path.glob("run/.job-*")] == [".job-1000"]


def test_nothing_is_swept_where_the_queue_cannot_be_asked(node_tmp, job):
    (node_tmp / "ckd-7-0").mkdir()
    job(ray=WAITS, python="sleep 1", squeue="exit 1").communicate(timeout=30)
    assert (node_tmp / "ckd-7-0").exists()


def test_a_path_too_long_for_a_socket_is_refused_at_once(job):
    process = job(ray=WAITS, python=WAITS, environment={"NODE_TMP": "/" + "x" * 40})
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2 and "is too long for Ray's sockets" in out
