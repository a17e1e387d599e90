"""python -m launch.setup_check: builds what would otherwise be compiled in the middle of a first run.

Without a GPU, DeepSpeed needs a communication op of its own, in C++.  Left alone it compiles it where it is first used,
in a folder of the home directory that all environments share, behind a lock that a killed process leaves behind.  Here
it is built into the installed package instead: a minute or two, once, and no compiler in any run.
"""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

OP = "deepspeed.ops.comm.deepspeed_shm_comm_op"


def missing() -> str | None:
    """What the system lacks to build the op, in a sentence; None where it has all."""
    if shutil.which("g++") is None:
        return (
            "g++ is missing: install it (Debian: apt-get install g++); DeepSpeed's CPU communication is built with it"
        )
    if shutil.which("ninja") is None:
        return "ninja is missing: pip install ninja; DeepSpeed's CPU communication is built with it"
    return None


def build() -> None:
    """Install the same DeepSpeed again, from source, with the op in it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-build-isolation", "--no-cache-dir", "--no-binary", "deepspeed", "--no-deps", "--force-reinstall"]
    environment = os.environ | {"DS_BUILD_SHM_COMM": "1", "DS_ACCELERATOR": "cpu"}
    done = subprocess.run([*command, f"deepspeed=={version('deepspeed')}"], env=environment)
    if done.returncode:
        raise SystemExit("DeepSpeed's CPU communication could not be built: the compiler's words are above")


def main() -> None:
    import torch

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["DS_ACCELERATOR"] = "cpu"
    if torch.cuda.is_available() or find_spec(OP) is not None:
        return
    if sentence := missing():
        raise SystemExit(sentence)
    build()


if __name__ == "__main__":
    main()
