# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Create the JSON Schemas in docs/schema from the types of the core and the documentation of the modules.

python tests/tools/record_schema.py            write the files
python tests/tools/record_schema.py --check    fail if a file is out of date
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / ".build" / "collections")]
from ansible_collections.kernelops.livepatch.plugins.module_utils import _record  # noqa: E402  (found by the path above)
from ansible_collections.kernelops.livepatch.plugins.module_utils._records import document  # noqa: E402  (found by the path above)

FOLDER = ROOT / "docs" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ADDRESS = "https://github.com/kernelops/livepatch/blob/main/docs/schema/"
TIME_IN_UTC = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,32})?Z$"
)
_KINDS: dict[object, str] = {str: "string", bool: "boolean", int: "integer", types.NoneType: "null"}
_KEY_ID = "Identifier of the signer's key in hexadecimal digits. Null if it is unknown."

# Keys that the documentation of the modules describes in the text of the key above them.
DESCRIPTIONS = {
    "collector.collection": "Version of this collection.",
    "collector.ansible_core": "Version of ansible-core.",
    "system.containers.docker": "Number of running containers of Docker. Null if they could not be counted.",
    "system.containers.lxd": "Number of running containers of LXD. Null if they could not be counted.",
    "system.containers.podman": "Number of running containers of Podman. Null if they could not be counted.",
    "system.containers.kubernetes": "Number of running containers of Kubernetes. Null if they could not be counted.",
    "system.containers.containerd": "Number of other containers of containerd. Null if they could not be counted.",
    "system.kernel.packages.name": "Name of the package.",
    "system.kernel.packages.version": "Version of the package, as dpkg prints it.",
    "client.mode.value": "Mode: normal, no-apply, no-refresh or stop. Null if it is unknown.",
    "client.mode.source": "Where the mode is set: file, kernel_command_line or default. Null if it is unknown.",
    "client.blocking.options": "Settings that withhold patches, such as cutoff-date.",
    "client.blocking.excluded_notices": "Livepatch Security Notices that the settings exclude, such as LSN-0113-1.",
    "client.blocking.cutoff_date": "Value of the setting cutoff-date, whether or not it excludes a patch.",
    "patch.fixes.cve": "Number of the vulnerability, such as CVE-2024-1086.",
    "patch.fixes.patched": "True if the patch fixes the vulnerability.",
    "kernel_patches.verification.level": "Strongest evidence that was available, from file to none.",
    "kernel_patches.verification.result": "Result: verified, failed or not_checked.",
    "kernel_patches.verification.signer": "Name of the signer. Null if it is unknown.",
    "kernel_patches.verification.key_id": _KEY_ID,
    "kernel_patches.verification.sha512": "SHA-512 digest of the module file in hexadecimal digits, or null.",
    "assessment.reasons.id": "Identifier of the reason, as in the guide page on troubleshooting.",
    "assessment.reasons.message": "The reason in one sentence.",
    "assessment.reasons.remedy": "Next step. Null if there is none.",
    "assessment.reasons.evidence": "Lines that the host wrote itself, at most 5.",
}
ATTEMPT = {
    "schema": "Name and version of the schema.",
    "host": "Inventory name of the host.",
    "attempted_at": "Time of the attempt (RFC 3339, UTC, clock of the controller).",
    "cause": "Cause of the failure. Readers derive it from the first reason if it is missing or unknown.",
    "reasons": "Reasons for the failure. The first one decided.",
    "groups": "Groups of the host by key, as in a record. Readers ignore another value.",
}

Schema = dict[str, t.Any]


def documented(module: str) -> dict[str, t.Any]:
    """Return the documentation of the return values of a module."""
    import yaml

    source = (ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8")
    [text] = re.findall(r'^RETURN = r"""(.*?)^"""', source, re.MULTILINE | re.DOTALL)
    return t.cast("dict[str, t.Any]", yaml.safe_load(text))


def plain(description: str | list[str]) -> str:
    """Return Ansible's documentation markup as plain text."""
    text = description if isinstance(description, str) else " ".join(description)
    return re.sub(r"\b(?:RV|[COVM])\(([^)]*)\)", r"\1", text)


class Types:
    """Converts the types of the record. `docs` describes the keys of a mapping: names, descriptions, `contains`."""

    def __init__(self) -> None:
        self.undescribed: list[str] = []

    def schema(self, kind: t.Any, path: str, docs: t.Mapping[str, t.Any]) -> Schema:
        """Return the schema of a type, without a description."""
        arguments = t.get_args(kind)
        if t.is_typeddict(kind):
            return self._mapping(kind, path, docs)
        if t.get_origin(kind) is list:
            return {"type": "array", "items": self.schema(arguments[0], path, docs)}
        if t.get_origin(kind) is dict:
            return {"type": "object", "additionalProperties": self.schema(arguments[1], path, docs)}
        if t.get_origin(kind) is t.Literal:
            return {"type": "string", "enum": list(arguments)}
        names = [_KINDS[each] for each in arguments or (kind,)]
        return {"type": names if len(names) > 1 else names[0]}

    def _mapping(self, kind: t.Any, path: str, docs: t.Mapping[str, t.Any]) -> Schema:
        properties = {}
        for key, member in t.get_type_hints(kind).items():
            place = f"{path}.{key}" if path else key
            of_key = docs.get(key, {})
            text = of_key.get("description") or DESCRIPTIONS.get(place)
            if text is None:
                self.undescribed.append(place)
            properties[key] = {
                "description": plain(text or ""),
                **self.schema(member, place, of_key.get("contains", {})),
            }
        required = [key for key in properties if key in kind.__required_keys__]
        return {"type": "object", "required": required, "properties": properties}


def head(name: str, title: str, description: str) -> Schema:
    """Return the first keys of a schema."""
    return {"$schema": DIALECT, "$id": f"{ADDRESS}{name}", "title": title, "description": description}


def record_schema() -> Schema:
    """Return the schema of the record. Raise LookupError if a key has no description."""
    docs = documented("patch_info")["record"]["contains"]
    docs["eligibility"]["contains"] = documented("eligibility_info")
    converted = Types()
    schema = converted.schema(_record.Record, "", docs)
    if converted.undescribed:
        raise LookupError(f"no description of {', '.join(converted.undescribed)}")
    properties = schema["properties"]
    properties["schema"] = {"description": properties["schema"]["description"], "const": _record.SCHEMA}
    properties["collected_at"] |= {"format": "date-time", "pattern": TIME_IN_UTC}
    # Readers accept and replace the names of earlier releases.
    properties["assessment"]["properties"]["state"]["enum"] += list(_record.FORMER_STATES)
    text = (
        "Everything that is stored about a host after one round trip. Unknown values are null. Readers must accept "
        "keys that are not described here: releases add keys without another version of the schema. Keys that are not "
        "required are missing in records of earlier releases."
    )
    return {**head("record-1.schema.json", "Record of a host", text), **schema}


def attempt_schema() -> Schema:
    """Return the schema of the note of a failed attempt."""
    reason = Types().schema(_record.Reason, "assessment.reasons", {})
    kinds: dict[str, Schema] = {
        "schema": {"const": document.ATTEMPT_SCHEMA},
        "host": {"type": "string"},
        "attempted_at": {"type": "string", "format": "date-time", "pattern": TIME_IN_UTC},
        "cause": {"type": "string", "enum": list(document.ATTEMPT_CAUSES)},
        "reasons": {"type": "array", "items": reason},
        "groups": {},
    }
    text = "A host gave no usable answer. The last record of the host stays, and a report shows the host as no_answer."
    return {
        **head("attempt-1.schema.json", "Note of a failed attempt", text),
        "type": "object",
        "required": [key for key in kinds if key not in ("cause", "groups")],
        "properties": {key: {"description": ATTEMPT[key], **kind} for key, kind in kinds.items()},
    }


def main(arguments: list[str]) -> int:
    """Write the files, or compare them. Return 1 if one is out of date."""
    for schema in (record_schema(), attempt_schema()):
        path = FOLDER / schema["$id"].removeprefix(ADDRESS)
        content = json.dumps(schema, indent=2) + "\n"
        if arguments != ["--check"]:
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            print(f"{path.name} is out of date: run python tests/tools/record_schema.py", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
