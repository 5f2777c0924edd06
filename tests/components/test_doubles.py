# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Doubles of the lab answer the questions of the scripts as the real programs of this machine do.

docs/development/doubles.md lists every double. The tests of other sessions compare the others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.kernelops.livepatch.plugins.module_utils._decisions.apt_failures import apt_failure
from ansible_collections.kernelops.livepatch.plugins.module_utils._host import apt
from ansible_collections.kernelops.livepatch.plugins.plugin_utils._shell import compose
from tests.lab.fleet import Fleet, running_fleet
from tests.lab.host_services.apt import archive, with_apt
from tests.lab.hosts.file_tree import installed_packages
from tests.lab.live_patches import module_files

from .real_apt import BROKEN, UNMET, Answer, RealApt

pytestmark = pytest.mark.doubles

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "upgradable"
NONCE = "0" * 32
PACKAGE_FIELDS = "${db:Status-Abbrev} ${Package} ${Version} ${source:Package} ${source:Version} ${Architecture}\\n"
APT_QUESTIONS = [
    ("apt-get", "-s", "-q", "--no-remove", "install", "linux-generic"),
    ("apt-get", "-s", "-q", "--no-remove", "install", "linux-image-4.4.0-262-generic", "linux-image-4.4.0-261-generic"),
    ("apt-get", "-s", "-q", "--no-remove", "install", "linux-none"),
    ("apt-get", "-q", "frobnicate"),
    ("apt-cache", "depends", "linux-generic", "linux-image-generic"),
    ("apt-cache", "depends", "linux-none"),
    ("apt-cache", "pkgnames", "linux-image-4"),
    ("apt-cache", "frobnicate"),
    ("dpkg", "--audit"),
    ("dpkg", "--print-architecture"),
    ("dpkg", "--print-foreign-architectures"),
    ("dpkg-query", "-W", "-f", PACKAGE_FIELDS, "linux-*-[0-9]*.[0-9]*"),
    ("dpkg-query", "-W", "-f", "${Package} ${Status}\\n", "linux-*"),
]
LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/cache/apt/archives/lock")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(tmp_path_factory.mktemp("lab"), only=[HOST, "xenial-generic"]) as fleet:
        yield fleet


def ask(fleet: Fleet, line: str, host: str = HOST) -> Answer:
    done = fleet.run(host, f"LC_ALL=C; export LC_ALL; {line}")
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def quoted(words: t.Iterable[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


# --- apt and dpkg


@pytest.fixture
def real(lab: Fleet, tmp_path: Path) -> RealApt:
    """The packages of the host and of its archive, as real packages."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("real apt and dpkg with a root of their own need Debian or Ubuntu, and root")
    host = lab.hosts[HOST]
    packages = {name: each for name, each in archive(host).items() if name.startswith("linux-")}
    installed = {name: each for name, each in installed_packages(host).items() if name.startswith("linux-")}
    return RealApt(tmp_path, packages, installed)


def normalized(text: str) -> list[str]:
    """Return the lines in one order, without the name of the archive. apt breaks lists of names into lines.

    apt reports that it reads its own state only if it has any.
    """
    text = text.replace("Reading state information...\n", "")
    text = re.sub(r"\((\S+) [^()]*\[amd64\]\)", r"(\1 ARCHIVE)", text)
    return sorted(re.sub(r"\n  (?=linux-[^:\n]*$)", " ", text, flags=re.MULTILINE).splitlines())


def test_apt_and_dpkg_answer_questions_alike(lab: Fleet, real: RealApt) -> None:
    """In one test, because the packages are built once."""
    different = {}
    for words in APT_QUESTIONS:
        double, truth = ask(lab, quoted(words)), real.run(*words)
        answers = [(each.code, normalized(each.output), normalized(each.errors)) for each in (double, truth)]
        if answers[0] != answers[1]:
            different[words] = answers
    assert different == {}


def test_an_update_without_a_server_ends_alike(lab: Fleet, real: RealApt) -> None:
    lab.change(HOST, lambda now: with_apt(now, fault="fetch"))
    double = ask(lab, "apt-get -q update")
    lab.reset(HOST)
    real.set_source("http://127.0.0.1:1/ubuntu xenial main")
    truth = real.run("apt-get", "-q", "update")
    for answer in (double, truth):
        assert not apt.lists_are_refreshed(answer.output + answer.errors, answer.code)
    assert (double.code, double.errors.splitlines()[-1]) == (truth.code, truth.errors.splitlines()[-1])
    assert apt_failure(double.errors, double.code).id == apt_failure(truth.errors, truth.code).id


def test_real_failures_are_recognized(real: RealApt) -> None:
    """The texts of the apt of this machine. Those of other versions are in tests/unit/decisions."""
    install = ("apt-get", "-y", "-q", "--no-remove", "-o", "Dpkg::Use-Pty=0", "install")
    failures = {lock: real.run_locked(lock, *install, "linux-generic") for lock in LOCKS}
    failures |= {lock: real.run_locked(lock, "dpkg", "--configure", "-a") for lock in LOCKS[:2]}
    failures["lists"] = real.run_locked("var/lib/apt/lists/lock", "apt-get", "-q", "update")
    failures["unmet"] = real.run(*install, UNMET)
    failures["broken"] = real.run(*install, BROKEN)
    real.run("dpkg", "--purge", BROKEN)
    real.check("apt-mark", "hold", "linux-image-generic")
    failures["held"] = real.run("apt-get", "-y", "-q", "install", "linux-generic", "linux-image-generic")
    (real.root / "var/lib/dpkg/updates/0001").write_text("Package: linux-generic\n", encoding="ascii")
    failures["interrupted"] = real.run(*install, "linux-generic")
    found = {name: apt_failure(each.output + each.errors, each.code).id for name, each in failures.items()}
    expected = {**dict.fromkeys((*LOCKS, "lists"), "apt_locked"), "unmet": "impossible_request"}
    expected |= {"broken": "dpkg_failed", "held": "packages_held", "interrupted": "dpkg_interrupted"}
    assert found == expected, failures


# --- programs of the system


@pytest.mark.parametrize(
    "words",
    [
        *(f"uname {option}" for option in ("", "-r", "-m", "-v", "-a", "-srm", "--kernel-release", "-p", "-X", "word")),
        *("getconf LONG_BIT", "getconf NOTHING"),
        "df -Pk /boot",
        *(
            "systemd-detect-virt",
            "systemd-detect-virt --container",
            "systemd-detect-virt -q",
            "systemd-detect-virt --x",
        ),
        "journalctl -q --no-pager -o cat -n 5 -u no-such.service",
    ],
)
def test_programs_of_the_system_answer_alike(lab: Fleet, words: str) -> None:
    """With the same form and the same streams: values are those of the host. A failure has the same code."""
    if shutil.which(words.split(maxsplit=1)[0], path=SYSTEM_PATH) is None:
        pytest.skip(f"this machine has no {words.split(maxsplit=1)[0]}")
    environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}
    done = subprocess.run(["sh", "-c", words], env=environment, capture_output=True, text=True, check=False)
    double = ask(lab, words)
    if "detect-virt" in words and "--x" not in words:
        # The code depends on the answer.
        for code, output in ((done.returncode, done.stdout), (double.code, double.output)):
            assert (code == 0) == (output != "none\n"), words
        return
    assert double.code == done.returncode, (double, done)
    assert [bool(double.output), bool(double.errors)] == [bool(done.stdout), bool(done.stderr)], (double, done)
    shapes = [re.sub(r"\S+", "x", text) for text in (double.output, done.stdout)]
    if not words.startswith(("uname -a", "uname -v", "df")):
        assert shapes[0] == shapes[1], (double, done)
    if words.startswith("df"):
        titles, *rows = (line.split() for line in double.output.splitlines())
        assert titles == done.stdout.splitlines()[0].split()
        assert [len(row) for row in rows] == [6]


def test_mokutil_without_secure_boot_answers_alike(lab: Fleet) -> None:
    if shutil.which("mokutil") is None or Path("/sys/firmware/efi").exists():
        pytest.skip("needs mokutil on a machine without EFI")
    for words in ("mokutil --sb-state", "mokutil --list-enrolled"):
        done = subprocess.run(words.split(), capture_output=True, text=True, check=False)
        assert ask(lab, words) == (done.returncode, done.stdout, done.stderr)


def test_grub_reboot_writes_the_same_block(lab: Fleet, tmp_path: Path) -> None:
    if shutil.which("grub-reboot", path=SYSTEM_PATH) is None:
        pytest.skip("this machine has no grub-reboot")
    entry = "gnulinux-advanced-x>gnulinux-4.4.0-261-generic-advanced-x"
    environment = {"PATH": SYSTEM_PATH}
    (tmp_path / "grub").mkdir()
    block = tmp_path / "grub/grubenv"
    subprocess.run(["grub-editenv", str(block), "create"], env=environment, check=True)
    subprocess.run(["grub-reboot", f"--boot-directory={tmp_path}", entry], env=environment, check=True)
    assert ask(lab, f"grub-reboot '{entry}'").code == 0
    double = (lab.root(HOST) / "boot/grub/grubenv").read_bytes()
    lab.reset(HOST)
    truth = block.read_bytes()
    assert len(double) == len(truth) == 1024
    settings = [[line for line in each.decode().splitlines() if "=" in line] for each in (double, truth)]
    assert settings[0] == settings[1] == [f"next_entry={entry}"]


# --- files of the kernel

FORMS = {
    "proc/uptime": r"\d+\.\d\d \d+\.\d\d\n",
    "proc/sys/kernel/osrelease": r"\S+\n",
    "proc/sys/kernel/version": r"#\S.*\n",
    "proc/sys/kernel/hostname": r"\S+\n",
    "proc/sys/kernel/random/boot_id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n",
    "proc/cmdline": r".*\n",
    "proc/keys": r"([0-9a-f]{8} [A-Za-z-]{7} +\d+ +\S+ [0-9a-f]{8} +\d+ +\d+ \S+ +.*\n)*",
    "proc/stat": r"cpu +\d[^\0]*\nbtime \d+\nprocesses \d+\n[^\0]*",
    "proc/self/status": r"Name:\t\S+\nUmask:\t\d{4}\n[^\0]*Uid:\t\d+\t\d+\t\d+\t\d+\n?[^\0]*",
    "proc/1/cgroup": r"(\d+:[^:\n]*:/.*\n)+",
}


@pytest.mark.parametrize("path", FORMS)
def test_files_of_the_kernel_have_their_form(lab: Fleet, path: str) -> None:
    """The file of a host of the lab, and that of the kernel of this machine."""
    double = ask(lab, f"cat /{path}").output
    assert re.fullmatch(FORMS[path], double), double
    if os.access(f"/{path}", os.R_OK):
        truth = Path(f"/{path}").read_text(encoding="utf-8", errors="replace")
        assert re.fullmatch(FORMS[path], truth), truth


# --- other implementations of the tools


KEPT = ("sh", "bash")


def applets(program: str) -> set[str]:
    """Return the tools in one program: busybox lists them alone, uutils in a text."""
    options = ["--list"] if program.endswith("busybox") else []
    listed = subprocess.run([program, *options], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"[a-z0-9\[]+", listed.rpartition("functions:")[2]))


def replace_tools(commands: Path, folder: Path, program: str) -> int:
    """Copy the commands of a host, with those of another program where it has them. Return their number."""
    shutil.copytree(commands, folder)
    shutil.copy(program, folder / ".tools")
    own = {path.name for path in folder.iterdir() if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"}
    replaced = (own & applets(program)) - {*KEPT}
    for name in replaced:
        (folder / name).unlink()
        (folder / name).symlink_to(".tools")
    return len(replaced)


def sections(fleet: Fleet, words: list[str], *, upgrade: bool) -> dict[str, str]:
    """Run a script of the collection, and return its sections without the time."""
    variables = {"server": fleet.server, "network": "1", "verify": "auto", "certificate": "1", "task": "look"}
    parts = ("probe", "kernel_upgrade") if upgrade else ("probe",)
    script = compose(parts, NONCE, {**variables, "lock_wait": "1"})
    environment = {"PATH": SYSTEM_PATH}
    done = subprocess.run(
        [*words, "/bin/sh", "-s"], input=script, env=environment, capture_output=True, text=True, check=False
    )
    found = dict(re.findall(rf"\n@{NONCE} section ([^\n]+)\n(.*?)\n@{NONCE} end", done.stdout, re.DOTALL))
    return {name: text for name, text in found.items() if name != "clock"}


@pytest.mark.parametrize("program", ["busybox", "coreutils"])
def test_scripts_get_equal_facts_from_other_tools(lab: Fleet, tmp_path: Path, program: str) -> None:
    """From those of busybox, and from those of uutils, which Ubuntu has since 25.10."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"this machine has no {program}")
    for host, upgrade in (("xenial-generic", False), (HOST, True)):
        if not upgrade:
            module_files.put(lab, host, module_files.loaded(lab, host).file())
        words = json.loads((lab.root(host).parent / "session.json").read_text("utf-8"))["command"]
        place = words.index("/usr/bin") - 1
        assert replace_tools(Path(words[place]), tmp_path / host, found) > 30
        usual = sections(lab, words, upgrade=upgrade)
        assert len(usual) > 10
        words[place] = str(tmp_path / host)
        assert sections(lab, words, upgrade=upgrade) == usual
