"""Whether every node of a cluster has the packages that the project names, in the versions that it names.

A submitted job brings its code along and no packages, so a node may have others than its driver.  Found out before a
stage begins, and as one sentence: later it would be an exception in the middle of a model.
"""

import tomllib
from importlib import metadata
from pathlib import Path

import ray
from packaging.requirements import Requirement
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .lock import Failure

ASK_SECONDS = 300.0  # for a node's answer: it imports from a shared file system


def check_nodes() -> None:
    """Raise ValueError where a node of the cluster that is connected to lacks a package, or has another version.

    Raises Failure where a node does not answer.
    """
    names, nodes = wanted(), [node for node in ray.nodes() if node["Alive"]]
    ask = ray.remote(num_cpus=0)(lacking)
    asked = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(names)
        for node in nodes
    ]
    _, late = ray.wait(asked, num_returns=len(asked), timeout=ASK_SECONDS)
    if late:
        silent = ", ".join(node["NodeManagerAddress"] for node, each in zip(nodes, asked, strict=True) if each in late)
        raise Failure(f"no answer within {ASK_SECONDS / 60:g} minutes from {silent}")
    for node, lacks in zip(nodes, ray.get(asked), strict=True):
        if lacks:
            raise ValueError(
                f"node {node['NodeManagerAddress']} has other packages than ckd_dist wants: {', '.join(lacks)}; "
                "install them there, or start the cluster from an image that has them"
            )


def wanted() -> list[str]:
    """Return what the project needs, as a checkout's pyproject.toml or an installed wheel says."""
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if project.is_file():
        return tomllib.loads(project.read_text())["project"]["dependencies"]
    return [each for each in metadata.requires("ckd_dist") or [] if "extra ==" not in each]


def lacking(names: list[str]) -> list[str]:
    """Say which of these requirements this Python does not meet.

    >>> lacking(["numpy>=2", "numpy<1.0", "no-such-package>=3"])[1]
    'no-such-package>=3 (not installed)'
    """
    lacks = []
    for name in names:
        requirement = Requirement(name)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            lacks.append(f"{name} (not installed)")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            lacks.append(f"{name} ({version} installed)")
    return lacks
