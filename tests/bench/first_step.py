"""How long from `sbatch slurm/teacher.sh` to the first step, on a real two-node Slurm cluster on this machine.

python -m tests.bench.first_step [--times 5]         as root, with Debian's slurm-wlm and munge
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from ckd_dist.progress import last
from tests.launch.fault_runs import copied, prompted
from tests.launch.slurm_site import two_nodes


def main() -> None:
    """Submit the same training again and again, each in a run folder of its own; print each time and the median."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="jobs")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder, two_nodes() as cluster:
        ready, found = prompted(Path(folder, "ready"), epochs=100), []
        (Path(cluster.environment["CKD_SITE"]).parent / "asked").mkdir()  # no GPU is missing
        for number in range(times):
            run = copied(ready, Path(folder, f"run{number}"))
            begun = time.monotonic()
            job = cluster.submit(run, "teacher.sh", Path(folder, "job.log"))
            while last(run.progress("train_teacher")) is None:
                assert cluster.field(job, "JobState") in ("PENDING", "RUNNING"), Path(folder, "job.log").read_text()
                time.sleep(0.3)
            found.append(time.monotonic() - begun)
            cluster.call("scancel", job)
            cluster.wait(job, "CANCELLED")
            print(f"job {number + 1}: {found[-1]:.1f} s", flush=True)
    print(f"median of {times}: {statistics.median(found):.1f} s ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    main()
