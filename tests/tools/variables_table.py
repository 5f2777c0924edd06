# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Create docs/guide/variables.md from the argument specs of the role playbook_defaults.

python tests/tools/variables_table.py            write the page
python tests/tools/variables_table.py --check    fail if the page is out of date
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "guide" / "variables.md"
SPECS = ROOT / "roles" / "playbook_defaults" / "meta" / "argument_specs.yml"
PLAYBOOKS = ROOT / "playbooks"
GUIDES = {
    "check": "check.md",
    "enable": "enable.md",
    "exposure": "exposure.md",
    "patch": "patch.md",
    "report": "check.md",
    "store": "store.md",
    "upgrade": "upgrade.md",
    "vulnerability_data": "exposure.md#without-internet-access",
}
"""Guide page of each playbook."""
LINKS = {
    "livepatch_canary": "enable.md#waves",
    "livepatch_closed_cves": "rules.md",
    "livepatch_config": "enable.md#proxies-private-cas-on-premises-servers",
    "livepatch_docker": "upgrade.md#containers",
    "livepatch_exposure_file": "exposure.md#the-complete-result",
    "livepatch_fail_on": "ci.md",
    "livepatch_history": "history.md",
    "livepatch_lxd": "upgrade.md#containers",
    "livepatch_maximum_data_age": "exposure.md#without-internet-access",
    "livepatch_allow_running": "container-hosts.md#kubernetes-nodes",
    "livepatch_notices": "notices.md",
    "livepatch_notify": "notifications.md",
    "livepatch_openvex_author": "scanners.md#openvex-documents",
    "livepatch_openvex_dir": "scanners.md#openvex-documents",
    "livepatch_podman": "upgrade.md#containers",
    "livepatch_policy": "policies.md",
    "livepatch_report_formats": "ci.md",
    "livepatch_retention": "history.md",
    "livepatch_rules": "rules.md",
    "livepatch_scanner_csv": "scanners.md#table-for-other-scanners",
    "livepatch_seats": "enable.md#seats",
    "livepatch_store": "store.md",
    "livepatch_token": "enable.md#the-token",
    "livepatch_trusted_certificates": "verify.md#trusted-keys",
    "livepatch_trusted_spki_sha256": "verify.md#trusted-keys",
    "livepatch_verify": "verify.md",
    "livepatch_vulnerability_data": "exposure.md#data",
    "livepatch_vulnerability_data_dir": "exposure.md#without-internet-access",
    "livepatch_waivers": "waivers.md",
    "livepatch_window": "upgrade.md#maintenance-window",
}
"""Guide page with the details of a variable."""
INTRODUCTION = """\
<!--
SPDX-License-Identifier: GPL-3.0-or-later
SPDX-FileCopyrightText: The kernelops.livepatch contributors

tests/tools/variables_table.py creates this page. Do not edit it.
-->
# Variables of the playbooks

```console
$ ansible-playbook kernelops.livepatch.check -i inventory --become -e @variables.yml
```

```yaml
# variables.yml
livepatch_policy: current
livepatch_report_formats: [table, html, json]
livepatch_fail_on: [no_answer, tampered, failed]
```

Set variables in a file, with `-e`, or in the inventory (`group_vars`, `host_vars`). With `-e name=value`, numbers and
`true` or `false` are texts, and lists are texts with commas: `-e livepatch_fail_on=tampered,failed`. An empty text is
an empty list. Write mappings and values with blanks as JSON: `-e '{"livepatch_window": "22:00-04:00
Europe/Berlin"}'`. Relative paths start in the directory in which you run the command.

Each playbook checks all variables before it contacts a host, and lists all faults at once. The prefix `livepatch_` is
reserved: a variable with this prefix that no playbook has is a fault.

Variables that only a connection, a client or a kernel needs can differ between hosts. Those of the report, the
folders, the seats and the waves apply to the whole run: set them in the group `all`, or with `-e`.

Ansible evaluates the keywords of a play before it reads the variables of hosts. Set `livepatch_hosts` with `-e` or as
`vars` of `import_playbook`, because it has no effect in the inventory.

The role `playbook_defaults` defines the default values. Ansible's setting `private_role_vars` must have its default,
`false`.
"""

Options = dict[str, dict[str, t.Any]]


def plain(text: str) -> str:
    """Return Ansible's documentation markup as Markdown."""
    return re.sub(r"\b[COVM]\(([^)]*)\)", r"`\1`", text)


def shown(option: dict[str, t.Any]) -> str:
    """Return the default of an option as YAML on one line; "none" without one."""
    import yaml

    if "default" not in option:
        return "none"
    text = yaml.safe_dump(option["default"], default_flow_style=True, width=1000)
    return f"`{text.strip().removesuffix('...').strip()}`".replace("''", '""')


def kind(option: dict[str, t.Any]) -> str:
    """Return the type of an option, with that of its elements."""
    elements = f" of {option['elements']}" if "elements" in option else ""
    return f"{option['type']}{elements}".replace("raw", "any")


def heading(link: str) -> str:
    """Return the heading that a link to a guide page refers to. Raise LookupError if there is none."""
    page, _sharp, anchor = link.partition("#")
    for line in (PAGE.parent / page).read_text(encoding="utf-8").splitlines():
        title = line.lstrip("#").strip()
        if line.startswith("#") and anchor in ("", re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")):
            return title
    raise LookupError(link)


def row(name: str, option: dict[str, t.Any], playbooks: list[str] | None) -> str:
    """Return the row of a table for a variable."""
    description = plain(option["description"].strip())
    if "choices" in option:
        description += f" Choices: {', '.join(f'`{choice}`' for choice in option['choices'])}."
    if name in LINKS:
        description += f" See [{heading(LINKS[name])}]({LINKS[name]})."
    used_by = [", ".join(playbooks)] if playbooks else []
    return f"| {' | '.join([f'`{name}`', kind(option), shown(option), *used_by, description])} |"


def table(rows: t.Iterable[str], *columns: str) -> str:
    """Return a Markdown table."""
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *rows, ""])


def read_specs() -> dict[str, Options]:
    """Return the options of each entry point of the role: `main`, and those that belong to one playbook."""
    import yaml

    specs = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]
    return {name: spec["options"] for name, spec in specs.items()}


def users() -> dict[str, list[str]]:
    """Return the names of the playbooks that use each variable."""
    found: dict[str, list[str]] = {}
    for path in sorted(PLAYBOOKS.glob("*.yml")):
        for name in sorted(set(re.findall(r"\blivepatch_\w+", path.read_text(encoding="utf-8")))):
            found.setdefault(name, []).append(path.stem)
    return found


def render() -> str:
    """Return the content of the page."""
    specs = read_specs()
    playbooks = users()
    shared = {name: option for name, option in specs["main"].items() if len(playbooks[name]) > 1}
    rows = [row(name, option, playbooks[name]) for name, option in shared.items()]
    columns = ("variable", "type", "default", "description")
    parts = [INTRODUCTION, "## Shared variables\n", table(rows, *columns[:3], "playbooks", columns[3])]
    for playbook, page in GUIDES.items():
        own = {name: option for name, option in specs["main"].items() if playbooks[name] == [playbook]}
        own.update(specs.get(playbook, {}))
        if own:
            parts.append(f"## Variables of the playbook `{playbook}`\n")
            parts.append(f"See [the guide]({page}).\n")
            parts.append(table([row(name, option, None) for name, option in own.items()], *columns))
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it. Return 1 if it is out of date."""
    content = render()
    if arguments != ["--check"]:
        PAGE.write_text(content, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == content:
        return 0
    print(f"{PAGE.relative_to(ROOT)} is out of date: run python tests/tools/variables_table.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
