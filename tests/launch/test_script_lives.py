"""How often a job comes back: for ever where something gets finished, three times where nothing does."""

import signal
import subprocess

import pytest

from tests.launch.script_jobs import ROOT, SAVES, WAITS, requeues, wait_for


def lives(tmp_path, job, num, finishes="", **environment):
    """Let a job meet a fault in each of `num` lives; return the last one's status and words, and all requeues."""
    for life in range(num):
        told = {"SLURM_RESTART_COUNT": str(life), **environment}
        process = job(ray=WAITS, python=f"life={life}; {finishes}exit 85", environment=told)
        out, _ = process.communicate(timeout=30)
    return process.returncode, out, requeues(tmp_path)


UNFINISHED = """cd "$RUN_DIR"; mkdir -p teacher/step_000001-w2-a1 softlabels/p/.shard.tmp experiments/.checkpoints.a.tmp
touch teacher/step_000001-w2-a1/trainable.safetensors softlabels/p/shard-00001.error progress.jsonl
touch softlabels/p/.shard.tmp/a.safetensors experiments/.checkpoints.a.tmp/COMMITTED; """


def test_a_job_gives_up_after_three_requeues_that_finished_nothing(tmp_path, job):
    (tmp_path / "run" / "teacher" / "step_000001-w2-a0").mkdir(parents=True)
    (tmp_path / "run" / "teacher" / "step_000001-w2-a0" / "COMMITTED").touch()  # an earlier job's
    assert lives(tmp_path, job, 3, UNFINISHED)[::2] == (85, 3)
    code, out, num = lives(tmp_path, job, 1, UNFINISHED)
    assert (code, num) == (1, 3) and "requeued 3 times and no checkpoint" in out
    assert lives(tmp_path, job, 1)[::2] == (85, 4), "asked for by hand, it begins anew"


def test_a_job_that_finishes_something_comes_back_for_ever(tmp_path, job):
    """In every fourth life here: those between are as unlucky as may be."""
    step = '[ $((life % 4)) != 3 ] || { mkdir -p "$RUN_DIR/s/step_$life"; touch "$RUN_DIR/s/step_$life/COMMITTED"; }; '
    assert lives(tmp_path, job, 9, step)[::2] == (85, 9)


@pytest.mark.parametrize(
    "file",
    [
        "teacher/step_000001-w2-a1/COMMITTED",
        "curve/a_1/step_000001-w2-a1/COMMITTED",
        "softlabels/plan/shard-00001-ab.safetensors",
        "experiments/a.safetensors",
        "stages/label.json",
    ],
)
def test_whatever_is_finished_is_seen(tmp_path, file):
    file = tmp_path / ".run" / file
    file.parent.mkdir(parents=True)
    command = [
        "bash",
        "-c",
        f'source "{ROOT}/slurm/restarts.sh"; touch "$restarts"; is_further && exit 9; sleep 0.02; $0; is_further',
    ]
    environment = {"PATH": "/usr/bin:/bin", "RUN_DIR": str(tmp_path / ".run"), "SLURM_JOB_ID": "1234"}
    file.touch()
    assert subprocess.run([*command, "true"], env=environment).returncode == 1, "of an earlier life"
    assert subprocess.run([*command, f"touch {file}"], env=environment).returncode == 0


def test_what_a_life_finished_that_slurm_ended_counts(tmp_path, job):
    lives(tmp_path, job, 3)
    process = job(ray=WAITS, python='mkdir -p "$RUN_DIR/stages"; touch "$RUN_DIR/stages/a.json"; ' + SAVES)
    wait_for(tmp_path / "run" / "up")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert lives(tmp_path, job, 1)[::2] == (85, 4)


def test_another_job_begins_to_count_anew_and_one_that_is_done_keeps_no_count(tmp_path, job):
    (tmp_path / "run" / ".restarts").write_text("1233 3\n")
    assert lives(tmp_path, job, 3)[::2] == (85, 3)
    job(ray=WAITS, python="exit 0").communicate(timeout=30)
    assert not (tmp_path / "run" / ".restarts").exists()


def test_max_restarts_is_a_bound_of_its_own(tmp_path, job):
    finishes = 'mkdir -p "$RUN_DIR/stages"; touch "$RUN_DIR/stages/$life.json"; '
    code, out, num = lives(tmp_path, job, 3, finishes, MAX_RESTARTS="2")
    assert (code, num) == (1, 2) and "requeued 2 times already (MAX_RESTARTS): giving up" in out


def test_a_count_that_somebody_has_removed_begins_anew(tmp_path, job):
    assert lives(tmp_path, job, 2, 'rm -f "$RUN_DIR/.restarts"; ')[::2] == (85, 2)
