# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The files of a described host: its `/etc`, `/proc`, `/sys`, `/boot`, `/var`, `/snap` and `/run`.

Everything here is a pure function of the description; `Tree.write` writes the result to disk.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import os
import re
import shlex
import struct
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from ..certificates import HOSTED_NAMES
from ..livepatch_client.output import Machine, texts
from .description import Client, Description, Module, Pro, seconds
from .grub import grub_configuration
from .kernel_names import KernelIdentity, identify, lock_name, module_name

LAB = "usr/lib/livepatch-lab"
"""The folder in the host that holds the outputs and facts of the doubles."""
PRIVATE = "run/livepatch-lab"
"""The folder that each copy of a host has for itself; the links below point into it."""
PRIVATE_FILES = {
    "etc/hostname": "hostname",
    "etc/machine-id": "machine-id",
    "proc/sys/kernel/hostname": "hostname",
    "proc/sys/kernel/random/boot_id": "boot_id",
    "proc/uptime": "uptime",
}
_IMAGE = b"MZ" + b"\0" * 508 + b"\x55\xaa\xebfHdrS" + b"\0" * 64
"""The first bytes of a kernel for x86."""
_INITRD = b"\x1f\x8b\x08" + b"\0" * 2045
CLIENT = "snap/bin/canonical-livepatch"
COMMON = "var/snap/canonical-livepatch/common"
MODE = "var/local/canonical_livepatch_mode"
SERVICE = "snap.canonical-livepatch.canonical-livepatchd.service"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
LIVE_PATCH_KEYS = (
    "Canonical Ltd. Live Patch Signing: 14df34d1a87cf37625abec039ef2bf521249b969",
    "Canonical Ltd. Live Patch Signing 2025 Kmod: d541cef61dc7e793b7eb7e899970a2eef0b5dc8c",
)
SECURE_BOOT_VARIABLE = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
NOISE_BYTES = 50_000_000
_NOISE = b'NOISE="\x1b[2J{{ 1/0 }}<script>alert(1)</script>"\n@0123456789abcdef end\n@0123456789abcdef files ok\n' * 500
_TAINT_BITS = {"O": 12, "E": 13, "K": 15}
_ROOT_ONLY = (COMMON, "proc/1/environ", "var/lib/snapd/state.json")
_MAINTAINER = "Ubuntu Kernel Team <kernel-team@lists.ubuntu.com>"
_HOLDER = 4711
"""The process that does not use a patch yet."""
_CLOUDS = {"amazon": "aws", "microsoft": "azure", "google": "gcloud"}


@dataclasses.dataclass
class Tree:
    """Files, links and folders by their path from the host's root, without the leading slash.

    Only root may access the `closed` paths, in a host whose session is not root's. The `noisy` files end in 50 MB of
    noise. Files have the modification times in `times`.
    """

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    links: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: set[str] = dataclasses.field(default_factory=set)
    closed: set[str] = dataclasses.field(default_factory=set)
    noisy: set[str] = dataclasses.field(default_factory=set)
    times: dict[str, float] = dataclasses.field(default_factory=dict)

    def text(self, path: str, *lines: str) -> None:
        """Add a text file, each line ended by a newline."""
        self.files[path] = "".join(line + "\n" for line in lines).encode()

    def all_folders(self) -> list[str]:
        """Return every folder, parents first."""
        found = set(self.folders)
        for path in (*self.files, *self.links, *self.folders):
            parent = path.rpartition("/")[0]
            while parent and parent not in found:
                found.add(parent)
                parent = parent.rpartition("/")[0]
        # A listed folder does not include its parents.
        for path in self.folders:
            found.update(path[:end] for end, letter in enumerate(path) if letter == "/")
        return sorted(found)

    def write(self, root: Path) -> None:
        """Write everything below a new folder."""
        root.mkdir()
        for folder in self.all_folders():
            (root / folder).mkdir()
        for path, content in self.files.items():
            (root / path).write_bytes(content)
        for path in self.noisy:
            with (root / path).open("ab") as file:
                for _repetition in range(1 + NOISE_BYTES // len(_NOISE)):
                    file.write(_NOISE)
        for path, target in self.links.items():
            (root / path).symlink_to(target)
        for path, moment in self.times.items():
            os.utime(root / path, (moment, moment))

    def close(self, root: Path) -> None:
        """Remove all permissions of the closed paths. This is the last step for a root."""
        for path in self.closed:
            (root / path).chmod(0)


@dataclasses.dataclass(frozen=True)
class LabServer:
    """The server of a lab, and the certificate of its authority: PEM, and the hash of its name for openssl."""

    address: str
    certificate_pem: bytes
    certificate_hash: str | None


def host_tree(host: Description, lab_server: LabServer, now: dt.datetime) -> Tree:
    """Build the root of a host at the time `now`."""
    tree = Tree()
    kernel = identify(host.kernel)
    _system(tree, host)
    _network(tree, host, lab_server)
    _kernel(tree, host, kernel)
    _virtualization(tree, host)
    _workloads(tree, host)
    _secure_boot(tree, host)
    _patch(tree, host)
    _snapd(tree, host)
    if host.client is not None:
        _client(tree, host, host.client)
    if host.pro is not None:
        _pro(tree, host, host.pro)
    if host.desktop:
        tree.text("etc/X11/default-display-manager", "/usr/sbin/lightdm")
        tree.text("usr/share/xsessions/ubuntu.desktop", "[Desktop Entry]", "Name=Ubuntu", "Exec=gnome-session")
        tree.links["etc/systemd/system/default.target"] = "/lib/systemd/system/graphical.target"
    _facts_for_doubles(tree, host, kernel)
    tree.links |= {path: f"/{PRIVATE}/{name}" for path, name in PRIVATE_FILES.items()}
    tree.files |= timed_files(host, lab_server, now)
    tree.files |= {path.strip("/"): text.encode() for path, text in host.files.items()}
    for target in host.faults.noise:
        tree.noisy.add(f"{LAB}/client/noise" if target == "status" else target.strip("/"))
    if host.login == "user":
        existing = {*tree.files, *tree.all_folders()}
        private = (*_ROOT_ONLY, *(path for path in tree.files if path.startswith("boot/vmlinuz-")))
        tree.closed |= existing.intersection(private)
    return tree


def private_files(host: Description, name: str) -> dict[str, str]:
    """Return the content of `PRIVATE_FILES` for the host with this name; every session updates the uptime."""
    since_boot = seconds(host.kernel.booted)
    return {
        "hostname": f"{name}\n",
        "machine-id": f"{machine_id(name)}\n",
        "boot_id": f"{_uuid(_derived(name, 'boot'))}\n",
        "uptime": f"{since_boot:.2f} {since_boot * 1.9:.2f}\n",
    }


def timed_files(host: Description, lab_server: LabServer, now: dt.datetime) -> dict[str, bytes]:
    """Return the files of the root that contain times, at the time `now`."""
    booted = dt.timedelta(seconds=seconds(host.kernel.booted))
    stat = f"cpu  1000 0 1000 90000\nbtime {int((now - booted).timestamp())}\nprocesses 4242\n"
    if host.client is None:
        return {"proc/stat": stat.encode()}
    machine = Machine(
        kernel=identify(host.kernel).status_name,
        machine=host.machine,
        machine_id=machine_id(host.name),
        machine_token=machine_token(host),
        cloud=_CLOUDS.get(host.virtualization, ""),
        server=lab_server.address if host.reaches is None else hosted_server(lab_server),
        booted=booted,
        now=now,
    )
    files = {f"{LAB}/client/{key}": text.encode() for key, text in texts(host.client, machine).items()}
    if host.client.enabled:
        checked = now - dt.timedelta(seconds=seconds(host.client.last_check))
        files[f"{COMMON}/last-check"] = f"{checked:%Y-%m-%dT%H:%M:%SZ}\n".encode()
    return files | {"proc/stat": stat.encode()}


def hosted_server(lab_server: LabServer) -> str:
    """Return the address of the hosted service at the port of the lab's server."""
    return f"https://{HOSTED_NAMES[0]}:{urllib.parse.urlsplit(lab_server.address).port}"


def machine_token(host: Description) -> str:
    """Return the secret that identifies an enabled host at the server: issued by the server, or derived."""
    given = host.client.machine_token if host.client is not None else None
    return given or _derived(host.name, "machine-token")


def machine_id(name: str) -> str:
    """Return the machine id of the host with this name."""
    return _derived(name, "machine-id")


def _derived(name: str, purpose: str) -> str:
    return hashlib.sha256(f"{purpose} of {name}".encode()).hexdigest()[:32]


def _uuid(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _system(tree: Tree, host: Description) -> None:
    release = host.distribution
    tree.text(
        "etc/os-release",
        f'NAME="{release.name}"',
        f'VERSION="{release.title}"',
        f"ID={release.id}",
        f"ID_LIKE={release.like}",
        f'PRETTY_NAME="{release.name} {release.title.partition(" (")[0]}"',
        f'VERSION_ID="{release.version}"',
        # Ubuntu 14.04 has its codename in VERSION only.
        *(
            [f"VERSION_CODENAME={release.codename}", f"UBUNTU_CODENAME={release.base or release.codename}"]
            if release.version != "14.04"
            else []
        ),
    )
    tree.text(
        "etc/lsb-release",
        f"DISTRIB_ID={release.name.replace(' ', '')}",
        f"DISTRIB_RELEASE={release.version}",
        f"DISTRIB_CODENAME={release.codename}",
        f'DISTRIB_DESCRIPTION="{release.name} {release.title.partition(" (")[0]}"',
    )
    tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/bash", "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash")
    tree.text("etc/group", "root:x:0:", "ubuntu:x:1000:")
    tree.text("etc/nsswitch.conf", "passwd: files", "group: files", "hosts: files")
    tree.text("etc/resolv.conf")
    packages = {"dpkg": "1.18.4ubuntu1.7", **installed_packages(host)}
    held = host.apt.held if host.apt is not None else ()
    if host.snapd is not None:
        packages["snapd"] = host.snapd.version
    if host.python:
        # Ordinary modules read the list of packages, so it is as long as that of a server.
        packages |= {f"package-{number}": "1.0" for number in range(500)}
        tree.folders |= {"etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"}
    tree.text(
        "var/lib/dpkg/status",
        *(
            f"Package: {name}\nStatus: {'hold' if name in held else 'install'} ok installed\n"
            f"Maintainer: {_MAINTAINER}\nArchitecture: {host.architecture}\nVersion: {version}\n{_source(name)}"
            "Description: made up\n"
            for name, version in packages.items()
        ),
    )
    tree.text("var/lib/dpkg/arch", host.architecture)
    tree.folders.add("var/lib/dpkg/updates")
    if host.apt is not None and host.apt.interrupted:
        lines = ("Package: linux-base", "Status: install ok half-configured", f"Maintainer: {_MAINTAINER}")
        lines += (f"Architecture: {host.architecture}", "Version: 4.5ubuntu1~16.04.1", "Description: made up")
        tree.text("var/lib/dpkg/updates/0000", *lines)
    tree.folders |= {
        "var/local",
        "var/log",
        "root",
        "home/ubuntu",
        "tmp",
        "run",
        "var/tmp",
        PRIVATE,
        "dev",
        "sys/module",
    }
    user = "0" if host.login == "root" else "1000"
    tree.text("proc/self/status", "Name:\tsh", "Umask:\t0022", f"Uid:\t{user}\t{user}\t{user}\t{user}")
    tree.folders |= {"usr/bin", "usr/sbin", "usr/lib", "usr/share", "usr/local/bin", "boot", "usr/lib/modules"}
    tree.links |= {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run"}


def installed_packages(host: Description) -> dict[str, str]:
    """Return the versions of the host's kernel packages, by name."""
    known = {release_of(full): package_version(full) for full in host.apt.kernels} if host.apt is not None else {}
    if host.kernel.full is not None:
        known[release_of(host.kernel.full)] = package_version(host.kernel.full)
    packages = {f"linux-image-{release}": known.get(release, release) for release in kernel_releases(host)}
    return packages | (host.apt.installed if host.apt is not None else {})


def _source(package: str) -> str:
    """Return the line with the source package of the signed image of a kernel."""
    return "Source: linux-signed\n" if re.match(r"linux-image-[0-9]", package) else ""


def release_of(full: str) -> str:
    """Return the release of a full name: ``4.4.0-262.296-generic`` → ``4.4.0-262-generic``."""
    version, abi, flavour = full.split("-", 2)
    return f"{version}-{abi.partition('.')[0]}-{flavour}"


def package_version(full: str) -> str:
    """Return the package version of a full name: ``4.4.0-262.296-generic`` → ``4.4.0-262.296``."""
    return "-".join(full.split("-", 2)[:2])


def newest(releases: Iterable[str]) -> str:
    """Return the newest of some kernel releases."""
    return max(releases, key=_version_numbers)


def _version_numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", release)]


def _network(tree: Tree, host: Description, lab_server: LabServer) -> None:
    # Nothing listens at the second address.
    reached = host.reaches
    hosted = [] if reached is None else [f"127.0.0.{1 if name in reached else 2} {name}" for name in HOSTED_NAMES]
    tree.text("etc/hosts", "127.0.0.1 localhost", "127.0.0.1 livepatch.lab.test", *hosted)
    tree.files[CERTIFICATES] = lab_server.certificate_pem if host.trusts_authority else b""
    tree.text("etc/ssl/openssl.cnf")
    if lab_server.certificate_hash is not None and host.trusts_authority:
        tree.links[f"etc/ssl/certs/{lab_server.certificate_hash}.0"] = "ca-certificates.crt"
    tree.links |= {"usr/lib/ssl/certs": "/etc/ssl/certs", "usr/lib/ssl/openssl.cnf": "/etc/ssl/openssl.cnf"}
    tree.folders.add("sys/class/net/lo")
    if host.network:
        tree.folders.add("sys/class/net/eth0")


def kernel_releases(host: Description) -> list[str]:
    """Return the kernels in `/boot`, the running one last; a container has none."""
    if host.is_container:
        return []
    return [*host.kernel.also_installed, identify(host.kernel).release]


def _kernel(tree: Tree, host: Description, kernel: KernelIdentity) -> None:
    tree.text("proc/version", kernel.proc_version)
    if kernel.signature is not None:
        tree.text("proc/version_signature", kernel.signature)
    tree.text("proc/sys/kernel/ostype", "Linux")
    tree.text("proc/sys/kernel/osrelease", kernel.release)
    tree.text("proc/sys/kernel/version", kernel.version)
    tree.text("proc/sys/crypto/fips_enabled", "1" if host.kernel.fips else "0")
    tree.text("proc/cmdline", f"BOOT_IMAGE=/boot/vmlinuz-{kernel.release} root=/dev/vda1 ro")
    tree.text("proc/cpuinfo", "processor\t: 0", "model name\t: Intel(R) Xeon(R) CPU E5-2673 v4 @ 2.30GHz")
    tree.text("proc/loadavg", "0.08 0.03 0.01 1/120 4242")
    tree.text("proc/mounts", "/dev/vda1 / ext4 rw,relatime 0 0")
    tree.text("proc/filesystems", "nodev\tsysfs", "nodev\tproc", "\text4")
    tree.files["proc/keys"] = _keys(host)
    if host.kernel.livepatch is not None:
        setting = "CONFIG_LIVEPATCH=y" if host.kernel.livepatch else "# CONFIG_LIVEPATCH is not set"
        configuration = ("CONFIG_MODULE_SIG=y", "CONFIG_HAVE_LIVEPATCH=y", setting, "CONFIG_KEYS=y")
        for release in kernel_releases(host):
            tree.text(f"boot/config-{release}", *configuration)
    if host.kernel.full is not None and not host.is_container:
        changelog = f"usr/share/doc/linux-image-{kernel.release}/changelog.Debian.gz"
        tree.files[changelog] = b""
        built = dt.datetime.fromisoformat(host.kernel.built).replace(tzinfo=dt.timezone.utc).timestamp()
        tree.times |= {changelog: built, f"boot/vmlinuz-{kernel.release}": built}
    for release in kernel_releases(host):
        tree.files[f"boot/vmlinuz-{release}"] = _IMAGE
        tree.text(f"usr/lib/modules/{release}/modules.builtin")
        tree.text(f"usr/lib/modules/{release}/modules.dep", "kernel/fs/ext4/ext4.ko:")
    _boot_loader(tree, host)
    if host.kernel.livepatch:
        tree.folders.add("sys/kernel/livepatch")


def _boot_loader(tree: Tree, host: Description) -> None:
    """Add initial ramdisks, the configuration of GRUB (its first entry is the default), and the link ``/vmlinuz``."""
    fault = host.apt.fault if host.apt is not None else None
    releases = sorted(kernel_releases(host), key=_version_numbers, reverse=True)
    if not releases:
        return
    fresh = releases[0] if releases[0] != identify(host.kernel).release else None
    for release in releases:
        if not (fault == "initrd" and release == fresh):
            tree.files[f"boot/initrd.img-{release}"] = _INITRD
    if fault == "empty" and fresh is not None:
        paths = (f"boot/vmlinuz-{fresh}", f"boot/initrd.img-{fresh}", f"usr/lib/modules/{fresh}/modules.dep")
        tree.files |= dict.fromkeys(paths, b"")
    entries = [release for release in releases if not (fault == "grub" and release == fresh)]
    tree.text("boot/grub/grub.cfg", grub_configuration(entries, default=host.grub.default).rstrip("\n"))
    variables = (("saved_entry", host.grub.saved_entry), ("next_entry", host.grub.next_entry))
    block = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in variables if value)
    tree.files["boot/grub/grubenv"] = block.encode().ljust(1024, b"#")
    tree.links["vmlinuz"] = f"boot/vmlinuz-{entries[0]}"


def _keys(host: Description) -> bytes:
    """Return `/proc/keys` for the user of the session: an ordinary user does not see the keys of the kernel."""
    owners = ["Build time autogenerated kernel key: 4cf43adf9705df8307d4623bdadca4daeba7c027"]
    if host.kernel.key:
        owners += LIVE_PATCH_KEYS
    lines = [f"021a6a95 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: {len(owners)}"]
    for number, owner in enumerate(owners):
        lines.append(
            f"1b2c3d{number:02x} I------     1 perm 1f030000     0     0 asymmetri {owner}: X509.rsa {owner[-8:]} []"
        )
    if host.login == "user":
        lines = ["2f6c1b6a I--Q---     3 perm 1f3f0000  1000 65534 keyring   _uid.1000: empty"]
    return "".join(f"{line}\n" for line in lines).encode()


def _virtualization(tree: Tree, host: Description) -> None:
    kind = host.virtualization
    vendors = {"kvm": "QEMU", "amazon": "Amazon EC2", "vmware": "VMware, Inc.", "microsoft": "Microsoft Corporation"}
    if not host.is_container:
        tree.text("sys/class/dmi/id/sys_vendor", vendors.get(kind, "Dell Inc."))
    scope = {"lxc": "/lxc/guest", "docker": f"/docker/{_derived(host.name, 'container') * 2}"}.get(kind, "/init.scope")
    tree.text("proc/1/cgroup", f"1:name=systemd:{scope}")
    tree.text("proc/1/comm", "init" if host.distribution.version == "14.04" or kind == "wsl" else "systemd")
    marker = {"lxc": b"container=lxc\0", "docker": b""}.get(kind, b"")
    tree.files["proc/1/environ"] = b"HOME=/\0" + marker
    if kind == "lxc":
        tree.text("run/systemd/container", "lxc")
    if kind == "docker":
        tree.text(".dockerenv")
    if kind == "wsl":
        tree.text("proc/sys/fs/binfmt_misc/WSLInterop", "enabled", "interpreter /init", "flags: F")
    scopes = {
        "docker": "sys/fs/cgroup/systemd/docker/{id}",
        "lxd": "sys/fs/cgroup/systemd/lxc/guest-{number}",
        "podman": "sys/fs/cgroup/systemd/machine.slice/libpod-{id}.scope",
        "kubernetes": "sys/fs/cgroup/systemd/kubepods/burstable/pod{number}/{id}",
    }
    counts = dict(host.containers)
    for workload in host.workloads:
        counts[workload.runtime] = counts.get(workload.runtime, 0) + workload.running
    for runtime, count in counts.items():
        for number in range(count):
            identifier = _derived(f"{host.name} {number}", runtime) * 2
            tree.folders.add(scopes[runtime].format(id=identifier, number=number))


def _workloads(tree: Tree, host: Description) -> None:
    """Write the table that the doubles of the container runtimes read, oldest container first."""
    lines = []
    for workload in host.workloads:
        identifier = _derived(f"{host.name} {workload.name}", workload.runtime) * 2
        words = [workload.runtime, identifier, workload.name, "RUNNING" if workload.running else "STOPPED"]
        flags = ["true" if workload.vanishes else "false", "hangs" if workload.hangs else "-", str(workload.priority)]
        lines.append(" ".join([*words, *flags]))
    tree.text(f"{LAB}/workloads", *lines)


def _secure_boot(tree: Tree, host: Description) -> None:
    if host.secure_boot is not None:
        # Four bytes of attributes (boot service and runtime access), then the value.
        tree.files[SECURE_BOOT_VARIABLE] = struct.pack("<IB", 0b110, host.secure_boot.enabled)


def _patch(tree: Tree, host: Description) -> None:
    """Add the loaded patch to sysfs, `/proc/modules` and the taint flags."""
    tree.text("proc/modules")
    tree.text("proc/sys/kernel/tainted", "0")
    loaded = loaded_module(host)
    if loaded is None:
        return
    patch, module = f"sys/kernel/livepatch/{loaded.name}", f"sys/module/{loaded.name}"
    tree.text(f"{patch}/enabled", str(int(loaded.enabled)))
    tree.folders |= {f"{patch}/vmlinux/do_exit,1", f"{patch}/nf_tables/nft_set_elem_init,1"}
    if shows_transition(host):
        tree.text(f"{patch}/transition", str(int(loaded.transition)))
        tree.text(f"{patch}/force")
        if loaded.transition:
            tree.text("proc/1/patch_state", "1")
        if loaded.transition and loaded.held_by is not None:
            tree.text(f"proc/{_HOLDER}/comm", loaded.held_by)
            tree.text(f"proc/{_HOLDER}/patch_state", "0")
    tree.text(f"{module}/taint", loaded.taint or "")
    tree.text(f"{module}/srcversion", loaded.srcversion or "")
    tree.text(f"{module}/initstate", "live")
    tree.text(f"{module}/refcnt", "1")
    tree.files[f"{module}/notes/.note.gnu.build-id"] = build_id_note(loaded.build_id or "")
    tree.text("proc/modules", f"{loaded.name} 36864 1 - Live 0x0000000000000000 ({loaded.taint})")
    tree.text("proc/sys/kernel/tainted", str(sum(1 << _TAINT_BITS[letter] for letter in loaded.taint or "")))


def shows_transition(host: Description) -> bool:
    """Return True if this kernel shows the transition of a patch: kernels of 4.4 do not."""
    return not (host.kernel.full or "").startswith("4.4.")


def loaded_module(host: Description) -> Module | None:
    """Return the patch in the host's kernel with all its values in sysfs, or None."""
    client, full, described = host.client, host.kernel.full, host.module or Module()
    version = described.version
    if version is None and client is not None and client.enabled and client.patch_version:
        shown = described.loaded if host.module else client.patch_state in ("applied", "applied-with-bug")
        version = client.patch_version if shown else None
    if full is None or version is None:
        return None
    name = described.name or module_name(full, version)
    return dataclasses.replace(
        described,
        name=name,
        version=version,
        taint=described.taint or ("OK" if host.kernel.key else "OEK"),
        build_id=described.build_id or build_id(name),
        srcversion=described.srcversion or _derived(name, "source")[:23].upper(),
    )


def build_id(module: str) -> str:
    """Return the build id of a module of the lab, 40 hexadecimal digits."""
    return hashlib.sha256(f"build id of {module}".encode()).hexdigest()[:40]


def build_id_note(build_id: str) -> bytes:
    """Return an ELF note: sizes of name and descriptor, type 3 (NT_GNU_BUILD_ID), the name ``GNU``, the id."""
    identifier = bytes.fromhex(build_id)
    return struct.pack("<III4s", 4, len(identifier), 3, b"GNU\0") + identifier


def _snapd(tree: Tree, host: Description) -> None:
    if host.snapd is None:
        return
    tree.folders |= {"snap/bin", "var/snap"}
    tree.text("usr/lib/snapd/info", f"VERSION={host.snapd.version}")
    tree.text("var/lib/snapd/state.json", "{}")
    tree.text("run/snapd.socket")


def _pro(tree: Tree, host: Description, pro: Pro) -> None:
    enabled = pro.attached and host.client is not None and host.client.enabled
    status = "enabled" if enabled else "disabled" if pro.attached else "-"
    service = {"name": "livepatch", "description": "Canonical Livepatch service", "available": "yes"}
    if pro.attached:
        service |= {"entitled": "yes", "status": status, "blocked_by": "", "warning": ""}
        tree.text("var/lib/ubuntu-advantage/private/machine-token.json", _derived(host.name, "contract"))
    status_document = {
        "_schema_version": "0.1",
        "version": pro.version,
        "attached": pro.attached,
        "execution_status": "inactive",
        "services": [service],
        "errors": [],
        "warnings": [],
        "result": "success",
    }
    tree.text(f"{LAB}/pro-status.json", json.dumps(status_document))
    tree.text(f"{LAB}/pro", f"lab_pro_version={shlex.quote(pro.version)}", f"lab_pro_livepatch={status}")


def snap_revision(client: Client) -> str:
    """Return the revision number of this client version in snapd."""
    return str(int(client.version.replace(".", "")) % 400 + 15)


def _client(tree: Tree, host: Description, client: Client) -> None:
    revision = snap_revision(client)
    tree.folders |= {f"snap/canonical-livepatch/{revision}", f"var/snap/canonical-livepatch/{revision}", "snap/bin"}
    tree.folders |= {f"{COMMON}/locks", "sys/fs/cgroup/systemd/system.slice"}
    if not client.snap_disabled:
        _enabled_snap(tree, client, revision)
    if client.running:
        tree.folders.add(f"sys/fs/cgroup/systemd/system.slice/{SERVICE}")
    if client.log:
        tree.text(f"{LAB}/journal", *client.log)
    settings = {"check-interval": "60", "log-level": "warning", **client.settings}
    tree.text(f"{COMMON}/config", *(f"{key}: {json.dumps(value)}" for key, value in settings.items()))
    if client.enabled:
        tree.text(f"{COMMON}/machine-token", machine_token(host))
        tree.text(f"{COMMON}/client-info", json.dumps({"machine-id": machine_id(host.name), "tier": client.tier}))
    if client.enabled and client.patch_version:
        tree.text(f"{COMMON}/payload/meta", f"version: {client.patch_version}")
    if client.crash_lock and host.kernel.full is not None:
        tree.text(f"{COMMON}/locks/{lock_name(host.kernel.full, client.patch_version)}")


def _enabled_snap(tree: Tree, client: Client, revision: str) -> None:
    """Add what `snap disable` removes: the mounted snap, the links to its revision, and its unit."""
    tree.links |= {f"{folder}/canonical-livepatch/current": revision for folder in ("snap", "var/snap")}
    tree.text(
        f"snap/canonical-livepatch/{revision}/meta/snap.yaml", "name: canonical-livepatch", f"version: {client.version}"
    )
    unit = f"etc/systemd/system/{SERVICE}"
    tree.text(unit, "[Service]", "ExecStart=/usr/bin/snap run canonical-livepatch.canonical-livepatchd")
    if client.service_enabled:
        tree.links[f"etc/systemd/system/multi-user.target.wants/{SERVICE}"] = f"/{unit}"


def _facts_for_doubles(tree: Tree, host: Description, kernel: KernelIdentity) -> None:
    """Write the shell variables that the doubles read."""
    snapd, client, secure_boot = host.snapd, host.client, host.secure_boot
    facts = {
        "distribution": host.distribution.id,
        "release": host.distribution.version,
        "kernel_release": kernel.release,
        "kernel_version": kernel.version,
        "machine": host.machine,
        "architecture": host.architecture,
        "virtualization": host.virtualization,
        "container": host.virtualization if host.is_container else "none",
        "secure_boot": "none" if secure_boot is None else "enabled" if secure_boot.enabled else "disabled",
        "login": host.login,
        "member": host.member or "",
        "boot_free": str(host.apt.boot_free * 1024 if host.apt is not None else 200 * 1024),
        "key_enrolled": "yes" if secure_boot is not None and secure_boot.key_enrolled else "no",
    }
    if host.apt is not None:
        facts |= {"apt_locked_for": str(seconds(host.apt.locked_for)), "apt_takes": str(seconds(host.apt.takes))}
        facts["apt_fault"] = host.apt.fault or ""
        facts["apt_lock_text"] = host.apt.lock_text or ""
    if snapd is not None:
        major, minor = (int(part) for part in snapd.version.split(".")[:2])
        facts |= {
            "snapd_version": snapd.version,
            "snapd_running": "yes" if snapd.running else "no",
            "snapd_seeded": "yes" if snapd.seeded else "no",
            "snapd_seeds_in": str(seconds(snapd.seeds_in)) if snapd.seeds_in is not None else "",
            "snapd_waits": "yes" if (major, minor) >= (2, 27) else "no",
        }
    if client is not None:
        facts |= {
            "client_version": client.version,
            "client_revision": snap_revision(client),
            "client_channel": client.channel,
            "client_generation": client.generation,
            "client_enabled": "yes" if client.enabled else "no",
            "client_running": "yes" if client.running else "no",
            "client_unit": "active" if client.running else "failed" if client.start_limited else "inactive",
            "client_notes": "disabled" if client.snap_disabled else "-",
            "client_trouble": client.trouble or "",
            "client_hangs": "yes" if client.hangs else "no",
            "client_refuses_kernel": "yes" if client.refuses_kernel else "no",
            "client_exit": str(client.status_exit),
        }
    tree.text(f"{LAB}/facts", *(f"lab_{key}={shlex.quote(value)}" for key, value in facts.items()))
