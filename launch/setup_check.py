"""python -m launch.setup_check: builds what would otherwise be compiled in the middle of a first run.

DeepSpeed's CPU communication op is compiled where it is first used, by g++ and ninja, in a minute or so; after that it
lies in torch's extension folder (TORCH_EXTENSIONS_DIR).  With a GPU it is not used and not built.
"""

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path


def missing() -> str | None:
    """What the system lacks, in a sentence; None where it has all."""
    if shutil.which("g++") is None:
        return (
            "g++ is missing: install it (Debian: apt-get install g++); DeepSpeed builds its CPU communication with it"
        )
    if shutil.which("ninja") is None:
        return "ninja is missing: pip install ninja; DeepSpeed builds its CPU communication with it"
    return None


def build() -> None:
    """Compile and load the op, quietly; DeepSpeed's own words are shown only where that fails."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    words = io.StringIO()
    try:
        with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            from deepspeed.ops.op_builder.cpu.comm import ShareMemCommBuilder

            ShareMemCommBuilder().load(verbose=False)
    except Exception as error:
        print(words.getvalue(), file=sys.stderr)
        raise SystemExit(f"DeepSpeed's CPU communication could not be built: {error}") from None


def main() -> None:
    import torch

    os.umask(0o077)  # whoever can write the built library can run code as us
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if torch.cuda.is_available():
        return
    if sentence := missing():
        raise SystemExit(sentence)
    build()


if __name__ == "__main__":
    main()
