"""The manifests for Kubernetes follow its schemas, and contain what the product needs there."""

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

import killswitch
from killswitch import inherited_environment
from tests.supervision.system_process import MANAGE, environment
from tests.supervision.test_deploy_checks import SIGNING_KEY

DIRECTORY = settings.BASE_DIR / "deploy" / "kubernetes"
# An older one as well: a cluster is rarely of the newest.
VERSIONS = ("1.29", kubernetes_validate.latest_version())
SECRETS = {
    "secret_key": secrets.token_urlsafe(50),
    "database_url": "postgresql://killswitch:letters@127.0.0.1:1/killswitch",
    "redis_url": "redis://:letters@127.0.0.1:1/0",
    "ems_api_key": "key-of-the-ems",
    "audit_signing_key": SIGNING_KEY.decode(),
    "alert_urls": "json://pager.example.com",
    "archive_urls": "json://archive.example.com",
}


def documents() -> list[dict[str, Any]]:
    return [
        document
        for path in sorted(DIRECTORY.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    """Return the documents of these kinds by name."""
    return {one["metadata"]["name"]: one for one in documents() if one["kind"] in kinds}


PODS = {
    name: document["spec"]["template"]["spec"]
    for name, document in of_kind("StatefulSet", "Job").items()
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_follows_the_schema(version: str) -> None:
    assert len(documents()) >= 9
    for document in documents():
        # YAML's anchors make one object of two, which the schemas need not know.
        plain = json.loads(json.dumps(document))
        kubernetes_validate.validate(plain, version, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights_and_the_right_image(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert container["image"] == f"killswitch:{killswitch.__version__}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001, "as in the Dockerfile"
    assert pod["automountServiceAccountToken"] is False
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {
        "/var/lib/killswitch": "home",
        "/etc/killswitch": "secrets",
        "/tmp": "tmp",
    }


@pytest.mark.parametrize("program", ["web", "worker", "watchdog", "observer"])
def test_each_program_runs_with_a_disk_of_its_own(program: str) -> None:
    document = of_kind("StatefulSet")[f"killswitch-{program}"]
    spec = document["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["args"] == ["up", "--only", program]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "home"
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 10


def test_no_probe_takes_break_glass_or_running_cancels_away() -> None:
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        if name == "killswitch-web":
            assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
            liveness = container["livenessProbe"]
            assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 120
        else:
            assert "livenessProbe" not in container


def test_the_service_and_the_policy_select_the_web() -> None:
    labels = of_kind("StatefulSet")["killswitch-web"]["spec"]["template"]["metadata"]["labels"]
    assert of_kind("Service")["killswitch-web"]["spec"]["selector"] == labels
    policies = of_kind("NetworkPolicy")
    assert policies["killswitch-web"]["spec"]["podSelector"]["matchLabels"] == labels
    assert "Ingress" in policies["killswitch"]["spec"]["policyTypes"]
    assert "ingress" not in policies["killswitch"]["spec"], "denied unless another one allows it"


def test_the_settings_are_those_of_a_complete_production_system(tmp_path: Path) -> None:
    variables = of_kind("ConfigMap")["killswitch"]["data"]
    assert inherited_environment.kept(variables) == variables
    files = {value for name, value in variables.items() if name.endswith("_FILE")}
    assert files == {f"/etc/killswitch/{name}" for name in SECRETS}
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(f"{value}\n")
    here = {
        name: value.replace("/etc/killswitch", str(tmp_path)) for name, value in variables.items()
    }
    process = subprocess.run(
        [sys.executable, MANAGE, "check", "--deploy", "--fail-level", "WARNING"],
        env=environment(KILLSWITCH_HOME=str(tmp_path / "home"), HOST="0.0.0.0", **here),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (0, ""), process.stderr
