# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Facts from the answer of a host, in the format of the script."""

from __future__ import annotations

import datetime
import shlex
import string
import time
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.facts import (
    ClientMode,
    HostFacts,
    Snapd,
    read_facts,
)
from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Section, Sections

OS_RELEASE = """\
NAME="Ubuntu"
VERSION="16.04.7 LTS (Xenial Xerus)"
ID=ubuntu
ID_LIKE=debian
VERSION_ID="16.04"
UBUNTU_CODENAME=xenial
"""
FILES = {
    "/etc/os-release": OS_RELEASE,
    "/proc/version_signature": "Ubuntu 4.4.0-168.197-generic 4.4.197",
    "/proc/sys/kernel/osrelease": "4.4.0-168-generic",
    "/proc/sys/kernel/version": "#197-Ubuntu SMP Wed Nov 6 11:18:45 UTC 2019",
    "/proc/uptime": "93784.25 180000.00",
    "/etc/machine-id": "9f86d081884c7d659a2feaa0c55ad015",
    "/sys/kernel/livepatch/lkp_Ubuntu_4_4_0_168_197_generic_65/enabled": "1",
    "/sys/module/lkp_Ubuntu_4_4_0_168_197_generic_65/taint": "OEK",
    "/snap/canonical-livepatch/current/meta/snap.yaml": "name: canonical-livepatch\nversion: '9.5.5'\n",
}
THERE = ("ok /sys/kernel", "ok /sys/kernel/livepatch", "ok /snap/bin/canonical-livepatch", "absent /sys/firmware/efi")
STATUS = """\
client-version: 9.4.1
status:
- kernel: 4.4.0-168.197-generic
  running: true
  livepatch:
    checkState: checked
    patchState: applied
    version: "65.1"
"""


def ok(output: str, code: int | None = 0, errors: str = "") -> dict[str, t.Any]:
    return {"output": output, "exit_code": code, "errors": errors}


def facts(
    content_of: dict[str, str] | None = None, further: t.Sequence[str] = (), /, **sections: dict[str, t.Any] | None
) -> HostFacts:
    """Return facts of a healthy host; a test replaces files, adds paths, and replaces sections (None removes one)."""
    content = {**FILES, **(content_of or {})}
    listed = [*(f"ok {path}" for path in content), *THERE, *further]
    answers: dict[str, dict[str, t.Any] | None] = {
        "user": ok("0"),
        "clock": ok("1772337600"),
        "paths": ok("\n".join(listed)),
        "files": ok("\n".join(f"{path}:{line}" for path, text in content.items() for line in text.splitlines())),
        "machine": ok("x86_64"),
        "architecture": ok("amd64"),
        "containers": ok("group - system.slice/docker-0123456789ab.scope\ncontainerd absent"),
        "virtualization": ok("kvm"),
        "keys": ok(""),
        "snapd": ok("snap    2.54.3\nsnapd   2.54.3+16.04\nseries  16\nubuntu  16.04\nkernel  4.4.0-168-generic"),
        "status json": ok("", 1, "unknown flag `format'"),
        "status plain": ok(STATUS),
        "config": ok('http-proxy: ""\nremote-server: "https://livepatch.example.com"', None),
    }
    answers.update({name.replace("__", " "): value for name, value in sections.items()})
    return read_facts(
        Sections(
            [Section(name, **{"status": "ok", **value}) for name, value in answers.items() if value is not None],
            complete=True,
        )
    )


def test_a_healthy_host_is_parsed_completely() -> None:
    host = facts()
    assert host.root is True
    assert host.now == datetime.datetime(2026, 3, 1, 4, 0, tzinfo=datetime.timezone.utc)
    assert host.booted_at == datetime.datetime(2026, 2, 28, 1, 56, 56, tzinfo=datetime.timezone.utc)
    assert (host.distribution, host.release, host.codename) == ("ubuntu", "16.04", "xenial")
    assert (host.architecture, host.machine) == ("amd64", "x86_64")
    assert (host.kernel.full, host.kernel.flavour, host.kernel.origin) == ("4.4.0-168.197-generic", "generic", "ubuntu")
    assert (host.virtualization, host.container, host.container_known, host.wsl) == ("kvm", None, True, False)
    assert host.containers == {"docker": 1, "lxd": 0, "podman": 0, "kubernetes": 0, "containerd": 0}
    assert host.rootless_containers == {}
    assert host.machine_id_sha256 is not None
    assert len(host.machine_id_sha256) == 64
    assert host.secure_boot is False
    assert host.livepatch_in_kernel is True
    assert host.snapd == Snapd(installed=True, version="2.54.3+16.04", answers=True)
    assert host.client is not None
    assert (host.client.version, host.client.patch_version, host.client.generation) == ("9.4.1", "65.1", "6")
    assert host.config == {"http-proxy": "", "remote-server": "https://livepatch.example.com"}
    assert host.patches is not None
    assert [(patch.module[-3:], patch.enabled, patch.taint) for patch in host.patches] == [("_65", True, "OEK")]


@pytest.mark.parametrize(
    ("paths", "certified", "updates"),
    [
        ((), False, False),
        (("ok /etc/apt/sources.list.d/ubuntu-fips.list",), True, False),
        (("denied /etc/apt/sources.list.d/ubuntu-fips.sources",), True, False),
        (("ok /etc/apt/sources.list.d/ubuntu-fips-updates.list",), False, True),
    ],
)
def test_fips_archives_are_told_apart(paths: tuple[str, ...], certified: bool, updates: bool) -> None:
    host = facts(None, paths)
    assert (host.fips_certified, host.fips_updates) == (certified, updates)


def test_an_incomplete_list_of_paths_hides_the_fips_archive() -> None:
    assert read_facts(Sections([], complete=False)).fips_certified is None


def test_an_empty_answer_gives_unknown_facts() -> None:
    host = read_facts(Sections([], complete=False))
    assert host.root is None
    assert host.now is None
    assert host.os_release == {}
    assert host.kernel.origin == "unknown"
    assert host.container_known is False
    assert host.secure_boot is None
    assert host.livepatch_in_kernel is None
    assert host.client_installed is None
    assert host.client is None
    assert host.patches is None
    assert not host.complete


@pytest.mark.parametrize(
    ("line", "value"),
    [('ID="ubuntu"', "ubuntu"), ("ID='ubuntu'", "ubuntu"), ("ID=ubuntu", "ubuntu"), ("  ID=ubuntu  ", "ubuntu")],
)
def test_os_release_may_use_any_quotes(line: str, value: str) -> None:
    assert facts({"/etc/os-release": f'# comment\nBROKEN="\n{line}\nid=lower'}).distribution == value


@pytest.mark.parametrize(
    ("sections", "container"),
    [
        ({"virtualization": ok("lxc")}, "lxc"),
        ({"virtualization": ok("docker")}, "docker"),
        ({"virtualization": ok("none", 1)}, None),
        ({"virtualization": {"status": "absent"}, "container_variable": ok("container=lxc")}, "lxc"),
        ({"virtualization": {"status": "absent"}, "container_variable": ok("", 1)}, None),
    ],
)
def test_containers_are_recognised_by_several_signs(sections: dict[str, t.Any], container: str | None) -> None:
    host = facts(**sections)
    assert (host.container, host.container_known) == (container, True)


def test_container_markers_are_sufficient() -> None:
    assert facts(None, ["ok /.dockerenv"], virtualization=None).container == "docker"
    assert facts(None, ["ok /run/.containerenv"], virtualization=None).container == "podman"
    assert facts({"/run/systemd/container": "lxc"}, virtualization=None).container == "lxc"
    assert facts(virtualization={"status": "absent"}).container_known is False


def test_an_image_without_a_package_is_not_installed() -> None:
    images = [f"ok /boot/vmlinuz-4.4.0-{abi}-generic" for abi in (168, 210, 261)]
    info = "/var/lib/dpkg/info"
    names = ("linux-image-4.4.0-168-generic", "linux-image-unsigned-4.4.0-210-generic")
    assert facts(None, ["ok /boot", *images]).newest_installed == "4.4.0-261-generic"
    host = facts(None, ["ok /boot", *images, f"ok {info}", *(f"ok {info}/{name}.list" for name in names)])
    assert host.newest_installed == "4.4.0-210-generic"
    assert "4.4.0-261-generic" in (host.installed_kernels or ()), "the boot loader can start it"


@pytest.mark.parametrize(
    ("group", "container"),
    [
        ("12:cpu:/docker/5f3a\n1:name=systemd:/docker/5f3a", "docker"),
        ("0::/docker/buildkit/executor/x", "docker"),
        ("4:pids:/buildkit/x1", "buildkit"),
        ("0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-5f3a.scope", "kubepods"),
        ("0::/machine.slice/libpod-5f3a.scope", "libpod"),
        ("9:memory:/lxc/web1", "lxc"),
        ("0::/init.scope", None),
        ("1:name=systemd:/init.scope\n0::/init.scope", None),
        ("0::/", None),
        ("0::/dockerless.slice", None),
    ],
)
def test_the_control_group_shows_a_container(group: str, container: str | None) -> None:
    assert facts({"/proc/1/cgroup": group}, virtualization=None).container == container


def test_containers_inside_a_container_are_not_counted() -> None:
    """A container sees only its own control groups."""
    assert facts(virtualization=ok("lxc")).containers is None


@pytest.mark.parametrize(
    "changes",
    [
        {"virtualization": ok("wsl")},
        {"paths": ["ok /proc/sys/fs/binfmt_misc/WSLInterop"]},
        {"files": {"/proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2"}},
    ],
)
def test_wsl_is_recognised_by_several_signs(changes: dict[str, t.Any]) -> None:
    assert facts(changes.pop("files", None), changes.pop("paths", ()), **changes).wsl


@pytest.mark.parametrize(
    ("sections", "secure_boot"),
    [
        ({"secure_boot_variable": ok(" 06 00 00 00 01")}, True),
        ({"secure_boot_variable": ok(" 06 00 00 00 00")}, False),
        ({"secure_boot_variable": ok("")}, None),
        ({"mokutil": ok("SecureBoot enabled")}, True),
        ({"mokutil": ok("SecureBoot disabled\nPlatform is in Setup Mode")}, False),
        ({}, None),
    ],
)
def test_secure_boot_is_read_from_efi(sections: dict[str, t.Any], secure_boot: bool | None) -> None:
    assert facts(None, ["ok /sys/firmware/efi"], **sections).secure_boot is secure_boot


def test_hidden_keys_are_unknown_not_missing() -> None:
    subject = "Another owner: 14df34d1a87cf37625abec039ef2bf521249b969"
    key = f"0b4f1c8a I------     1 perm 1f030000     0     0 asymmetri {subject}: X509.rsa 1249b969 []"
    assert facts(keys=ok(key)).kernel_keys
    assert facts(keys=ok("", 1)).kernel_keys == ()
    assert facts(keys=ok("", 2)).kernel_keys is None
    assert facts(keys=ok(key, 127)).kernel_keys is None
    assert facts(keys={**ok(key), "cut": True}).kernel_keys is None, "another user can cut the list"
    assert facts(keys=ok(""), user=ok("1000")).kernel_keys is None
    assert facts(keys=None).kernel_keys is None


def test_the_kernel_configuration_complements_sysfs() -> None:
    gone = ["absent /sys/kernel/livepatch"]
    config = "/boot/config-4.4.0-210-generic:CONFIG_LIVEPATCH=y\n/boot/config-4.4.0-168-generic:{}"
    assert facts(None, gone, kernel_config=ok(config.format("CONFIG_LIVEPATCH=y"))).livepatch_in_kernel is True
    assert (
        facts(None, gone, kernel_config=ok(config.format("# CONFIG_LIVEPATCH is not set"))).livepatch_in_kernel is False
    )
    assert facts(None, gone).livepatch_in_kernel is False
    assert facts(None, [*gone, "absent /sys/kernel"]).livepatch_in_kernel is None


@pytest.mark.parametrize(
    ("section", "snapd"),
    [
        ({"status": "absent"}, Snapd(installed=False)),
        (ok("snap    2.57.6\nsnapd   unavailable\nseries  -"), Snapd(installed=True, version="2.57.6", answers=False)),
        (ok("", 1, "error"), Snapd(installed=True, version=None, answers=False)),
        ({"status": "timeout"}, Snapd(installed=True, version=None, answers=False)),
    ],
)
def test_snapd_facts_are_parsed(section: dict[str, t.Any], snapd: Snapd) -> None:
    assert facts(snapd=section).snapd == snapd


@pytest.mark.parametrize(
    ("section", "seeded"),
    [
        (ok("", 0), True),
        ({"status": "timeout"}, False),
        (ok("", 1, 'error: unknown command "wait"'), None),
        (ok("", 10, "error: too early for operation, device not yet seeded"), False),
    ],
)
def test_seeding_is_parsed(section: dict[str, t.Any], seeded: bool | None) -> None:
    assert facts(seeded=section).snapd.seeded is seeded


def test_the_snap_version_is_the_clients_fallback() -> None:
    not_enabled = ok("", 1, "Machine is not enabled. Please run 'sudo canonical-livepatch enable'")
    host = facts(status__json=not_enabled, status__plain=not_enabled)
    assert host.client is not None
    assert (host.client.enabled, host.client.version, host.client.generation) == (False, "9.5.5", "9.5")


def test_a_missing_client_is_recognised() -> None:
    gone = {"status__json": None, "status__plain": None, "config": None, "status": {"status": "absent"}}
    host = facts(None, ["absent /snap/bin/canonical-livepatch"], **gone)
    assert (host.client_installed, host.client, host.config) == (False, None, None)
    hidden = facts(None, ["denied /snap/bin/canonical-livepatch"], **gone)
    assert hidden.client_installed is None


def test_unreadable_sysfs_is_unknown_not_empty() -> None:
    assert facts(None, ["denied /sys/kernel/livepatch"]).patches is None


def test_crash_locks_and_desktops_are_found() -> None:
    locks = "/var/snap/canonical-livepatch/common/locks"
    host = facts(None, [f"ok {locks}", f"ok {locks}/livepatch_Ubuntu_4_4_0_168_197_generic_65_65.1"])
    assert host.crash_locks == ("livepatch_Ubuntu_4_4_0_168_197_generic_65_65.1",)
    assert not host.desktop
    assert facts(None, ["ok /usr/share/xsessions/gnome.desktop"]).desktop


def test_the_newest_kernel_of_the_flavour_is_found() -> None:
    names = ("4.4.0-98-generic", "4.4.0-210-generic", "4.4.0-168-generic", "4.4.0-211-lowlatency")
    assert facts(None, [f"ok /boot/vmlinuz-{name}" for name in names]).newest_installed == "4.4.0-210-generic"


def test_images_of_all_architectures_are_listed() -> None:
    paths = ["ok /boot", "denied /boot/vmlinuz-4.4.0-9-generic", "ok /boot/vmlinux-4.4.0-210-generic"]
    host = facts(None, paths)
    assert host.installed_kernels == ("4.4.0-9-generic", "4.4.0-210-generic")
    assert host.newest_installed == "4.4.0-210-generic"
    assert facts().installed_kernels == ()
    assert facts(None, ["denied /boot"]).installed_kernels is None


# --- the mode of the client ---

MODE_FILE = "/var/local/canonical_livepatch_mode"


def mode(file: str | None = None, parameters: str | None = "", *paths: str) -> ClientMode | None:
    """Return the mode for the content of the mode file, and the parameters on the kernel command line."""
    line = None if parameters is None else ok(parameters)
    return facts({} if file is None else {MODE_FILE: file}, ["ok /proc/cmdline", *paths], command_line=line).mode


@pytest.mark.parametrize(
    ("file", "parameters", "expected"),
    [
        (None, "", ("normal", "default")),
        ("", "", ("normal", "default")),
        ("normal", "", ("normal", "file")),
        ("stop", "", ("stop", "file")),
        (" no-apply \n", "", ("no-apply", "file")),
        (None, "canonical_livepatch_mode=stop", ("stop", "kernel_command_line")),
        (None, 'canonical_livepatch_mode="no-refresh"', ("no-refresh", "kernel_command_line")),
        ("normal", "canonical_livepatch_mode=no-apply", ("no-apply", "kernel_command_line")),
        ("stop", "canonical_livepatch_mode=normal", ("stop", "file")),
        ("no-refresh", "canonical_livepatch_mode=stop", ("stop", "kernel_command_line")),
        (None, "canonical_livepatch_mode=normal\ncanonical_livepatch_mode=stop", ("stop", "kernel_command_line")),
        ("paused", "canonical_livepatch_mode=normal", ("paused", "file")),
        ("paused", "canonical_livepatch_mode=stop", ("stop", "kernel_command_line")),
    ],
)
def test_the_mode_that_withholds_more_counts(file: str | None, parameters: str, expected: tuple[str, str]) -> None:
    found = mode(file, parameters)
    assert found is not None
    assert (found.value, found.source) == expected


def test_an_unreadable_mode_is_unknown() -> None:
    assert mode(None, "", f"denied {MODE_FILE}") is None
    assert mode(None, None) is None
    assert mode("normal", None) is None
    assert mode("stop", None) == ClientMode("stop", "file"), "another source cannot withhold more"
    assert facts(None, [f"ok {MODE_FILE}"], files=None, command_line=ok("")).mode is None


def test_the_mode_of_a_host_is_bounded() -> None:
    found = mode("x" * 1_000_000)
    assert found is not None
    assert len(found.value) <= 32


# --- the service of the client ---

UNIT = "snap.canonical-livepatch.canonical-livepatchd.service"
UNIT_FILE = f"ok /etc/systemd/system/{UNIT}"


@pytest.mark.parametrize(
    ("paths", "enabled"),
    [
        ([UNIT_FILE, f"ok /etc/systemd/system/multi-user.target.wants/{UNIT}"], True),
        ([UNIT_FILE], False),
        ([], None),
    ],
)
def test_the_service_is_known_from_files(paths: list[str], enabled: bool | None) -> None:
    assert facts(None, paths).service_enabled is enabled


def test_the_log_of_the_daemon_is_bounded_and_clean() -> None:
    lines = [f"line {number}" for number in range(8)]
    assert facts(client_log=ok("\n".join(lines))).client_log == tuple(lines[-5:])
    (line,) = facts(client_log=ok("\x1b[2J" + "x " * 5000)).client_log
    assert len(line) == 300
    assert line.isprintable()
    secret = "5ec2e7" * 6
    (masked,) = facts(client_log=ok(f"PUT /v1/machine/{secret}: refused, machine-token: {secret}")).client_log
    assert secret not in masked
    assert facts().client_log == ()


def test_a_client_that_is_not_enabled_has_no_log() -> None:
    not_enabled = ok("", 1, "Machine is not enabled. Please run 'sudo canonical-livepatch enable'")
    host = facts(status__json=not_enabled, status__plain=not_enabled, client_log=ok("started"))
    assert host.client_log == ()


# --- a reboot that packages request ---


def test_packages_that_request_a_reboot_are_listed() -> None:
    listed = {"/run/reboot-required.pkgs": "linux-image-6.8.0-51-generic\nlinux-base\nlinux-base\n<b>\n"}
    host = facts(listed, ["ok /run/reboot-required"])
    assert host.reboot_packages == ("linux-image-6.8.0-51-generic", "linux-base")
    assert facts().reboot_packages == ()
    assert facts(None, ["ok /run/reboot-required"]).reboot_packages == ("unknown",)
    assert facts(None, ["denied /run/reboot-required"]).reboot_packages is None


# --- the build date of the kernel ---

CUT = "#14~24.04.1-Ubuntu SMP PREEMPT_DYNAMIC Thu Jan 15 15:52:10 UTC 2"
CHANGELOG = "/usr/share/doc/linux-image-6.17.0-14-generic/changelog.Debian.gz"


def built(times: str, version: str = CUT) -> datetime.datetime | None:
    return facts({"/proc/sys/kernel/version": version}, kernel_times=ok(times)).kernel.build_date


def test_the_package_dates_a_kernel_whose_text_is_cut() -> None:
    january = datetime.datetime(2026, 1, 15, 16, 0, tzinfo=datetime.timezone.utc)
    later = "1780000000 /boot/vmlinuz-6.17.0-14-generic"
    assert len(CUT) == 64
    assert built(f"{january.timestamp():.0f} {CHANGELOG}\n{later}") == january
    assert built(f"0 {CHANGELOG}\n{january.timestamp():.0f} /boot/vmlinuz-6.17.0-14-generic") == january
    assert built("") is None
    assert built("99999999999 /boot/x\n-5 /boot/x\nnone /boot/x") is not None
    assert built(later, "#197-Ubuntu SMP Wed Nov 6 11:18:45 UTC 2019") == datetime.datetime(
        2019, 11, 6, 11, 18, 45, tzinfo=datetime.timezone.utc
    )


def test_a_container_has_no_package_of_its_kernel() -> None:
    host = facts(
        {"/proc/sys/kernel/version": CUT}, virtualization=ok("lxc"), kernel_times=ok(f"1768492800 {CHANGELOG}")
    )
    assert host.kernel.build_date is None


@pytest.mark.parametrize(
    ("release", "codename"),
    [
        ('ID=ubuntu\nVERSION="14.04.6 LTS, Trusty Tahr"', "trusty"),
        ('ID=ubuntu\nVERSION="12.04.5 LTS, Precise Pangolin"', "precise"),
        ('ID=ubuntu\nVERSION="16.04.1 LTS (Xenial Xerus)"', "xenial"),
        ('ID=ubuntu\nVERSION="16.04.1 LTS (Xenial Xerus)"\nVERSION_CODENAME=other', "other"),
        ('ID=ubuntu\nVERSION="14.04.6 LTS"', None),
        ('ID=elementary\nVERSION="0.4 (Loki Luna)"', None),
        ("ID=ubuntu", None),
    ],
)
def test_the_codename_of_old_releases_is_in_the_version(release: str, codename: str | None) -> None:
    assert facts({"/etc/os-release": release}).codename == codename


def test_the_hosted_service_has_two_servers() -> None:
    second = "url https://livepatch-files.canonical.com\nproxy \ntool curl\ncurl: (7) Failed to connect"
    first, other = facts(network=ok(NETWORK.format("", "curl")), network__files=ok(second, 7)).reachability
    assert (first.outcome, other.outcome) == ("reached", "refused")
    assert (other.url, other.detail) == ("https://livepatch-files.canonical.com", "curl: (7) Failed to connect")


NETWORK = "url https://livepatch.example.com\nproxy {}\ntool {}\n"


@pytest.mark.parametrize(
    ("tool", "code", "more", "errors", "outcome"),
    [
        ("curl", 0, "", "", "reached"),
        ("curl", 6, "", "curl: (6) Could not resolve host", "refused"),
        ("curl", 7, "", "curl: (7) Failed to connect", "refused"),
        ("curl", 28, "", "curl: (28) timed out", "refused"),
        ("curl", 60, "", "curl: (60) self-signed certificate", "untrusted"),
        ("wget", 0, "", "", "reached"),
        ("wget", 8, "", "", "reached"),
        ("wget", 4, "", "", "refused"),
        ("wget", 5, "", "", "untrusted"),
        ("wget", 1, "", "wget: server returned error: HTTP/1.1 404 Not Found", "reached"),
        ("wget", 1, "", "wget: bad address 'livepatch.example.com'", "refused"),
        ("openssl", 0, "    Verify return code: 0 (ok)\n", "", "reached"),
        (
            "openssl",
            0,
            "    Verify return code: 20 (unable to get local issuer certificate)\n    Extended master secret: no\n",
            "",
            "untrusted",
        ),
        ("openssl", 1, "", "connect: Connection refused", "refused"),
        ("bash", 0, "", "", "reached"),
        ("bash", 1, "", "bash: connect: Connection refused", "refused"),
        ("none", 1, "", "", "no_tool"),
    ],
)
def test_the_outcome_of_each_tool_is_parsed(tool: str, code: int, more: str, errors: str, outcome: str) -> None:
    (reachability,) = facts(network=ok(NETWORK.format("", tool) + more + errors, code)).reachability
    assert (reachability.tool, reachability.outcome, reachability.by_proxy) == (tool, outcome, False)
    assert reachability.detail == " ".join((more + errors).split()).removesuffix(" Extended master secret: no")


def test_a_hanging_connection_is_not_reachable() -> None:
    hung = {"status": "timeout", "output": NETWORK.format("yes", "bash")}
    (reachability,) = facts(network=hung).reachability
    assert (reachability.outcome, reachability.by_proxy) == ("refused", True)
    assert facts(network=None).reachability == ()


SECTIONS = [
    *(
        "user",
        "clock",
        "paths",
        "files",
        "machine",
        "architecture",
        "release",
        "version",
        "containers",
        "virtualization",
    ),
    *(
        "container_variable",
        "keys",
        "kernel_config",
        "module x",
        "file x",
        "certificate",
        "secure_boot_variable",
        "mokutil",
        "snapd",
        "seeded",
    ),
    *("status json", "status plain", "config", "network", "network files"),
    *("command_line", "kernel_times", "client_log"),
]


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(SECTIONS),
        st.builds(
            dict,
            output=st.text(),
            errors=st.text(),
            exit_code=st.none() | st.integers(0, 255),
            status=st.sampled_from(["ok", "absent", "denied", "timeout", "lost"]),
        ),
    )
)
def test_no_answer_crashes_the_parser(answers: dict[str, dict[str, t.Any]]) -> None:
    read_facts(Sections([Section(name, **answer) for name, answer in answers.items()], complete=True))


@pytest.mark.parametrize("content", ["uninitialized", "caf\udce9" * 8, "0" * 33, "\x00" * 32, "9" * 1_000_000])
def test_only_a_machine_id_identifies_a_host(content: str) -> None:
    assert facts({"/etc/machine-id": content}).machine_id_sha256 is None


_PLAIN = st.text(string.ascii_letters + string.digits + " ._-:/(),'\\\"=", max_size=40)


@given(_PLAIN)
def test_os_release_is_parsed_as_by_shells(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    quoted = [f'"{escaped}"'] + ([] if "'" in value else [f"'{value}'"])
    bare = [value] if not set(value) & set(" '\\\"") else []
    for written in (*quoted, *bare):
        assert "".join(shlex.split(written)) == value
        assert facts({"/etc/os-release": f"ID={written}"}).os_release == {"ID": value}


@pytest.mark.parametrize("written", ['"open', "'open", '"a"b"', "a'b'", "two words", '"end\\"'])
def test_an_invalid_line_of_os_release_is_ignored(written: str) -> None:
    assert facts({"/etc/os-release": f"VERSION_ID={written}\nID=ubuntu"}).os_release == {"ID": "ubuntu"}


@pytest.mark.parametrize("value", ["x", "'x", '\\"', "\\", "x y", '""', "=", "A="])
def test_a_long_os_release_takes_little_time(value: str) -> None:
    begun = time.process_time()
    for quote in ("", '"', "'"):
        facts({"/etc/os-release": f"ID={quote}{value * ((1 << 20) // len(value))}{quote}"})
    assert time.process_time() - begun < 10


@given(st.binary(max_size=400), st.binary(max_size=100), st.sampled_from([None, 0, 1, 127, 999]))
def test_any_bytes_of_a_host_are_accepted(output: bytes, errors: bytes, code: int | None) -> None:
    texts = [part.decode("utf-8", "surrogateescape") for part in (output, errors)]
    names = ("user", "clock", "machine", "architecture", "containers", "virtualization", "keys", "snapd", "seeded")
    more = ("status json", "status plain", "config", "network", "secure_boot_variable", "certificate", "module lkp_a")
    read_facts(Sections([Section(name, "ok", *texts, code) for name in (*names, *more)], complete=True))
    facts(dict.fromkeys((*FILES, "/sys/module/lkp_a/taint", "/run/container_type"), texts[0]))


# --- packages of kernels

PACKAGES = """\
ii  linux-image-4.4.0-168-generic 4.4.0-168.197 linux-signed 4.4.0-168.197 amd64
rc  linux-image-4.4.0-21-generic 4.4.0-21.37 linux 4.4.0-21.37 amd64
ii  linux-image-4.4.0-200-generic 4.4.0-200.232 linux-signed 4.4.0-200.232 amd64
iHR linux-image-4.4.0-201-generic 4.4.0-201.233 linux-signed 4.4.0-201.233 amd64
ii  linux-image-generic-hwe-16.04 4.4.0.200.206 linux-meta 4.4.0.200.206 amd64
ii  linux-headers-4.4.0-168 4.4.0-168.197 linux 4.4.0-168.197 amd64
un  linux-image-unsigned-4.4.0-168-generic amd64
ii  linux-modules-4.4.0-168-generic 4.4.0-168.197 linux 4.4.0-168.197 amd64
ii  linux-base-sgx 4.5.6 linux-base 4.5.6 amd64
"""


def test_packages_of_kernels_are_read() -> None:
    found = facts(kernel_packages=ok(PACKAGES)).kernel_packages
    assert (found.source, found.source_version, found.problem) == ("linux", "4.4.0-168.197", None)
    assert [package.name for package in found.installed] == [
        "linux-image-4.4.0-168-generic",
        "linux-modules-4.4.0-168-generic",
        "linux-image-4.4.0-200-generic",
        "linux-headers-4.4.0-168",
    ], "those of the running kernel first; neither removed, nor unpacked, nor metapackages"


@pytest.mark.parametrize(
    ("kernel", "lines", "source"),
    [
        ("6.8.0-47-generic", "ii  linux-image-6.8.0-47-generic 6.8.0-47.47 linux-signed 6.8.0-47.47 amd64", "linux"),
        (
            "6.8.0-47-generic",
            "ii  linux-image-unsigned-6.8.0-47-generic 6.8.0-47.47~22.04.1 linux-hwe-6.8 6.8.0-47.47~22.04.1 amd64",
            "linux-hwe-6.8",
        ),
        (
            "5.15.0-1050-aws",
            "ii  linux-image-5.15.0-1050-aws 5.15.0-1050.55 linux-signed-aws 5.15.0-1050.55 amd64",
            "linux-aws",
        ),
        # Removed while it runs: dpkg still knows where it is from.
        (
            "4.4.0-168-generic",
            "rc  linux-image-4.4.0-168-generic 4.4.0-168.197 linux-signed 4.4.0-168.197 amd64",
            "linux",
        ),
        ("4.4.0-168-generic", "ii  linux-image-uc-4.4.0-168-generic 4.4.0-168.197 linux 4.4.0-168.197 amd64", "linux"),
        ("4.4.0-168-generic", "ii  linux-image-4.4.0-169-generic 4.4.0-169.198 linux-signed 4.4.0-169.198 amd64", None),
        ("4.4.0-168-generic", "", None),
    ],
)
def test_the_running_kernel_has_a_source_package(kernel: str, lines: str, source: str | None) -> None:
    host = facts({"/proc/sys/kernel/osrelease": kernel}, kernel_packages=ok(lines))
    assert host.kernel_packages.source == source
    assert host.kernel_packages.problem == (None if source else "kernel_without_package")


def test_unreadable_packages_have_a_reason() -> None:
    absent = {"output": "", "status": "absent"}
    assert facts(kernel_packages=absent).kernel_packages.problem == "no_dpkg"
    assert facts(kernel_packages=None).kernel_packages.problem == "dpkg_failed"
    failed = facts(kernel_packages=ok("", 2)).kernel_packages
    assert (failed.source, failed.problem) == (None, "dpkg_failed")
    cut = facts(kernel_packages={**ok(PACKAGES), "cut": True}).kernel_packages
    assert (cut.source, cut.problem) == ("linux", "dpkg_failed"), "the list is not complete"


def test_packages_of_kernels_are_limited() -> None:
    line = "ii  linux-image-4.4.0-{n}-generic 4.4.0-{n}.{n} linux 4.4.0-{n}.{n} amd64\n"
    many = "".join(line.format(n=n) for n in range(1000, 9000))
    found = facts(kernel_packages=ok(many + PACKAGES)).kernel_packages
    assert len(found.installed) == 128
    assert found.installed[0].name == "linux-image-4.4.0-168-generic"
    noise = "ii  linux-" + "a-" * 100_000 + "image-4.4.0-1-generic 1 2 3 4\n"
    start = time.process_time()
    assert facts(kernel_packages=ok(noise)).kernel_packages.installed == ()
    assert time.process_time() - start < 1
