"""The Kubernetes example: what KubeRay would accept, what our command line would, and nothing open or secret in it."""

import json
import shlex
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
import yaml

from ckd_dist.studies.disease.recipes import disease_mimic3_7b
from launch.room import filled
from launch.run import main
from tests.data import ROOT

FILE = ROOT / "launch" / "rayjob.yaml"
SCHEMA = json.loads(Path(__file__).with_name("rayjob_schema.json").read_text())


def rayjob():
    return yaml.safe_load(FILE.read_text())


def pods(job):
    """Every pod's specification: who submits, the head, the workers."""
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [job["spec"]["submitterPodTemplate"]["spec"], *(group["template"]["spec"] for group in groups)]


def test_kuberay_has_every_field_and_takes_every_value():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(rayjob(), SCHEMA)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: job["spec"].update(backofLimit=3),
        lambda job: job["spec"]["rayClusterSpec"]["authOptions"].update(mode="tokens"),
        lambda job: job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0].pop("template"),
        lambda job: pods(job)[1]["containers"][0]["resources"]["limits"].update(memory="much"),
    ],
    ids=["misspelt", "no such mode", "no pod", "no amount"],
)
def test_what_kuberay_refuses_is_refused_here(spoil):
    job = json.loads(json.dumps(rayjob()))  # where two places share a value, each has its own
    spoil(job)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMA)


def test_its_entrypoint_is_a_command_line_of_ours(capsys):
    program, *arguments = shlex.split(rayjob()["spec"]["entrypoint"])
    assert program == "ckd-dist"
    assert main([*arguments, "--dry-run"]) == 0, capsys.readouterr().err
    assert main([*arguments, "teacher.workers.nums=16", "--dry-run"]) == 2


def test_its_workers_fill_the_nodes():
    job = rayjob()
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    room = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    nodes = [{"CPU": float(room["cpu"]), "GPU": float(room["nvidia.com/gpu"])}] * group["replicas"]
    recipe = disease_mimic3_7b()
    for part in (recipe.teacher, recipe.label, recipe.student):
        assert filled(part.workers, nodes).num == 16
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")


def test_it_is_closed_and_holds_no_secret():
    job = rayjob()
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}, "no name of a secret, so KubeRay makes one"
    assert cluster["headGroupSpec"]["enableIngress"] is False
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    for pod in pods(job):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert not rights["privileged"] and not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert not [each for each in container.get("env", []) if "TOKEN" in each["name"]]
    assert "RAY_AUTH_TOKEN" not in FILE.read_text()
