"""How a job ends, whatever ends first: with the right status, nothing left, asked for again once or not at all."""

import os
import signal
import time

import pytest

from tests.launch.script_jobs import SAVES, WAITS, left_over, requeues, wait_for


def test_the_driver_s_status_is_the_job_s_and_nothing_is_left(tmp_path, node_tmp, job):
    process = job(
        "teacher.sh",
        "teacher.workers.num=4",
        ray=WAITS,
        python='cd "$RUN_DIR"; stat -c %a "$RAY_AUTH_TOKEN_PATH" > mode; echo "$RAY_AUTH_MODE $@" > seen; exit 2',
    )
    process.communicate(timeout=30)
    assert process.returncode == 2
    assert (tmp_path / "run" / "mode").read_text() == "600\n"
    seen = (tmp_path / "run" / "seen").read_text()
    assert seen == f"token -m launch.run train_teacher --run {tmp_path}/run teacher.workers.num=4\n"
    assert not left_over(tmp_path, node_tmp)
    assert not (tmp_path / "run" / "scontrol").exists()


LOCKED = 'echo "{\\"pid\\": $$, \\"host\\": \\"$(uname -n)\\", \\"heartbeat\\": 1}" > "$RUN_DIR/driver.lock"; '


@pytest.mark.parametrize(
    ("ray", "python"),
    [
        ("echo port 1 is taken; exit 1", WAITS),
        ("sleep 1; echo port 1 is taken; exit 0", SAVES),
        ("sleep 1; echo port 1 is taken; kill -KILL $$", LOCKED + WAITS),
        ("sleep 1; echo port 1 is taken; exit 1", 'while [ ! -e "$RUN_DIR/.job-1234/end" ]; do :; done; exit 1'),
    ],
    ids=["never started", "the driver saves", "the driver is killed", "the driver fails of it first"],
)
def test_a_head_whose_ray_ends_is_a_fault_of_its_machine(tmp_path, node_tmp, job, ray, python):
    process = job(ray=ray, python=python)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 85
    assert "port 1 is taken" in out and "node n1: Ray ended" in out
    assert requeues(tmp_path) == 1
    assert not left_over(tmp_path, node_tmp) and not (tmp_path / "run" / "driver.lock").exists()


@pytest.mark.parametrize(
    ("nodes", "command", "code", "requeued"),
    [(2, 85, 2, 0), (1, 85, 85, 1), (137, 143, 85, 1), (85, 2, 85, 1), (85, 0, 0, 0)],
)
def test_nodes_that_end_before_the_command_end_the_job(tmp_path, job, nodes, command, code, requeued):
    """Nodes say why with their status; what the command says once Ray is gone is no matter, unless it is done."""
    process = job(
        ray=WAITS, srun=f"sleep 1; exit {nodes}", python=f"trap 'kill $!; exit {command}' TERM; sleep 60 & wait"
    )
    process.communicate(timeout=30)
    assert process.returncode == code and requeues(tmp_path) == requeued


def test_a_job_that_slurm_ends_with_all_its_processes_is_not_asked_for_again(tmp_path, job):
    """As scancel does where Slurm tracks processes otherwise than by cgroup."""
    process = job(ray=WAITS, python=SAVES, srun='echo $$ > "$RUN_DIR/srun"; exec sleep 60')
    wait_for(tmp_path / "run" / "up")
    wait_for(tmp_path / "run" / "srun")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    os.kill(int((tmp_path / "run" / "srun").read_text()), signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == 85 and requeues(tmp_path) == 0


@pytest.mark.parametrize(("sent", "requeued"), [(signal.SIGUSR1, "requeue 1234\n"), (signal.SIGTERM, None)])
def test_a_signal_saves_and_usr1_alone_requeues_exactly_once(tmp_path, node_tmp, job, sent, requeued):
    """TERM leaves requeueing to Slurm."""
    process = job(ray=WAITS, python=SAVES)
    wait_for(tmp_path / "run" / "up")
    process.send_signal(sent)
    process.communicate(timeout=30)
    assert process.returncode == 85
    said = tmp_path / "run" / "scontrol"
    assert (said.read_text() if said.exists() else None) == requeued
    assert not left_over(tmp_path, node_tmp)


@pytest.mark.parametrize(("code", "requeued"), [(85, 1), (130, 0), (2, 0), (1, 0)])
def test_machines_at_fault_requeue_the_job_and_a_person_s_stop_or_a_mistake_ends_it(
    tmp_path, node_tmp, job, code, requeued
):
    """Whatever lies in error.log: a second command that was refused may have written it."""
    process = job(ray=WAITS, python=f'touch "$RUN_DIR/error.log"; exit {code}')
    process.communicate(timeout=30)
    assert process.returncode == code and requeues(tmp_path) == requeued
    assert not left_over(tmp_path, node_tmp)


def test_what_a_killed_life_of_the_job_left_does_not_end_the_next(tmp_path, job):
    (tmp_path / "run" / ".job-1234").mkdir()
    (tmp_path / "run" / ".job-1234" / "end").touch()
    process = job(
        ray='touch "$RUN_DIR/ray"; exec sleep 60',
        python='while [ ! -e "$RUN_DIR/ray" ]; do sleep 0.1; done; sleep 3; exit 0',
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out


def test_term_reaches_the_driver_while_ray_stays_up(tmp_path, job):
    """Slurm sends it to the node's part too; Ray has to be there until the driver has saved."""
    process = job(
        ray="""trap 'touch "$RUN_DIR/ray_ended"; exit' TERM
echo $PPID > "$RUN_DIR/node"; while sleep 0.1; do :; done""",
        python="""trap 'sleep 2; [ ! -e "$RUN_DIR/ray_ended" ] && touch "$RUN_DIR/saved"; exit 85' TERM
touch "$RUN_DIR/up"; while sleep 0.1; do :; done""",
    )
    run = tmp_path / "run"
    wait_for(run / "up")
    wait_for(run / "node")
    time.sleep(0.2)
    os.kill(int((run / "node").read_text()), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 85
    assert (run / "saved").exists() and (run / "ray_ended").exists()


def test_a_relative_run_folder_is_made_whole(tmp_path, job):
    """The driver starts in CKD_HOME, wherever sbatch was called."""
    process = job(
        ray=WAITS,
        python='echo "$RUN_DIR" > "$RUN_DIR/seen"',
        environment={"RUN_DIR": os.path.relpath(tmp_path / "run")},
    )
    process.communicate(timeout=30)
    assert (tmp_path / "run" / "seen").read_text() == f"{tmp_path}/run\n"
