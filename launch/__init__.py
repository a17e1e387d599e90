"""Runs the stages of `ckd_dist` on Ray.  The only folder that imports ray.

In a checkout it is the package `launch`, in a wheel `ckd_dist.launch`: imports inside it are relative.
"""

from . import environment  # noqa: F401, before any module imports Ray

PROGRAM = "ckd-dist" if __name__ == "ckd_dist.launch" else "python -m launch.run"  # what a person typed
