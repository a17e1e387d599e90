"""What pyproject.toml cannot say: beside the rooms of ckd_dist/, two folders of the checkout lie in the package.

In a checkout people type `python -m launch.run`; a wheel installs no top-level package but `ckd_dist`.
"""

from setuptools import find_packages, setup

MOVED = {"ckd_dist.launch": "launch", "ckd_dist.ds_configs": "ds_configs"}  # package in the wheel: folder here

setup(packages=[*find_packages(include=["ckd_dist*"]), *MOVED], package_dir=MOVED)
