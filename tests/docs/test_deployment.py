"""Container and cluster files: valid, consistent with each other, and accepted by the settings they are meant for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.roles import ROLES
from app.settings import SOFTWARE_VERSION, Settings, load
from tests.docs.pages import ROOT

CONTAINER = ROOT / "deploy" / "container"
CHART = ROOT / "deploy" / "chart"
CONTAINERFILE = (CONTAINER / "Containerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
UID = 10001
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what the files say, nothing is bound
TOKEN = "a-token-of-the-test-that-is-long"


def manifests(kind: str) -> dict[str, Any]:
    """Manifests of one kind in the chart, by name."""
    documents = (yaml.safe_load_all(path.read_text(encoding="utf-8")) for path in sorted(CHART.glob("*.yaml")))
    return {d["metadata"]["name"]: d for each in documents for d in each if d["kind"] == kind}


def pods() -> dict[str, Any]:
    """The pod of each deployment."""
    return {name: deployment["spec"]["template"]["spec"] for name, deployment in manifests("Deployment").items()}


def accepted(config: str, variables: dict[str, str], folder: Path) -> Settings:
    """Load settings from a file and an environment whose secret files hold a token."""
    path, secret = folder / "app.yaml", folder / "secret"
    path.write_text(config, encoding="utf-8")
    secret.write_text(TOKEN, encoding="utf-8")
    return load(path, {name: str(secret) if name.endswith("_FILE") else value for name, value in variables.items()})


# --- Containerfile -----------------------------------------------------------------------------------------------


def test_what_the_containerfile_copies_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert sources == {"requirements.txt", "LICENSE", "app.yaml", "app", "operators", "models"}
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_nothing_that_is_copied_is_kept_out_of_the_build_context() -> None:
    ignored = (CONTAINER / "Containerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "**"
    assert {line[1:] for line in ignored if line.startswith("!")} == {
        "requirements.txt", "LICENSE", "app.yaml", "app", "operators", "models",
    }  # fmt: skip


def test_the_image_runs_as_a_fixed_user_and_is_watched() -> None:
    assert f"USER {UID}:{UID}" in CONTAINERFILE
    assert f"useradd --uid {UID}" in CONTAINERFILE
    assert re.search(r"HEALTHCHECK .*\n.*127\.0\.0\.1:8080/healthz", CONTAINERFILE)
    assert Settings().web.port == 8080


def test_the_image_holds_no_training_packages() -> None:
    assert "requirements-train" not in CONTAINERFILE
    assert "torch" not in (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("no torch", "")


def test_the_environment_of_the_image_is_accepted(tmp_path: Path) -> None:
    variables = dict(re.findall(r"(INTERVAL_\w+)=(\S+)", CONTAINERFILE))
    assert accepted("interval: {}", variables, tmp_path).node.state_dir == Path("/var/lib/interval")
    assert "VOLUME /var/lib/interval" in CONTAINERFILE


def test_images_bear_the_version_of_the_program() -> None:
    assert f'image.version="{SOFTWARE_VERSION}"' in CONTAINERFILE
    assert COMPOSE["services"]["node"]["image"] == f"interval:{SOFTWARE_VERSION}"
    kustomization = yaml.safe_load((CHART / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["images"] == [{"name": "interval", "newTag": SOFTWARE_VERSION}]


# --- Compose -----------------------------------------------------------------------------------------------------


def test_the_environment_of_compose_is_accepted_with_the_shipped_settings(tmp_path: Path) -> None:
    shipped = (ROOT / "app.yaml").read_text(encoding="utf-8")
    settings = accepted(shipped, COMPOSE["services"]["node"]["environment"], tmp_path)
    assert (settings.receive.bind, settings.web.bind) == (EVERYWHERE, EVERYWHERE)
    assert settings.web.token == TOKEN


def test_secrets_and_volumes_of_compose_are_declared() -> None:
    for service in COMPOSE["services"].values():
        assert set(service["secrets"]) <= set(COMPOSE["secrets"])
        named = {mount.split(":")[0] for mount in service["volumes"] if not mount.startswith(".")}
        assert named <= set(COMPOSE["volumes"])
    files = re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(COMPOSE["services"]))
    assert set(files) == set(COMPOSE["secrets"])


def test_compose_mounts_the_settings_where_they_are_read_by_default() -> None:
    mount = next(m for m in COMPOSE["services"]["node"]["volumes"] if "app.yaml" in m)
    source, target, mode = mount.split(":")
    assert (CONTAINER / source).resolve() == ROOT / "app.yaml"
    workdir = re.search(r"^WORKDIR (\S+)$", CONTAINERFILE, re.MULTILINE)
    assert workdir is not None
    assert (target, mode) == (f"{workdir[1]}/app.yaml", "ro")


def test_the_pages_of_compose_are_open_to_the_machine_only() -> None:
    assert "127.0.0.1:8080:8080" in COMPOSE["services"]["node"]["ports"]


def test_the_database_of_compose_is_new_enough() -> None:
    found = re.search(r"pgvector:(\d+)\.(\d+)\.(\d+)-pg\d+", COMPOSE["services"]["database"]["image"])
    assert found is not None
    assert tuple(map(int, found.groups())) >= (0, 8, 4)


# --- Kubernetes --------------------------------------------------------------------------------------------------


def test_every_role_has_its_deployment() -> None:
    roles = {}
    for name, pod in pods().items():
        (container,) = pod["containers"]
        command, flag, role, *_ = container["args"]
        assert (command, flag) == ("run", "--roles")
        roles[role] = name
    assert roles == {role: f"interval-{role}" for role in ROLES}


def test_the_kustomization_lists_every_manifest() -> None:
    listed = set(yaml.safe_load((CHART / "kustomization.yaml").read_text(encoding="utf-8"))["resources"])
    assert listed == {path.name for path in CHART.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}


@pytest.mark.parametrize("name", sorted(pods()))
def test_settings_and_environment_of_each_role_are_accepted(name: str, tmp_path: Path) -> None:
    config = manifests("ConfigMap")["interval-settings"]["data"]["app.yaml"]
    for container in containers(pods()[name]):
        variables = {entry["name"]: entry.get("value", "postgresql://database") for entry in container["env"]}
        settings = accepted(config, variables, tmp_path)
        assert settings.database_url == "postgresql://database"
        assert settings.deliver.value == "off"


def test_each_role_listens_where_its_pod_can_be_reached(tmp_path: Path) -> None:
    config = manifests("ConfigMap")["interval-settings"]["data"]["app.yaml"]
    for role in ("receive", "web"):
        (container,) = pods()[f"interval-{role}"]["containers"]
        variables = {entry["name"]: entry.get("value", "postgresql://database") for entry in container["env"]}
        section = getattr(accepted(config, variables, tmp_path), role)
        assert section.bind == EVERYWHERE
        assert [port["containerPort"] for port in container["ports"]] == [section.port]


@pytest.mark.parametrize("name", sorted(pods()))
def test_pods_run_as_the_user_of_the_image_and_write_to_volumes_only(name: str) -> None:
    pod = pods()[name]
    security = pod["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"], security["fsGroup"]) == (True, UID, UID)
    for container in containers(pod):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]


@pytest.mark.parametrize("name", sorted(pods()))
def test_references_of_a_pod_lead_somewhere(name: str) -> None:
    pod = pods()[name]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    secret = manifests("Secret")["interval"]["stringData"]
    mounts: dict[str, str] = {}
    for container in containers(pod):
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
        mounts |= {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        keys = {e["valueFrom"]["secretKeyRef"]["key"] for e in container["env"] if "valueFrom" in e}
        assert keys <= set(secret)
        for entry in container["env"]:
            if entry["name"].endswith("_FILE"):
                path = Path(entry["value"])
                assert volumes[mounts[str(path.parent)]]["secret"]["secretName"] == "interval"
                assert path.name in secret
    claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
    assert claims <= set(manifests("PersistentVolumeClaim"))
    configs = {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
    assert configs == {"interval-settings"}


def test_receive_is_one_pod_that_is_replaced_and_shares_its_spool_with_work() -> None:
    receive = manifests("Deployment")["interval-receive"]["spec"]
    assert (receive["replicas"], receive["strategy"]["type"]) == (1, "Recreate")
    state = [
        next(volume for volume in pods()[name]["volumes"] if volume["name"] == "state")
        for name in ("interval-receive", "interval-work")
    ]
    assert state[0] == state[1]


def test_services_select_pods_that_have_the_port() -> None:
    deployments = manifests("Deployment").values()
    for service in manifests("Service").values():
        selected = [d for d in deployments if d["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]]
        assert len(selected) == 1
        (container,) = selected[0]["spec"]["template"]["spec"]["containers"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= {p["name"] for p in container["ports"]}


def test_a_restart_is_not_the_answer_to_a_database_that_is_away() -> None:
    (container,) = pods()["interval-web"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert "httpGet" not in container["livenessProbe"]


def containers(pod: Any) -> Iterator[Any]:
    """Every container of a pod, those that run first included."""
    yield from pod["initContainers"]
    yield from pod["containers"]
