# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Parse the sections that a host sent into typed facts. A fact that could not be read is ``None``."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import hashlib
import re
import typing as t

from . import client_status, kernel, loaded_patches
from .containers import count_containers
from .kernel import KernelPackageList
from .sections import Section, Sections

Access = t.Literal["ok", "denied", "absent", "unknown"]

_CLIENT = "/snap/bin/canonical-livepatch"
_CLIENT_DATA = "/var/snap/canonical-livepatch/common"
_DPKG_INFO = "/var/lib/dpkg/info"
_LIVEPATCH = "/sys/kernel/livepatch"
_MODE_FILE = "/var/local/canonical_livepatch_mode"
_MODE_PARAMETER = "canonical_livepatch_mode="
_SERVICE = "snap.canonical-livepatch.canonical-livepatchd.service"
_UNITS = "/etc/systemd/system"
_REBOOT_REQUIRED = "/run/reboot-required"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "i586": "i386", "armv7l": "armhf"}
# The names of containers in the output of systemd-detect-virt(1). All other names are virtual machines or "none".
_CONTAINERS = frozenset(
    {"docker", "lxc", "lxc-libvirt", "openvz", "podman", "pouch", "proot", "rkt", "systemd-nspawn", "container-other"}
)

# Twelve digits can be a time after the year 9999, which Python's dates do not support.
_CLOCK = re.compile(r"[0-9]{1,11}")
_UPTIME = re.compile(r"([0-9]{1,10})(\.[0-9]{1,6})?(\s|$)")
_OS_RELEASE_LINE = re.compile(
    r"""(?P<key>[A-Z][A-Z0-9_]{0,63})=(?:"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'\\]*))"""
)
_OS_RELEASE_ESCAPE = re.compile(r"\\([\\\"$`])")
_OS_RELEASE_WIDTH = 1024  # characters; the script cuts lines there
_MACHINE_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)
_CONTAINER_GROUP = re.compile(r"/(docker|buildkit|buildah|lxc|libpod|kubepods|crio|cri-containerd)(?=[-./_:]|\s|$)")
"""The control group of the first process in a container whose runtime sets no other mark."""
_SNAP_VERSION = re.compile(r"^version:\s*['\"]?([^\s'\"]{1,64})", re.MULTILINE)
_OPENSSL_VERIFIED = re.compile(r"Verify return code: 0\b")
_OPENSSL_RESULT = re.compile(r"Verify return code: [0-9]{1,4} \([^)\n]{1,150}\)")
_KERNEL_TIME = re.compile(r"([0-9]{1,11}) /")
# Archives for reproducible images can set the time of every file to a date before the first livepatch kernel.
_FIRST_KERNEL_TIME = datetime.datetime(2010, 1, 1, tzinfo=datetime.timezone.utc)
# "14.04.6 LTS, Trusty Tahr", or in parentheses since 14.10.
_CODENAME = re.compile(r"[,(] ?([A-Z][a-z]{1,30}) [A-Z][a-z]{1,30}\)?$")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:_-]{0,127}")
_MODE_WORD = 32  # characters
# The mode that withholds more counts: Canonical publishes no order of the file and the kernel command line.
_MODES = ("stop", "no-apply", "no-refresh")
_DEFAULT_MODE = "normal"
_LOG_LINES, _LOG_LINE = 5, 300
_REBOOT_PACKAGES = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Snapd:
    """The snap daemon. `answers` is false if the tool is installed, but its daemon does not answer."""

    installed: bool
    version: str | None = None
    answers: bool | None = None
    seeded: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ServerReachability:
    """An attempt of the host to reach the server. `by_proxy` is true with a proxy of the client or the environment.

    `outcome` is ``reached``, ``untrusted`` (the server answered, but its certificate is not trusted), ``refused`` (not
    reached), ``no_tool`` (the host has no suitable tool) or ``unclear``.
    """

    url: str
    by_proxy: bool
    tool: str
    outcome: t.Literal["reached", "untrusted", "refused", "no_tool", "unclear"]
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class ClientMode:
    """The mode of the client's daemon: ``normal``, ``no-apply``, ``no-refresh``, ``stop``, or what the host says.

    `source` is where it is set: the mode file, the kernel command line, or nowhere (``default``, mode ``normal``).
    """

    value: str
    source: t.Literal["file", "kernel_command_line", "default"]


_NO_PACKAGES = KernelPackageList(problem="dpkg_failed")


@dataclasses.dataclass(frozen=True, slots=True)
class HostFacts:
    """The facts of a host. All texts come from the host and can be hostile.

    `mode` is the mode of the client's daemon. `service_enabled` is true if the service of its snap starts at boot.
    `client_log` has the last lines of the daemon's journal, oldest first, without tokens; it is empty unless the
    client failed. `reboot_packages` are the packages that request a reboot; empty if there is no request, and
    ``unknown`` for a request that names no package. `installed_kernels` are the releases of the kernel images in /boot.
    `reachability` has the result for each server that the client needs; it is empty if the network was not tested.
    `fips_certified` is true if the host uses Ubuntu Pro's archive fips, whose kernels get no updates.
    `kernel_packages` has the source package of the running kernel, and the installed packages of kernels.
    `inventory_name` is the name of the host in the inventory, and `asked_at` the time by the clock of the controller.
    The controller adds both. `containers` are running containers by runtime, without those that could not be counted;
    `rootless_containers` is the part that users other than root run, by runtime and user ID.

    `certificate` is the certificate of the live patch key (DER) in the client's snap, or ``None`` if it was not
    requested.
    """

    root: bool | None
    now: datetime.datetime | None
    os_release: c.Mapping[str, str]
    machine: str | None
    architecture: str | None
    kernel: kernel.KernelIdentity
    uptime: datetime.timedelta | None
    newest_installed: str | None
    virtualization: str | None
    container: str | None
    container_known: bool
    wsl: bool
    containers: c.Mapping[str, int] | None
    machine_id_sha256: str | None
    secure_boot: bool | None
    kernel_keys: tuple[loaded_patches.KernelKey, ...] | None
    livepatch_in_kernel: bool | None
    desktop: bool
    fips_updates: bool
    snapd: Snapd
    client_installed: bool | None
    client: client_status.ClientStatus | None
    config: c.Mapping[str, str] | None
    crash_locks: tuple[str, ...]
    patches: tuple[loaded_patches.SysfsPatch, ...] | None
    reachability: tuple[ServerReachability, ...]
    complete: bool
    certificate: bytes | None = None
    rootless_containers: c.Mapping[str, c.Mapping[int, int]] = dataclasses.field(default_factory=dict)
    mode: ClientMode | None = None
    service_enabled: bool | None = None
    client_log: tuple[str, ...] = ()
    reboot_packages: tuple[str, ...] | None = None
    installed_kernels: tuple[str, ...] | None = None
    fips_certified: bool | None = None
    kernel_packages: KernelPackageList = _NO_PACKAGES
    inventory_name: str | None = None
    asked_at: datetime.datetime | None = None

    @property
    def distribution(self) -> str | None:
        return self.os_release.get("ID") or None

    @property
    def release(self) -> str | None:
        return self.os_release.get("VERSION_ID") or None

    @property
    def codename(self) -> str | None:
        named = self.os_release.get("VERSION_CODENAME") or self.os_release.get("UBUNTU_CODENAME")
        if named or self.distribution != "ubuntu":
            return named or None
        # Ubuntu 14.04 names it only here.
        match = _CODENAME.search(self.os_release.get("VERSION", ""))
        return match[1].lower() if match else None

    @property
    def booted_at(self) -> datetime.datetime | None:
        if self.now is None or self.uptime is None:
            return None
        return (self.now - self.uptime).replace(microsecond=0)


@dataclasses.dataclass(frozen=True, slots=True)
class _Files:
    """Access to the paths that the script examines, and the content of the small files.

    `whole` is true if the list of paths is complete, `read` if the content of all files is.
    """

    access_by_path: c.Mapping[str, Access]
    content: c.Mapping[str, str]
    whole: bool
    read: bool

    def access(self, path: str) -> Access:
        """Return the access to a path. A path that is missing from a complete list does not exist."""
        return self.access_by_path.get(path, "absent" if self.whole else "unknown")

    def text(self, path: str) -> str | None:
        return self.content.get(path, "").strip() or None

    def below(self, prefix: str) -> list[str]:
        """Return the names that follow a prefix, such as ``/boot/vmlinuz-``."""
        return [path[len(prefix) :] for path in self.access_by_path if path.startswith(prefix)]


def read_facts(sections: Sections, *, inventory_name: str | None = None) -> HostFacts:
    """Parse an answer of ``probe.sh``. Accept any answer without raising.

    `inventory_name` is the name of the host in the inventory.
    """
    files = _files(sections)
    container = _container(sections, files)
    identity = _kernel(sections, files, container)
    now = _clock(sections)
    status = _client(sections, files)
    installed = _installed_kernels(files)
    counts = count_containers(sections) if container is None else None
    return HostFacts(
        root=_root(sections),
        now=now,
        os_release=_os_release(files),
        machine=sections.output("machine"),
        architecture=_architecture(sections),
        kernel=identity,
        uptime=_uptime(files),
        newest_installed=kernel.newest_release(_packaged(files, installed or ()), identity.flavour),
        virtualization=_virtualization(sections, container),
        container=container,
        container_known=_container_known(sections, container),
        wsl=_wsl(sections, files),
        containers=counts.running if counts else None,
        rootless_containers=counts.rootless if counts else {},
        machine_id_sha256=_digest(files.text("/etc/machine-id")),
        secure_boot=_secure_boot(sections, files),
        kernel_keys=_kernel_keys(sections),
        livepatch_in_kernel=_livepatch_in_kernel(sections, files, identity.release),
        desktop=bool(files.below("/usr/share/xsessions/") or files.below("/usr/share/wayland-sessions/")),
        fips_updates=_fips_updates(files),
        snapd=_snapd(sections),
        client_installed=_client_installed(sections, files),
        client=status,
        config=_config(sections),
        crash_locks=tuple(files.below(f"{_CLIENT_DATA}/locks/")),
        patches=_patches(sections, files),
        reachability=_reachability(sections),
        complete=sections.complete,
        certificate=loaded_patches.decode_file(sections.output("certificate") or ""),
        fips_certified=_fips_certified(files),
        kernel_packages=_kernel_packages(sections, identity.release),
        inventory_name=inventory_name,
        mode=_mode(sections, files),
        service_enabled=_service_enabled(files),
        client_log=_client_log(sections) if status is None or status.enabled is not False else (),
        reboot_packages=_reboot_packages(files),
        installed_kernels=installed,
    )


def _files(sections: Sections) -> _Files:
    paths = sections.get("paths")
    access: dict[str, Access] = {}
    for line in paths.output.splitlines() if paths else ():
        state, _blank, path = line.partition(" ")
        if state in t.get_args(Access):
            access[path] = t.cast(Access, state)
    content: dict[str, list[str]] = {}
    files = sections.get("files")
    for line in files.output.split("\n") if files else ():
        path, colon, text = line.partition(":")
        if colon and path in access:
            content.setdefault(path, []).append(text)
    whole = paths is not None and paths.status == "ok" and not paths.cut
    read = files is not None and files.status == "ok" and not files.cut
    return _Files(access, {path: "\n".join(lines) for path, lines in content.items()}, whole, read)


def _root(sections: Sections) -> bool | None:
    user = sections.output("user")
    return None if user is None else user == "0"


def _clock(sections: Sections) -> datetime.datetime | None:
    seconds = sections.output("clock") or ""
    if not _CLOCK.fullmatch(seconds):
        return None
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)


def _uptime(files: _Files) -> datetime.timedelta | None:
    match = _UPTIME.match(files.text("/proc/uptime") or "")
    return datetime.timedelta(seconds=int(match[1])) if match else None


def _os_release(files: _Files) -> dict[str, str]:
    """Parse os-release(5): one shell assignment a line, in double quotes, single quotes or none."""
    text = files.text("/etc/os-release") or files.text("/usr/lib/os-release") or ""
    values: dict[str, str] = {}
    for line in text.splitlines():
        match = _OS_RELEASE_LINE.fullmatch(line.strip()) if len(line) <= _OS_RELEASE_WIDTH else None
        if match is None:
            continue
        quoted = match["double"]
        values[match["key"]] = (
            (match["single"] or match["bare"] or "") if quoted is None else _OS_RELEASE_ESCAPE.sub(r"\1", quoted)
        )
    return values


def _architecture(sections: Sections) -> str | None:
    """Return the architecture of the userland according to dpkg; without dpkg, that of the machine."""
    if "architecture" in sections:
        return sections.output("architecture")
    return _MACHINES.get(sections.output("machine") or "")


def _container(sections: Sections, files: _Files) -> str | None:
    """Return the kind of container, or None if the host is not a container."""
    virtualization = sections.get("virtualization")
    if virtualization is not None and virtualization.status == "ok":
        kind = virtualization.output.strip()
        if kind in _CONTAINERS:
            return kind
    variable = sections.output("container_variable") or ""
    named = (files.text("/run/systemd/container"), files.text("/run/container_type"), variable.partition("=")[2])
    name = next(filter(None, named), None)
    if name is not None:
        return name.split()[0]
    if files.access("/.dockerenv") == "ok":
        return "docker"
    if files.access("/run/.containerenv") == "ok":
        return "podman"
    group = _CONTAINER_GROUP.search(files.text("/proc/1/cgroup") or "")
    return group[1] if group else None


def _container_known(sections: Sections, container: str | None) -> bool:
    """Return True if a reliable source was available: systemd-detect-virt, or the environment of process 1."""
    asked = (sections.get("virtualization"), sections.get("container_variable"))
    return container is not None or any(
        section is not None and section.status == "ok" and section.exit_code in (0, 1) for section in asked
    )


def _wsl(sections: Sections, files: _Files) -> bool:
    virtualization = sections.get("virtualization")
    kind = virtualization.output.strip() if virtualization is not None else ""
    release = files.text("/proc/sys/kernel/osrelease") or sections.output("release") or ""
    return (
        kind == "wsl" or files.access("/proc/sys/fs/binfmt_misc/WSLInterop") == "ok" or "microsoft" in release.lower()
    )


def _virtualization(sections: Sections, container: str | None) -> str | None:
    if container is not None:
        return container
    virtualization = sections.get("virtualization")
    # systemd-detect-virt prints "none" with exit code 1.
    if virtualization is None or virtualization.status != "ok":
        return None
    return virtualization.output.strip() or None


def _installed_kernels(files: _Files) -> tuple[str, ...] | None:
    """Return the releases of the images in /boot. Most architectures name them vmlinuz, some vmlinux."""
    if files.access("/boot") not in ("ok", "absent"):
        return None
    return tuple(dict.fromkeys([*files.below("/boot/vmlinuz-"), *files.below("/boot/vmlinux-")]))


def _packaged(files: _Files, releases: c.Iterable[str]) -> list[str]:
    """Return the releases whose image belongs to a package of dpkg: a file that was left in /boot is not installed.

    dpkg has a list of the files of each package. Without dpkg, all releases count.
    """
    if files.access(_DPKG_INFO) != "ok":
        return list(releases)
    names = ("linux-image-{}.list", "linux-image-unsigned-{}.list")
    return [
        release
        for release in releases
        if any(files.access(f"{_DPKG_INFO}/{name.format(release)}") == "ok" for name in names)
    ]


def _reboot_packages(files: _Files) -> tuple[str, ...] | None:
    """Return the packages in /run/reboot-required.pkgs, each once (update-notifier)."""
    if files.access(_REBOOT_REQUIRED) != "ok":
        return () if files.access(_REBOOT_REQUIRED) == "absent" else None
    lines = (files.text(f"{_REBOOT_REQUIRED}.pkgs") or "").split("\n")
    names = dict.fromkeys(name for name in map(str.strip, lines) if _PACKAGE.fullmatch(name))
    return tuple(names)[:_REBOOT_PACKAGES] or ("unknown",)


def _kernel(sections: Sections, files: _Files, container: str | None) -> kernel.KernelIdentity:
    signature = "/proc/version_signature"
    return kernel.identify(
        files.text("/proc/sys/kernel/osrelease") or sections.output("release"),
        _version(sections, files),
        files.text(signature),
        signature_absent=files.access(signature) == "absent",
        in_container=container is not None,
        image_built_at=_image_built_at(sections) if container is None else None,
    )


def _kernel_packages(sections: Sections, release: str | None) -> KernelPackageList:
    section = sections.get("kernel_packages")
    if section is not None and section.status == "absent":
        return KernelPackageList(problem="no_dpkg")
    if section is None:
        return _NO_PACKAGES
    # dpkg-query ends with 1 if no package matches the pattern.
    complete = section.status == "ok" and section.exit_code in (0, 1) and not section.cut
    return kernel.kernel_packages(section.output, release, complete=complete)


def _image_built_at(sections: Sections) -> datetime.datetime | None:
    """Return the modification time of a file from the package of the running kernel.

    The script lists the changelogs before the images: the client of Canonical uses the changelog, and the files of
    packages keep the times that they had in the package.
    """
    section = sections.get("kernel_times")
    for line in section.output.splitlines() if section else ():
        match = _KERNEL_TIME.match(line)
        built = datetime.datetime.fromtimestamp(int(match[1]), datetime.timezone.utc) if match else None
        if built is not None and built >= _FIRST_KERNEL_TIME:
            return built
    return None


def _version(sections: Sections, files: _Files) -> str | None:
    version = files.text("/proc/sys/kernel/version") or sections.output("version")
    # The file /sys/kernel/realtime exists only on kernels with the realtime patches.
    if files.text("/sys/kernel/realtime") == "1":
        return f"{version or ''} PREEMPT_RT"
    return version


def _digest(machine_id: str | None) -> str | None:
    """Return the digest of a machine-id(5). Any other content, such as ``uninitialized``, does not identify a host."""
    if machine_id is None or not _MACHINE_ID.fullmatch(machine_id):
        return None
    return hashlib.sha256(machine_id.encode("ascii")).hexdigest()


def _secure_boot(sections: Sections, files: _Files) -> bool | None:
    """Return the state of Secure Boot. Its EFI variable has four bytes of attributes and one value (UEFI, 3.3)."""
    variable = (sections.output("secure_boot_variable") or "").split()
    if len(variable) == 5:
        return variable[4] == "01"
    state = (sections.output("mokutil") or "").lower()
    if "secureboot enabled" in state:
        return True
    if "secureboot disabled" in state or "doesn't support secure boot" in state:
        return False
    # Secure Boot needs EFI.
    return False if files.access("/sys/firmware/efi") == "absent" else None


def _kernel_keys(sections: Sections) -> tuple[loaded_patches.KernelKey, ...] | None:
    """Return the keys in the kernel, or None if they cannot be listed completely: only root sees those of all users."""
    section = sections.get("keys")
    # grep ends with 1 if it selects no line.
    complete = section is not None and section.status == "ok" and section.exit_code in (0, 1) and not section.cut
    if section is None or not complete or not _root(sections):
        return None
    return loaded_patches.kernel_keys(section.output)


def _livepatch_in_kernel(sections: Sections, files: _Files, release: str | None) -> bool | None:
    """Return True for a kernel with CONFIG_LIVEPATCH. It has /sys/kernel/livepatch even if it is not patched."""
    if files.access(_LIVEPATCH) in ("ok", "denied"):
        return True
    section = sections.get("kernel_config")
    for line in section.output.splitlines() if section else ():
        path, _colon, setting = line.partition(":")
        if path == f"/boot/config-{release}":
            return setting == "CONFIG_LIVEPATCH=y"
    return False if files.access("/sys/kernel") == "ok" and files.access(_LIVEPATCH) == "absent" else None


def _fips_updates(files: _Files) -> bool:
    """Return True if the host uses Ubuntu Pro's archive fips-updates, whose kernels are not certified.

    The file names are those of ubuntu-pro-client (uaclient/entitlements/repo.py).
    """
    source = "/etc/apt/sources.list.d/ubuntu-fips-updates"
    return any(files.access(f"{source}.{suffix}") in ("ok", "denied") for suffix in ("list", "sources"))


def _fips_certified(files: _Files) -> bool | None:
    """Return True if the host uses Ubuntu Pro's archive fips, and None if this is unknown."""
    source = "/etc/apt/sources.list.d/ubuntu-fips"
    found = {files.access(f"{source}.{suffix}") for suffix in ("list", "sources")}
    if found & {"ok", "denied"}:
        return True
    return None if "unknown" in found else False


def _snapd(sections: Sections) -> Snapd:
    section = sections.get("snapd")
    if section is None or section.status == "absent":
        return Snapd(installed=False)
    rows = dict(line.split(maxsplit=1) for line in section.output.splitlines() if len(line.split()) > 1)
    daemon = (rows.get("snapd") or "").strip()
    answers = bool(daemon) and daemon != "unavailable"
    # The tool and its daemon are in one package, so the tool has the same version.
    version = daemon if answers else (rows.get("snap") or "").strip()
    return Snapd(installed=True, version=version or None, answers=answers, seeded=_seeded(sections))


def _seeded(sections: Sections) -> bool | None:
    section = sections.get("seeded")
    if section is None:
        return None
    if section.status == "timeout" or "not yet seeded" in section.errors:
        return False
    return True if section.exit_code == 0 else None


def _client_installed(sections: Sections, files: _Files) -> bool | None:
    status = sections.get("status json")
    if status is not None:
        return True
    return False if "status" in sections and files.access(_CLIENT) == "absent" else None


def _client(sections: Sections, files: _Files) -> client_status.ClientStatus | None:
    attempts = [_attempt(sections[name]) for name in ("status json", "status plain") if name in sections]
    if not attempts:
        return None
    status = client_status.parse_status(attempts)
    if status.version is not None:
        return status
    version = _snap_version(files)
    return status if version is None else client_status.with_version(status, version)


def _attempt(section: Section) -> client_status.StatusOutput:
    return client_status.StatusOutput(
        section.output, section.errors, section.exit_code, timed_out=section.status in ("timeout", "lost")
    )


def _mode(sections: Sections, files: _Files) -> ClientMode | None:
    """Return the mode that withholds more, from the mode file and the kernel command line."""
    found: list[ClientMode] = []
    word = _mode_word(files.content.get(_MODE_FILE, ""))
    if word:
        found.append(ClientMode(word, "file"))
    # An empty file is not listed among the contents.
    access = files.access(_MODE_FILE)
    unreadable = not (access == "absent" or (access == "ok" and files.read))
    parameters = sections.get("command_line")
    if parameters is None or parameters.status != "ok":
        unreadable = unreadable or files.access("/proc/cmdline") != "absent"
    else:
        words = (line.partition("=")[2] for line in parameters.output.splitlines() if line.startswith(_MODE_PARAMETER))
        found += [ClientMode(word, "kernel_command_line") for word in map(_mode_word, words) if word]
    if any(mode.value in _MODES for mode in found):
        return min(found, key=lambda mode: _MODES.index(mode.value) if mode.value in _MODES else len(_MODES))
    if unreadable:
        return None
    # A mode that is not known comes before the default one.
    return min(found, key=lambda mode: mode.value == _DEFAULT_MODE, default=ClientMode(_DEFAULT_MODE, "default"))


def _mode_word(text: str) -> str:
    return client_status.plain_text(text.strip().strip("\"'"))[:_MODE_WORD].strip()


def _service_enabled(files: _Files) -> bool | None:
    """Return True if the unit of the daemon starts at boot: snapd links it below multi-user.target."""
    if files.access(f"{_UNITS}/multi-user.target.wants/{_SERVICE}") == "ok":
        return True
    return False if files.access(f"{_UNITS}/{_SERVICE}") == "ok" else None


def _client_log(sections: Sections) -> tuple[str, ...]:
    section = sections.get("client_log")
    lines = (client_status.plain_text(line) for line in (section.output.splitlines() if section else ())[-64:])
    return tuple(line[:_LOG_LINE] for line in lines if line)[-_LOG_LINES:]


def _snap_version(files: _Files) -> str | None:
    """Return the version in the metadata of the snap, for clients that do not report it."""
    text = files.text("/snap/canonical-livepatch/current/meta/snap.yaml") or ""
    match = _SNAP_VERSION.search(text)
    return match[1] if match else None


def _config(sections: Sections) -> dict[str, str] | None:
    section = sections.get("config")
    if section is None or section.status != "ok" or not section.output.strip():
        return None
    return client_status.parse_config(section.output)


def _patches(sections: Sections, files: _Files) -> tuple[loaded_patches.SysfsPatch, ...] | None:
    if files.access(_LIVEPATCH) not in ("ok", "absent"):
        return None
    reports = {
        name.removeprefix("module "): loaded_patches.parse_report(section.output, _file(sections, name))
        for name, section in sections.items()
        if name.startswith("module ") and section.status == "ok" and not section.cut
    }
    return loaded_patches.parse_patches(files.content, reports)


def _file(sections: Sections, name: str) -> str | None:
    section = sections.get(f"file {name.removeprefix('module ')}")
    whole = section is not None and section.status == "ok" and section.exit_code == 0 and not section.cut
    return section.output if section is not None and whole else None


def _reachability(sections: Sections) -> tuple[ServerReachability, ...]:
    """Return the result for each server: the one of the client, and of the hosted service also the one with patches."""
    return tuple(_attempted(sections[name]) for name in ("network", "network files") if name in sections)


def _attempted(section: Section) -> ServerReachability:
    head, rest = section.output.splitlines()[:3], section.output.split("\n", 3)[3:]
    lines = dict(line.split(maxsplit=1) for line in head if len(line.split()) > 1)
    tool = lines.get("tool", "none")
    said = "\n".join([*rest, section.errors])
    verified = _OPENSSL_RESULT.search(said)
    return ServerReachability(
        url=lines.get("url", ""),
        by_proxy=lines.get("proxy") == "yes",
        tool=tool,
        outcome=_reached(tool, section, said),
        detail=verified[0] if verified else " ".join(said.split())[-200:],
    )


def _reached(
    tool: str, section: Section, said: str
) -> t.Literal["reached", "untrusted", "refused", "no_tool", "unclear"]:
    """Interpret the exit code of a tool. The server was reached if it answered with any HTTP status."""
    code = section.exit_code
    if tool == "none":
        return "no_tool"
    if section.status != "ok":
        return "refused" if section.status == "timeout" else "unclear"
    if code == 0:
        untrusted = tool == "openssl" and not _OPENSSL_VERIFIED.search(said)
        return "untrusted" if untrusted else "reached"
    if tool == "wget":
        return _reached_by_wget(code, said)
    # curl(1), EXIT CODES: 60 means that the certificate could not be verified with the known authorities.
    return "untrusted" if tool == "curl" and code == 60 else "refused"


def _reached_by_wget(code: int | None, said: str) -> t.Literal["reached", "untrusted", "refused"]:
    """GNU wget has exit codes (8: error from the server, 5: TLS). The wget of busybox only prints messages."""
    if code == 8 or "server returned error" in said:
        return "reached"
    return "untrusted" if code == 5 else "refused"
