"""A labeler in a process of its own, as on a cluster, which counts the bytes that it hashes.

python -m tests.end_to_end.labeler FILE      FILE: pickled study, stage, context and numbers of jobs
"""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

from ckd_dist.study import Context, resolve
from tests.data import ROOT

Hashed = dict[str, int]  # path of a file -> bytes


def counting(hashed: Hashed):
    """Return what hashes an open file as hashlib does, and counts its bytes."""
    digest = hashlib.file_digest

    def count(file, *arguments):
        hashed[file.name] = hashed.get(file.name, 0) + os.fstat(file.fileno()).st_size
        return digest(file, *arguments)

    return count


def in_own_process(work: str, context: Context, numbers: list[int], folder: Path) -> subprocess.CompletedProcess:
    """Do jobs of a stage in another process; its output is what it hashed."""
    file = folder / "jobs.pickle"
    file.write_bytes(pickle.dumps((work, context, numbers)))
    command = [sys.executable, "-m", "tests.end_to_end.labeler", file]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def main() -> None:
    work, context, numbers = pickle.loads(Path(sys.argv[1]).read_bytes())
    hashed: Hashed = {}
    hashlib.file_digest = counting(hashed)
    worker = resolve(work).worker(context, "cpu")
    for number in numbers:
        worker.do(number)
    print(json.dumps(hashed))


if __name__ == "__main__":
    main()
