"""Licences, sources and bans of every dependency that is built for Linux, as deny.toml says, and a bill of materials.

python3 supply.py METADATA BOM: METADATA is what `cargo metadata` says, BOM the file to write (CycloneDX 1.6,
checked against its schema).
"""

import json
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import AND, OR, get_spdx_licensing
from packageurl import PackageURL

CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
# What may be linked into a program that a state runs and gives on; `cargo deny` goes by the same lists.
DENY = tomllib.loads(Path("deny.toml").read_text())
ALLOWED = set(DENY["licenses"]["allow"])
BANS = DENY["bans"]
SPDX = get_spdx_licensing()


def is_allowed(expression) -> bool:
    """Whether somebody may take it under licences that are allowed."""
    if isinstance(expression, OR):
        return any(is_allowed(part) for part in expression.args)
    if isinstance(expression, AND):
        return all(is_allowed(part) for part in expression.args)
    return str(expression) in ALLOWED


def licence(package: dict) -> str:
    """The expression, in the form of today: a slash was once an OR."""
    return " OR ".join(part.strip() for part in (package["license"] or "").split("/"))


def faults(packages: list[dict]):
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if package["source"] not in (None, CRATES_IO):
            yield f"{name} comes from {package['source']}"
        if not package["license"]:
            yield f"{name} says no licence"
        elif not is_allowed(SPDX.parse(licence(package))):
            yield f"{name} is under {package['license']}"


def name_of(entry) -> str:
    """The package that an entry of a list is about: a text, or a table."""
    return entry if isinstance(entry, str) else entry.get("crate") or entry["name"]


def banned(packages: list[dict]):
    reasons = {name_of(entry): entry.get("reason", "") for entry in BANS["deny"]}
    versions = defaultdict(set)
    for package in packages:
        versions[package["name"]].add(package["version"])
        if package["name"] in reasons:
            yield f"{package['name']} {package['version']} is banned: {reasons[package['name']]}"
        for of in package["dependencies"] if package["source"] is None else []:
            if of["req"] == "*" and of["source"] is not None and BANS["wildcards"] == "deny":
                yield f"{package['name']} takes any version of {of['name']}"
    if BANS["multiple-versions"] != "deny":
        return
    skipped = {name_of(entry) for entry in BANS["skip"]}
    for name, several in sorted(versions.items()):
        if len(several) > 1 and name not in skipped:
            yield f"{name} comes in versions {', '.join(sorted(several))}; bring them together, or say so in deny.toml"


def component(package: dict, factory: LicenseFactory, kind: ComponentType) -> Component:
    return Component(
        type=kind,
        name=package["name"],
        version=package["version"],
        bom_ref=package["id"],
        purl=PackageURL("cargo", name=package["name"], version=package["version"]),
        licenses=[factory.make_from_string(licence(package))],
    )


def bill(metadata: dict) -> str:
    factory, bom = LicenseFactory(), Bom()
    own = next(package for package in metadata["packages"] if package["name"] == "avis")
    bom.metadata.component = component(own, factory, ComponentType.APPLICATION)
    known = {own["id"]: bom.metadata.component}
    for package in metadata["packages"]:
        if package is not own:
            known[package["id"]] = component(package, factory, ComponentType.LIBRARY)
            bom.components.add(known[package["id"]])
    for node in metadata["resolve"]["nodes"]:
        bom.register_dependency(known[node["id"]], [known[of] for of in node["dependencies"]])
    return JsonV1Dot6(bom).output_as_string(indent=1)


def main() -> None:
    metadata = json.loads(Path(sys.argv[1]).read_text())
    found = [*faults(metadata["packages"]), *banned(metadata["packages"])]
    text = bill(metadata)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        found.append(f"the bill of materials is not CycloneDX: {wrong}")
    Path(sys.argv[2]).write_text(text)
    if found:
        sys.exit("\n".join(found))
    print(f"{len(metadata['packages'])} packages: sources, licences and versions as allowed; {sys.argv[2]} lists them")


main()
