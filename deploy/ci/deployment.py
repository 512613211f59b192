"""What the files of the deployment say, judged by other people's schemas and by what they promise.

Charts are rendered by Helm's own library; Kubernetes' schemas judge the manifests, Compose's the compose files. Beyond
them each promise of deploy/README.md about privileges, limits and secrets is looked up in what is rendered, and every
variable of a setting in what `avis config reference` lists. Usage: deployment.py FOLDER BINARY; rendered files go to the folder.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/kubernetes/avis"
# From the chart's kubeVersion to the newest that the validator knows.
NEWEST = int(kubernetes_validate.latest_version().split(".")[1])
VERSIONS = [f"1.{minor}" for minor in range(29, NEWEST + 1)]
OUT = pathlib.Path(sys.argv[1])
SETTINGS = set(re.findall(r"^\| `[^`]+` \| `(AVIS__\w+)`", (ROOT / "deploy/configuration.md").read_text(), re.M))
OTHERS = {"AVIS_DATA", "AVIS_CONFIG", "AVIS_LOG"}
checked = 0


def holds(what, condition):
    """Counts a check, and ends with its name where it fails."""
    global checked
    checked += 1
    if not condition:
        sys.exit(f"deployment: {what}")


def known(where, name):
    """A variable that the node reads."""
    setting = name.removesuffix("_FILE")
    holds(f"{where}: {name} is no setting", not name.startswith("AVIS_") or name in OTHERS or setting in SETTINGS)


def refused(what, values):
    """Values that the chart's schema has to refuse."""
    with helm.Chart.load(CHART) as chart:
        try:
            chart.validate_schema(values)
        except helm.HelmError:
            holds(what, True)
            return
    sys.exit(f"deployment: values.schema.json takes {what}")


def rendered(name, values):
    """The objects of the chart with some values, each good for every version of Kubernetes."""
    objects, text = [], []
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        for path, manifest in sorted(chart.render(values, name="prod", namespace="benefits").items()):
            if not path.endswith(".yaml"):
                continue
            text.append(manifest)
            objects += [one for one in yaml.safe_load_all(manifest) if one]
    (OUT / f"{name}.yaml").write_text("\n---\n".join(text))
    for one in objects:
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            print(f"deployment: {one['kind']} is the Prometheus operator's: its schema is not here, so not checked by one")
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)
            holds(f"{one['kind']} for {version}", True)
    return {kind: [one for one in objects if one["kind"] == kind] for kind in {one["kind"] for one in objects}}


def manifests(name, values):
    """What the chart promises of its pods, their doors, policies and budgets."""
    kinds = rendered(name, values)
    names = [(kind, one["metadata"]["name"]) for kind, of in kinds.items() for one in of]
    holds("two objects have one name", len(names) == len(set(names)))
    for stateful in kinds["StatefulSet"]:
        pod(stateful, kinds)
    holds("no token of the account", kinds["ServiceAccount"][0]["automountServiceAccountToken"] is False)
    holds("no Secret is in the chart", "Secret" not in kinds)
    watching(kinds, values)
    settings = OUT / f"{name}.toml"
    settings.write_text(next(one["data"]["avis.toml"] for one in kinds["ConfigMap"] if "avis.toml" in one["data"]))
    return settings, kinds


def watching(kinds, values):
    """The rules and dashboards are those of the tree, all of them, where they are asked for."""
    asked = values.get("prometheusRule", {})
    for path in sorted((ROOT / "deploy/prometheus/rules").glob("*.yml")) if asked.get("enabled") else []:
        text = path.read_text().replace("{{ $externalLabels.runbook }}", asked.get("runbook") or "{{ $externalLabels.runbook }}")
        told = [one["spec"] for one in kinds["PrometheusRule"] if one["metadata"]["name"] == f"prod-avis-{path.stem}"]
        holds(f"the chart's rules are not those of {path.name}", told == [yaml.safe_load(text)])
    holds("rules that nobody asked for", asked.get("enabled") or "PrometheusRule" not in kinds)
    files = {path.name: path.read_text() for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}
    told = [one["data"] for one in kinds["ConfigMap"] if "avis.toml" not in one["data"]]
    is_asked = values.get("dashboards", {}).get("enabled")
    holds("the chart's dashboards are not those of the tree", files and told == ([files] if is_asked else []))
    for monitor in kinds.get("ServiceMonitor", []):
        jobs = [one["replacement"] for one in monitor["spec"]["endpoints"][0]["relabelings"] if one["targetLabel"] == "job"]
        holds("the rules know the targets by another job", jobs == ["avis"])


def pod(stateful, kinds):
    """What the chart promises of one pod."""
    name, spec = stateful["metadata"]["name"], stateful["spec"]["template"]["spec"]
    container, labels = spec["containers"][0], stateful["spec"]["template"]["metadata"]["labels"]
    own = lambda kind: [one for one in kinds[kind] if one["metadata"]["name"] in (name, f"{name}-headless")]
    selectors = [stateful["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in own("Service")]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in own("PodDisruptionBudget")]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in own("NetworkPolicy")]
    holds(f"{name}: two services, a budget and a policy", len(selectors) == 5)
    holds(f"{name}: a selector misses the pod", all(selector.items() <= labels.items() for selector in selectors))
    others = [one["spec"]["template"]["metadata"]["labels"] for one in kinds["StatefulSet"] if one is not stateful]
    both = [selector for selector in selectors if any(selector.items() <= other.items() for other in others)]
    holds(f"{name}: a selector takes another pod", not both)
    # The Pod Security Standards' "restricted", and a root that nobody writes to.
    held = container["securityContext"]
    holds("non-root", spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0)
    holds("seccomp", spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"})
    holds("capabilities", held["capabilities"] == {"drop": ["ALL"]} and held["allowPrivilegeEscalation"] is False)
    holds("read-only root", held["readOnlyRootFilesystem"] is True)
    holds("no token", spec["automountServiceAccountToken"] is False)
    holds("limits", {"cpu", "memory"} <= container["resources"]["requests"].keys())
    holds("a limit of memory", "memory" in container["resources"]["limits"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    wanted = {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    holds("probes", probes == wanted)
    for service in own("Service"):
        holds("a service's port is the pod's", {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys())
    policy = own("NetworkPolicy")[0]["spec"]
    holds("both directions", policy["policyTypes"] == ["Ingress", "Egress"])
    for rule in policy["ingress"] or []:
        holds("a door for everybody", rule["from"] and {port["port"] for port in rule["ports"]} <= ports.keys())
    volumes = {volume["name"] for volume in spec["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    holds("every mount has its volume", {mount["name"] for mount in container["volumeMounts"]} == volumes)
    places = tuple(f"{mount['mountPath']}/" for mount in container["volumeMounts"])
    for variable in container["env"]:
        known("the chart", variable["name"])
        value = variable.get("value", "")
        holds(f"{name}: nothing is mounted at {value}", not value.startswith("/etc/") or value.startswith(places))


def apart(kinds):
    """What it promises where each role has its own pods."""
    pods = {one["metadata"]["name"]: one["spec"] for one in kinds["StatefulSet"]}
    wanted = {"prod-avis": 1, "prod-avis-authoriser": 3, "prod-avis-pipelines": 1, "prod-avis-warehouse": 1}
    holds("a role each", {name: spec["replicas"] for name, spec in pods.items()} == wanted)
    services = {one["metadata"]["name"]: {port["name"]: port["port"] for port in one["spec"]["ports"]} for one in kinds["Service"]}
    for name, spec in pods.items():
        container = spec["template"]["spec"]["containers"][0]
        role = "connectors" if name == "prod-avis" else name.removeprefix("prod-avis-")
        holds(f"{name} has its role", container["args"] == ["up", "--role", role])
        env = {variable["name"]: variable["value"] for variable in container["env"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        keys, tls = mounts[env["AVIS__ROLES__CONNECTORS"]], mounts["/etc/avis-tls"]
        holds(f"{name} knows the others by the secret of the certificate",
              env["AVIS__ROLES__AUTHORITY"] == f"{tls['mountPath']}/ca.crt" and tls["name"] == "tls")
        holds(f"{name} reads the keys, and only connectors writes them", (role == "connectors") != keys.get("readOnly", False))
        for setting, port in {"AUTHORISER": "http", "WAREHOUSE": "http", "PIPELINES": "flight"}.items():
            scheme, host, number = re.fullmatch(r"(https?)://([^:]+):(\d+)", env[f"AVIS__ROLES__{setting}"]).groups()
            holds(f"{name} finds {host} encrypted", scheme == "https" and services[host][port] == int(number))
    for policy in kinds["NetworkPolicy"]:
        peers = [rule["from"] for rule in policy["spec"]["ingress"]]
        others = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "avis", "app.kubernetes.io/instance": "prod"}}}
        holds("the other roles come in", [others] in peers)


def charts():
    """The chart: Helm's lint, its defaults, everything at once, and what its schema refuses."""
    findings = helm.lint(CHART)
    serious = [one for one in findings["messages"] if one["severity"] > 1]
    holds(f"helm lint: {serious or findings['errors']}", not serious and not findings["errors"])
    everything = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
    roles = yaml.safe_load((CHART / "ci/roles-values.yaml").read_text())
    told = [manifests("defaults", {}), manifests("everything", everything), manifests("roles", roles)]
    apart(told[-1][1])
    refused("an unknown value", {"replicas": 2})
    refused("Redis without its secret", {"redis": {"enabled": True}})
    refused("a digest that is none", {"image": {"repository": "avis", "digest": "sha256:1"}})
    refused("one data node", {"fluvio": {"enabled": True, "replication": 1}})
    refused("a folder for many nodes", {"storage": {"accessModes": ["ReadWriteMany"]}})
    for value in ("redis", "fluvio", "tables", "storage", "tls"):
        refused(f"roles without {value}", {key: of for key, of in roles.items() if key != value})
    refused("roles whose tokens cross in the clear", {**roles, "tls": {"secretName": ""}})
    refused("a link into the runbook's middle", {"prometheusRule": {"runbook": "https://wiki.example.lv/runbook#a"}})
    refused("a peer that is none", {"networkPolicy": {"http": [{"everybody": True}]}})
    print(f"deployment: chart rendered by Helm {helm.helm_sdk_version()}, for Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}")
    return [settings for settings, _ in told]


def merged(under, over, key=None):
    """Two compose files as Compose puts one over the other, as far as ours need it."""
    if isinstance(under, dict) and isinstance(over, dict):
        return {key: merged(under.get(key), over.get(key), key) for key in {**under, **over}}
    if isinstance(under, list) and isinstance(over, list):
        if key == "volumes":
            # One is mounted at a place.
            places = {target(one) for one in over}
            under = [one for one in under if target(one) not in places]
        return under + [one for one in over if one not in under]
    return under if over is None else over


def target(volume):
    """Where a volume is mounted."""
    return volume.split(":")[1]


def watched(name, services):
    """Prometheus asks every process of ours, and in the way in which it answers."""
    ours = {one: service["environment"] for one, service in services.items() if service.get("image", "").startswith("${AVIS_IMAGE")}
    prometheus, place = services["prometheus"], "/etc/prometheus/prometheus.yml"
    source = next(one.split(":")[0] for one in prometheus["volumes"] if target(one) == place)
    settings = yaml.safe_load((ROOT / "deploy" / source).read_text())
    job = next(job for job in settings["scrape_configs"] if job["job_name"] == "avis")
    targets = [one for group in job["static_configs"] for one in group["targets"]]
    holds(f"{name}: {source} has {targets}", sorted(targets) == sorted(f"{one}:8080" for one in ours))
    secured = {"AVIS__TLS__CERTIFICATE" in of for of in ours.values()}
    holds(f"{name}: {source} asks otherwise than it is answered", secured == {job.get("scheme", "http") == "https"})
    if secured == {True}:
        authority = job["tls_config"]["ca_file"].removeprefix("/run/secrets/")
        holds(f"{name}: Prometheus has not {authority}", authority in prometheus["secrets"])
    return {key: of for key, of in settings.items() if key != "scrape_configs"}


def compose():
    """The compose files: alone, one over the other, and what each service promises."""
    schema = json.loads((ROOT / "deploy/ci/compose_spec/schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    layers = {name: yaml.safe_load((ROOT / "deploy" / name).read_text())
              for name in ("compose.yaml", "compose.full.yaml", "compose.roles.yaml")}
    single, full, told = layers["compose.yaml"], {}, []
    for name, layer in layers.items():
        full = merged(full, copy.deepcopy(layer))
        told.append(watched(name, full["services"]))
    holds("compose: one Prometheus is set otherwise than another", all(one == told[0] for one in told))
    for name, document in {**layers, "all": full}.items():
        faults = [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in validator.iter_errors(document)]
        holds(f"{name}: {faults}", not faults)
    wrong = copy.deepcopy(single)
    wrong["services"]["avis"]["port"] = ["8080:8080"]
    holds("the schema takes an unknown key", any(validator.iter_errors(wrong)))
    for name, service in full["services"].items():
        where = f"compose: {name}"
        image = service["image"]
        holds(f"{where}: the image has no version", re.search(r":(\$\{\w+:-)?[\w.-]*\d|:local", image))
        holds(f"{where}: the newest is no version", "latest" not in image and "stable" not in image)
        holds(f"{where}: limits", {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys())
        holds(f"{where}: privileges", "no-new-privileges:true" in service["security_opt"])
        holds(f"{where}: networks", set(service["networks"]) <= set(full["networks"]))
        for port in service.get("ports", []):
            holds(f"{where}: {port} is open to everybody", port.startswith("127.0.0.1:"))
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            holds(f"{where}: {source} is no volume", source.startswith(".") or source in full["volumes"])
        for other in service.get("depends_on", {}):
            holds(f"{where}: {other} is not there", other in full["services"])
            if service["depends_on"][other]["condition"] == "service_healthy":
                holds(f"{where}: {other} has no health check", "healthcheck" in full["services"][other])
        for variable, value in service.get("environment", {}).items():
            known(where, variable)
            secret = re.search(r"PASSWORD|SECRET|TOKEN|URLS", variable)
            holds(f"{where}: {variable} is in the open", not secret or str(value).startswith("/run/secrets/"))
            if str(value).startswith("/run/secrets/"):
                holds(f"{where}: {value} is not there", value.removeprefix("/run/secrets/") in service["secrets"])
            if variable.startswith("AVIS__ROLES__") and "://" in value:
                holds(f"{where}: {variable} is a way for tokens in the clear", value.startswith("https://"))
        for secret in service.get("secrets", []):
            holds(f"{where}: {secret} is not named", secret in full["secrets"])
    for secret, of in full["secrets"].items():
        holds(f"compose: {secret} lies in the tree", of["file"].startswith("${AVIS_SECRETS:-../../"))
    cluster = {name: of for name, of in full["services"].items() if re.fullmatch(r"redis-\d", name)}
    own = {of["networks"]["back"]["ipv4_address"] for of in cluster.values()}
    holds("compose: not six nodes of Redis, each with an address of its own", len(cluster) == len(own) == 6)
    for name, of in cluster.items():
        words = " ".join(of["command"])
        holds(f"compose: {name} speaks plainly to somebody", "--port 0 --tls-port 6379" in words
              and "--tls-replication yes" in words and "--tls-cluster yes" in words)
    maker = full["services"]["redis-cluster"]
    holds("compose: the cluster of Redis is not made of all nodes", maker["depends_on"].keys() == cluster.keys()
          and all(name in maker["command"][0] for name in cluster))
    caches = [of["environment"].get("AVIS__AUTHORISER__CACHE") for of in full["services"].values()
              if of["image"].startswith("${AVIS_IMAGE")]
    holds("compose: somebody asks another cache than the cluster", set(caches) == {"redis-cluster"})
    node = full["services"]["avis"]
    holds("the node's root is read-only", node["read_only"] and node["cap_drop"] == ["ALL"])
    holds("the node is no root", node["user"] == "10001:10001")
    print(f"deployment: {len(full['services'])} services of compose by the specification's schema")


def variables():
    """Settings that the image, the service and its examples name."""
    paths = [ROOT / "deploy/docker/Containerfile", ROOT / "deploy/systemd/avis.service"]
    paths += sorted((ROOT / "deploy/systemd/examples").iterdir())
    for path in paths:
        for name in re.findall(r"\bAVIS__?[A-Z_]+\b", path.read_text()):
            known(path.name, name)


def main():
    files = charts()
    compose()
    variables()
    binary = sys.argv[2]
    for file in files:
        subprocess.run([binary, "config", "check", file], check=True, stdout=subprocess.DEVNULL)
        holds("settings", True)
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    holds(f"the chart is of {chart['appVersion']}, the binary of {version}", chart["appVersion"] == version)
    image = (ROOT / "deploy/docker/Containerfile").read_text()
    holds("the image's label is of another version", f"ARG VERSION={version}\n" in image)
    toolchain = re.search(r'channel = "([^"]+)"', (ROOT / "rust-toolchain.toml").read_text()).group(1)
    holds("the image is built by another toolchain", f"/rust:{toolchain}-" in image)
    print(f"deployment: {checked} checks of manifests and compose files hold")


main()
