# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Host descriptions: the types and the reader of `host_descriptions/*.yml`.

A file holds ``profiles`` and ``hosts``. A host (or a profile) that says ``like: NAME`` starts from that profile or
host: mappings are merged, everything else is replaced. ``copies: N`` makes hosts ``NAME-01`` to ``NAME-N``.
`Description` below lists every key with its default.
Ages such as ``20m`` or ``9d`` count back from the moment at which the lab's clocks are set.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing as t
from collections.abc import Iterator
from pathlib import Path

import yaml

HOST_DESCRIPTIONS = Path(__file__).parents[1] / "host_descriptions"
WITNESSES = HOST_DESCRIPTIONS / "witnesses"
"""Hosts for tests of single facts. A fleet has them only if a test names them."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
TROUBLES = ("apparmor", "interface", "shutting-down")
"""A nested container forbids the snap; the daemon may not load modules, and exits; the daemon is shutting down."""

APT_FAULTS = (
    "fetch",
    "dpkg",
    "initrd",
    "grub",
    "empty",
    "boot-full",
    "unmet",
    "contradiction",
    "credentials",
    "module",
)
"""The archive is unreachable; a package's script fails; the new kernel gets no initial ramdisk; no boot entry; or files
without content; /boot is full; dependencies are missing; the sources contradict each other; the archive refuses the
credentials; a third-party module cannot be built."""


class DescriptionError(ValueError):
    """A description that the lab cannot build; the message names the host and the key."""


def seconds(age: str) -> int:
    """Turn an age such as ``90s``, ``20m``, ``2h`` or ``9d`` into seconds."""
    match = re.fullmatch(r"(\d+)([smhd])", age)
    if match is None:
        raise DescriptionError(f"{age!r} is not an age: write a number and one of s, m, h, d")
    return int(match[1]) * _UNITS[match[2]]


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The keys of os-release; `base` is the codename of the Ubuntu release that a derivative is based on."""

    id: str = "ubuntu"
    name: str = "Ubuntu"
    like: str = "debian"
    version: str = "16.04"
    title: str = "16.04.7 LTS (Xenial Xerus)"
    codename: str = "xenial"
    base: str | None = None


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The running kernel. All files and outputs about the kernel follow from these keys.

    `full` is the name with the upload number (``4.4.0-168.197-generic``). A kernel that Ubuntu did not build has
    `release` and `version` (``uname -r`` and ``-v``) instead. `livepatch` is CONFIG_LIVEPATCH; None means that the
    kernel has no readable configuration. `key` is true for a kernel that holds Canonical's live patch key.
    """

    full: str | None = None
    release: str | None = None
    version: str | None = None
    built: str = "2019-11-06 11:18:45"
    upstream: str = "4.4.197"
    preemption: str = ""
    builder: str = "buildd@lgw01-amd64-036"
    compiler: str = "gcc version 5.4.0 20160609 (Ubuntu 5.4.0-6ubuntu1~16.04.12) "
    livepatch: bool | None = True
    key: bool = False
    booted: str = "9d"
    also_installed: tuple[str, ...] = ()
    fips: bool = False
    shows_signature: bool = True


@dataclasses.dataclass(frozen=True)
class SecureBoot:
    """A host with EFI: the state of Secure Boot, and the enrolment of Canonical's live patch key with mokutil."""

    enabled: bool = False
    key_enrolled: bool = False


@dataclasses.dataclass(frozen=True)
class Snapd:
    """The snap daemon; `running` false means that its commands are installed and the daemon does not answer.

    `seeds_in` is the time until a host that is not `seeded` is seeded, from the first question about it (None: never).
    `store` is true if the host can reach the snap store.
    """

    version: str = "2.54.3"
    seeded: bool = True
    seeds_in: str | None = None
    running: bool = True
    store: bool = True


@dataclasses.dataclass(frozen=True)
class Fix:
    """A vulnerability in a patch's list; `bug` is a Launchpad number."""

    cve: str
    bug: str | None = None
    patched: bool = True


@dataclasses.dataclass(frozen=True)
class OtherKernel:
    """An entry of the status list for a kernel that is not running."""

    kernel: str
    patch_state: str
    patch_version: str = ""


@dataclasses.dataclass(frozen=True)
class Client:
    """The livepatch client and the status that it reports.

    `upgrade_required_in` is a number of days from now, negative for the past. `supported` is None for clients
    older than 10, which do not report it; ``unsupported`` on a 2016 client adds its mark after the kernel's name.
    `refuses_kernel` is the 2018 client, whose commands all fail on a kernel that it does not know.

    For changes: `sockets` false means that the daemon has no socket for curl or nc. `mode` is the mode at the start of
    the daemon. `trouble` is one of `TROUBLES`. A patch takes `apply_takes` to apply, does not complete while a process
    named `held_by` blocks it, and fails when `apply_fails`. `machine_token` is derived from the host's name unless a
    server issued one.

    `service_enabled` false means that the daemon does not start at boot. The unit of a daemon that has ended too often
    is `start_limited`: systemd refuses to start it. A snap that is `snap_disabled` has no command and no unit.

    A client that `hangs` answers no command. The journal of the daemon has the lines `log`. The status lists
    `blocking_options` and `excluded_notices` for patches that a setting withholds.
    """

    version: str = "9.5.5"
    enabled: bool = True
    running: bool = True
    check_state: str = "checked"
    patch_state: str = "applied"
    patch_version: str = ""
    fixes: tuple[Fix, ...] = ()
    last_check: str = "20m"
    tier: str = "updates"
    supported: str | None = None
    upgrade_required_in: int | None = None
    other_kernels: tuple[OtherKernel, ...] = ()
    crash_lock: bool = False
    refuses_kernel: bool = False
    status_exit: int = 0
    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    channel: str = "latest/stable"
    machine_token: str | None = None
    sockets: bool = True
    mode: str = "normal"
    trouble: str | None = None
    apply_takes: str = "0s"
    apply_fails: bool = False
    held_by: str | None = None
    hangs: bool = False
    service_enabled: bool = True
    start_limited: bool = False
    snap_disabled: bool = False
    log: tuple[str, ...] = ()
    blocking_options: tuple[str, ...] = ()
    excluded_notices: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return the version as numbers."""
        return tuple(int(part) for part in self.version.split("."))

    @property
    def generation(self) -> str:
        """Return one of ``2016``, ``6``, ``9.5``, ``10``, ``11``: the format of the output."""
        numbers = self.numbers
        for generation, first in (("11", (11,)), ("10", (10,)), ("9.5", (9, 5)), ("6", (6,))):
            if numbers >= first:
                return generation
        return "2016"


@dataclasses.dataclass(frozen=True)
class Module:
    """The loaded patch in sysfs. Described only if it differs from the status that the client reports.

    With a `name` and a `version` it is loaded whatever the client reports: a patch stays in a running kernel.
    `held_by` names the process that does not use the patch yet.
    """

    loaded: bool = True
    enabled: bool = True
    transition: bool = False
    taint: str | None = None
    name: str | None = None
    version: str | None = None
    build_id: str | None = None
    srcversion: str | None = None
    held_by: str | None = None


@dataclasses.dataclass(frozen=True)
class Pro:
    """The Ubuntu Pro client."""

    version: str = "31.2"
    attached: bool = False


@dataclasses.dataclass(frozen=True)
class Apt:
    """The packages of kernels: the content of the archive, installed packages other than images, and faults.

    `kernels` are full names (``4.4.0-262.296-generic``). The metapackages of the running series depend on the newest
    kernel of each flavour; `leads` adds others, by name. `installed` holds versions by name. `locked_for` is the time
    for which another process holds the locks, from the first attempt to lock; `takes` is the time of an installation.
    `fault` is one of `APT_FAULTS`. `boot_free` is in MiB. `lock_text` is what apt and dpkg print while locked; by
    default, the text of apt of 18.04.
    """

    kernels: tuple[str, ...] = ()
    leads: dict[str, str] = dataclasses.field(default_factory=dict)
    installed: dict[str, str] = dataclasses.field(default_factory=dict)
    held: tuple[str, ...] = ()
    locked_for: str = "0s"
    lock_text: str | None = None
    interrupted: bool = False
    boot_free: int = 200
    takes: str = "0s"
    fault: str | None = None


@dataclasses.dataclass(frozen=True)
class Grub:
    """The boot loader: GRUB_DEFAULT, and variables of its environment block. The newest kernel is the first entry."""

    default: str = "0"
    saved_entry: str = ""
    next_entry: str = ""


@dataclasses.dataclass(frozen=True)
class Reboot:
    """The effect of a reboot command.

    The host is unreachable for the time `down`, and stays so unless it `returns`. With `into` ``old``, the boot loader
    starts the previous kernel; with `ignored`, nothing happens. `protects` is false if the client does not check after
    the boot.
    """

    down: str = "1s"
    returns: bool = True
    into: str = "newest"
    ignored: bool = False
    protects: bool = True


@dataclasses.dataclass(frozen=True)
class Workload:
    """A container. It `restarts` after a reboot, `vanishes` when it stops, or `hangs` when it is stopped."""

    name: str
    runtime: str = "docker"
    running: bool = True
    restarts: bool = False
    vanishes: bool = False
    hangs: bool = False
    priority: int = 0


@dataclasses.dataclass(frozen=True)
class Faults:
    """Faults of the connection to the host, and floods of output."""

    unreachable: bool = False
    latency_ms: int = 0
    noise: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The result that the specification requires under one policy. `failing` names the failing checks, sorted."""

    state: str
    verdict: str | None
    failing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Expected:
    """The results under policy `launch`, and the differences under `current`."""

    state: str
    verdict: str | None
    failing: tuple[str, ...] = ()
    current: dict[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Description:
    """One host. `architecture` is that of the userland (Debian's name), `machine` that of the kernel (``uname -m``).

    `containers` counts running containers by runtime; `workloads` are containers that can be stopped and started, and
    count as well. `member` is the host's name in an LXD cluster. `offers` is the client that ``snap install`` installs.
    `trusts_authority` is true if the host trusts the certificate authority of the lab's server. A host that `reaches`
    some names uses the hosted service, and its firewall refuses connections to the other hosted names.
    """

    name: str
    expect: Expected
    about: str = ""
    distribution: Distribution = Distribution()
    kernel: Kernel = Kernel()
    architecture: str = "amd64"
    machine: str = "x86_64"
    virtualization: str = "kvm"
    secure_boot: SecureBoot | None = None
    snapd: Snapd | None = Snapd()
    client: Client | None = None
    offers: Client = Client(version="10.8.3", enabled=False)
    pro: Pro | None = None
    trusts_authority: bool = True
    reaches: tuple[str, ...] | None = None
    module: Module | None = None
    containers: dict[str, int] = dataclasses.field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()
    member: str | None = None
    apt: Apt | None = None
    reboot: Reboot = Reboot()
    grub: Grub = Grub()
    login: str = "root"
    network: bool = True
    desktop: bool = False
    python: bool = False
    hidden: tuple[str, ...] = ()
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    faults: Faults = Faults()

    @property
    def is_container(self) -> bool:
        return self.virtualization in ("lxc", "docker", "wsl")

    def expected(self, policy: str) -> Expectation:
        """Return the expected result under a policy of the collection, ``launch`` or ``current``."""
        result: dict[str, t.Any] = {
            "state": self.expect.state,
            "verdict": self.expect.verdict,
            "failing": self.expect.failing,
        }
        if policy == "current":
            result |= self.expect.current
        elif policy != "launch":
            raise ValueError(f"the descriptions have no expectation for policy {policy!r}")
        return Expectation(result["state"], result["verdict"], tuple(sorted(result["failing"])))


def load_descriptions(directory: Path = HOST_DESCRIPTIONS, *further: Path) -> dict[str, Description]:
    """Read every host in folders of descriptions, in the order of files and lines. Raises `DescriptionError`."""
    profiles: dict[str, dict[str, t.Any]] = {}
    hosts: dict[str, dict[str, t.Any]] = {}
    for path in [path for folder in (directory, *further) for path in sorted(folder.glob("*.yml"))]:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for kind, into in (("profiles", profiles), ("hosts", hosts)):
            for name, mapping in document.pop(kind, {}).items():
                for copy, described in _copies(name, mapping or {}):
                    if copy in profiles or copy in hosts:
                        raise DescriptionError(f"{path.name}: {copy} is described twice")
                    into[copy] = described
        if document:
            raise DescriptionError(f"{path.name}: unknown key {', '.join(map(str, document))}")
    known = profiles | hosts
    return {name: from_plain(_inherit(mapping, known, (name,)) | {"name": name}) for name, mapping in hosts.items()}


def _copies(name: str, mapping: dict[str, t.Any]) -> Iterator[tuple[str, dict[str, t.Any]]]:
    """Yield a described host under its name, or with ``copies: N`` under ``NAME-01`` to ``NAME-N``."""
    own = dict(mapping)
    copies = own.pop("copies", None)
    names = [name] if copies is None else [f"{name}-{number:02}" for number in range(1, copies + 1)]
    yield from ((each, own) for each in names)


def from_plain(plain: dict[str, t.Any]) -> Description:
    """Build a host from plain data, such as ``dataclasses.asdict`` gives."""
    host: Description = _build(Description, plain, plain["name"])
    if host.client is not None and host.client.trouble not in (None, *TROUBLES):
        raise DescriptionError(
            f"{host.name}: client.trouble: {host.client.trouble} is not one of {', '.join(TROUBLES)}"
        )
    if host.apt is not None and host.apt.fault not in (None, *APT_FAULTS):
        raise DescriptionError(f"{host.name}: apt.fault: {host.apt.fault} is not one of {', '.join(APT_FAULTS)}")
    return host


def _check_choice(place: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value not in (None, *choices):
        raise DescriptionError(f"{place}: {value} is not one of {', '.join(choices)}")


def _inherit(mapping: dict[str, t.Any], known: dict[str, dict[str, t.Any]], path: tuple[str, ...]) -> dict[str, t.Any]:
    own = dict(mapping)
    base = own.pop("like", None)
    if base is None:
        return own
    if base in path or base not in known:
        raise DescriptionError(f"{path[0]}: like: {base} is unknown, or refers to itself")
    inherited = _inherit(known[base], known, (*path, base))
    for private in ("expect", "about"):
        inherited.pop(private, None)
    return _merge(inherited, own)


def _merge(base: dict[str, t.Any], own: dict[str, t.Any]) -> dict[str, t.Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _build(kind: t.Any, value: t.Any, place: str) -> t.Any:
    """Convert plain data to the type of a field; a mapping becomes a dataclass, and unknown keys are errors."""
    if t.get_origin(kind) in (types.UnionType, t.Union):
        if value is None:
            return None
        kind = next(member for member in t.get_args(kind) if member is not types.NoneType)
    if t.get_origin(kind) is tuple:
        item = t.get_args(kind)[0]
        if not isinstance(value, (list, tuple)):
            raise DescriptionError(f"{place}: expected a list")
        return tuple(_build(item, member, f"{place}[{index}]") for index, member in enumerate(value))
    if kind is Fix and isinstance(value, str):
        return Fix(value)
    if not dataclasses.is_dataclass(kind):
        wanted = t.get_origin(kind) or kind
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise DescriptionError(f"{place}: expected {wanted.__name__}, found {value!r}")
        return value
    if not isinstance(value, dict):
        raise DescriptionError(f"{place}: expected a mapping")
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            raise DescriptionError(f"{place}: unknown key {key}")
    try:
        return kind(**{key: _build(hints[key], member, f"{place}.{key}") for key, member in value.items()})
    except TypeError as error:
        raise DescriptionError(f"{place}: {error}") from error


@functools.cache
def _hints(kind: t.Any) -> dict[str, t.Any]:
    return t.get_type_hints(kind)
