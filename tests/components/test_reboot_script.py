# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The timer that starts drained containers without a controller, and the order to reboot, in all shells.

Commands that change the machine, and those of container runtimes, are replaced by doubles in a folder on PATH.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import subprocess
from pathlib import Path

from ansible_collections.kernelops.livepatch.plugins.module_utils._host.sections import Sections, parse
from tests.integration.shells import SHELLS, each_shell

NONCE = "0123456789abcdef0123456789abcdef"
SCRIPTS = Path(__file__).parents[2] / "plugins" / "plugin_utils" / "shell"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VARIABLES = {
    "nonce": NONCE,
    "within": "60",
    "restore_after": "300",
    "timer": "1.2.stopped",
    "later": "echo later",
    "delay": "0",
    "docker": "stop",
    "podman": "ignore",
    "lxd": "ignore",
    "message": "",
    "boot_entry": "",
    "kernel": "",
    "boot_id": "another boot",
}
DOCKER = """\
#!/bin/sh
case $1 in
--version) echo 'Docker version 27.3.1, build ce12230' ;;
ps) [ ! -e FOLDER/running ] || echo c1 ;;
inspect) echo '2026-01-12T08:00:00.5Z c1 false false false - / / / /registry' ;;
start) : >FOLDER/running ;;
stop) rm -f FOLDER/running ;;
esac
"""


@dataclasses.dataclass
class Machine:
    """A machine with one container, whose state folder is that of a drained host."""

    folder: Path
    shell: str

    def __post_init__(self) -> None:
        self.command("docker", DOCKER.replace("FOLDER", str(self.folder)))
        self.command("setsid", "#!/bin/sh\n")
        # The data of this machine is not written.
        self.command("sync", "#!/bin/sh\n")
        self.state.mkdir()
        (self.state / "boot_id").write_bytes(BOOT_ID.read_bytes())
        (self.state / "containers").write_text("docker c1 registry\n", encoding="ascii")
        self.arm("1.2.stopped")

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def runs(self) -> bool:
        """Whether the container runs."""
        return (self.folder / "running").exists()

    def arm(self, name: str) -> None:
        (self.state / "timer").write_text(f"{name}\n", encoding="ascii")

    def command(self, name: str, text: str) -> None:
        program = self.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text, encoding="ascii")
        program.chmod(0o755)

    def run(self, **variables: str) -> str:
        """Run the script and return its output."""
        given = {**VARIABLES, **variables}
        library, part = ((SCRIPTS / f"{name}.sh").read_text("utf-8") for name in ("sections", "kernel_reboot"))
        part = part.replace("/var/lib/kernelops-livepatch/kernel_reboot", str(self.state))
        part = part.replace("/run/kernelops-livepatch", str(self.folder / "lock"))
        for path in ("/var/lib/dpkg/", "/boot/", "/lib/modules/"):
            part = part.replace(path, f"{self.folder}{path}")
        head = "".join(f"lp_{name}='{value}'\n" for name, value in given.items())
        script = f"PATH={self.folder}/bin:$PATH\n{head}{library}\n{part}\nrun 100000 100000\n"
        command = [*SHELLS[self.shell].split(), "-s"]
        return subprocess.run(command, input=script, capture_output=True, text=True, check=True, timeout=120).stdout


@each_shell
def test_the_timer_starts_containers(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell)
    machine.run(task="timer", restore_after="0", post_1=f"echo done >{tmp_path}/after")
    assert machine.runs
    assert (tmp_path / "after").read_text("ascii") == "done\n"
    assert not machine.state.exists()


@each_shell
def test_only_the_last_timer_in_the_same_boot_counts(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell)
    machine.arm("3.4.stopped")
    machine.run(task="timer", restore_after="0")
    assert not machine.runs
    machine.arm("1.2.stopped")
    (machine.state / "boot_id").write_text("another boot\n", encoding="ascii")
    machine.run(task="timer", restore_after="0")
    assert (machine.runs, machine.state.exists()) == (False, True)


@each_shell
def test_a_machine_that_goes_down_starts_nothing(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell)
    machine.command("systemctl", "#!/bin/sh\necho stopping\nexit 1\n")
    machine.run(task="timer", restore_after="0")
    assert (machine.runs, machine.state.exists()) == (False, True)


@each_shell
def test_containers_that_do_not_start_keep_their_state(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell)
    machine.command("docker", "#!/bin/sh\nexit 1\n")
    machine.run(task="timer", restore_after="0", within="1")
    assert (machine.state / "containers").read_text("ascii") == "docker c1 registry\n"
    # A controller that comes back must not reboot the host now.
    assert not (machine.state / "timer").exists()


class DetachingMachine(Machine):
    """A machine that tells which scripts it has detached. No script waits for those, so a test has to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        os.mkfifo(self.folder / "detached")
        self.command("setsid", f'#!/bin/sh\nprintf "%s\\n" "$2" >{self.folder}/detached\n')

    def detached(self, count: int) -> dict[str, Path]:
        """Wait for this many detached scripts, and return them by the phase that is their suffix."""
        # Opened for writing too, a pipe does not end between two writers.
        with open(os.open(self.folder / "detached", os.O_RDWR), "rb") as pipe:
            lines = subprocess.run(["head", "-n", str(count)], stdin=pipe, capture_output=True, check=True, timeout=60)
        paths = [Path(line) for line in lines.stdout.decode("ascii").splitlines()]
        return {path.suffix: path for path in paths}


@each_shell
def test_a_drain_arms_a_timer_and_a_reboot_the_next(shell: str, tmp_path: Path) -> None:
    machine = DetachingMachine(tmp_path, shell)
    (tmp_path / "running").touch()
    output = machine.run(task="drain")
    assert f"@{NONCE} end stop ok 0" in output
    assert not machine.runs
    scripts = machine.detached(2)
    assert set(scripts) == {".stopping", ".stopped"}
    last = scripts[".stopped"]
    assert (machine.state / "timer").read_text("ascii").strip() == last.name.removeprefix("timer.")
    assert last.read_text("ascii") == f"lp_timer={last.name.removeprefix('timer.')}\necho later"
    assert last.stat().st_mode & 0o077 == 0

    output = machine.run(task="reboot")
    assert f"@{NONCE} end drained ok 0" in output
    assert f"@{NONCE} section down\nanother boot\n" in output
    assert (machine.state / "timer").read_text("ascii").endswith(".rebooting\n")
    assert set(machine.detached(1)) == {".rebooting"}


@each_shell
def test_a_host_that_restored_itself_is_not_rebooted(shell: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, shell)
    (machine.state / "timer").unlink()
    output = machine.run(task="reboot")
    assert f"@{NONCE} end drained ok 1" in output
    assert "section down" not in output
    assert f"@{NONCE} section down" in machine.run(task="reboot", restore_after="0"), "without a timer"


# --- a disk or a mount that does not answer ---


class RebootingMachine(Machine):
    """A machine whose `sync` waits until `answer`, and whose reboot is a line of `events`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mount", "rebooted"):
            os.mkfifo(self.folder / name)
        self.command("sync", f"#!/bin/sh\nread -r line <{self.folder}/mount\necho written >>{self.folder}/events\n")
        self.command("setsid", '#!/bin/sh\nexec "$@"\n')
        self.command("systemctl", f"#!/bin/sh\necho rebooted >>{self.folder}/events\n: >{self.folder}/rebooted\n")
        for name in ("shutdown", "reboot"):
            self.command(name, "#!/bin/sh\n")

    @property
    def events(self) -> list[str]:
        return (self.folder / "events").read_text("ascii").split()

    def answer(self) -> None:
        """Let the started `sync` end."""
        subprocess.run(["sh", "-c", f"echo >{self.folder}/mount"], check=True, timeout=60)

    def wait_for_reboot(self) -> None:
        subprocess.run(["cat", self.folder / "rebooted"], check=True, timeout=60)


@each_shell
def test_a_reboot_waits_until_data_is_written(shell: str, tmp_path: Path) -> None:
    machine = RebootingMachine(tmp_path, shell)
    machine.run(task="reboot", restore_after="0", boot_id=BOOT_ID.read_text("ascii").strip())
    machine.answer()
    machine.wait_for_reboot()
    assert machine.events == ["written", "rebooted"]


@each_shell
def test_a_dead_mount_does_not_prevent_a_reboot(shell: str, tmp_path: Path) -> None:
    machine = RebootingMachine(tmp_path, shell)
    machine.command("sleep", "#!/bin/sh\n")
    machine.run(task="reboot", restore_after="0", boot_id=BOOT_ID.read_text("ascii").strip())
    machine.wait_for_reboot()
    assert machine.events == ["rebooted"]
    machine.answer()


@each_shell
def test_a_dead_mount_does_not_prevent_a_drain(shell: str, tmp_path: Path) -> None:
    machine = RebootingMachine(tmp_path, shell)
    (tmp_path / "running").touch()
    machine.command("sleep", "#!/bin/sh\n")
    output = machine.run(task="drain", restore_after="0")
    assert f"@{NONCE} end note ok 0" in output
    assert not machine.runs
    machine.answer()


# --- what a reboot would interrupt, and a kernel that cannot start ---

RUNNING, INTENDED = "5.4.0-42-generic", "5.4.0-216-generic"
TABLE = """\
unattended-upgr 0 root 811 unattended-upgr shutdown Stop ongoing upgrades or perform upgrades delay
NetworkManager  0 root 700 NetworkManager  sleep    NetworkManager blocks shutdown delay
"""
FWUPD = "fwupd           0 root 900 fwupd           sleep:shutdown Firmware update in progress block\n"
LINES = "     Who: {} (UID 0/root, PID 900/x)\n    What: {}\n     Why: Firmware: an update\n    Mode: {}\n\n"


class ReadyMachine(Machine):
    """A machine with the files of two kernels, and no program that a reboot would interrupt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.command("uname", f"#!/bin/sh\necho {RUNNING}\n")
        self.command("sleep", "#!/bin/sh\n")
        for release in (RUNNING, INTENDED):
            for path in (f"boot/vmlinuz-{release}", f"boot/initrd.img-{release}", f"lib/modules/{release}/modules.dep"):
                self.file(path).write_text("content", encoding="ascii")
        (self.folder / "running").touch()

    def file(self, path: str) -> Path:
        """A file of the machine, whose folder exists."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def inhibitors(self, text: str) -> None:
        self.command("systemd-inhibit", f"#!/bin/sh\ncat <<'END'\n{text}END\n")

    def drain(self) -> Sections:
        return parse(self.run(task="drain", kernel=INTENDED, within="0", restore_after="0"), "", NONCE)


@each_shell
def test_a_machine_without_obstacles_is_drained(shell: str, tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, shell)
    machine.inhibitors(TABLE + LINES.format("u", "shutdown", "delay") + LINES.format("gdm", "sleep:idle", "block"))
    machine.file("var/lib/dpkg/lock-frontend").touch()
    sections = machine.drain()
    assert (sections["missing_files"].exit_code, sections["obstacles"].exit_code) == (0, 0)
    assert not machine.runs


@each_shell
def test_a_kernel_that_was_removed_prevents_the_drain(shell: str, tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, shell)
    machine.file(f"boot/initrd.img-{INTENDED}").write_bytes(b"")
    machine.file(f"lib/modules/{INTENDED}/modules.dep").unlink()
    section = machine.drain()["missing_files"]
    assert section.exit_code != 0
    assert section.output.replace(str(tmp_path), "").split() == [
        f"/boot/initrd.img-{INTENDED}",
        f"/lib/modules/{INTENDED}/modules.dep",
    ]
    assert machine.runs


def test_a_machine_without_ramdisks_needs_none(tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, "dash")
    for release in (RUNNING, INTENDED):
        machine.file(f"boot/initrd.img-{release}").unlink()
        machine.file(f"boot/vmlinuz-{release}").rename(machine.folder / f"boot/vmlinux-{release}")
    assert machine.drain()["missing_files"].exit_code == 0
    assert not machine.runs


@each_shell
def test_a_run_of_dpkg_is_not_interrupted(shell: str, tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, shell)
    with machine.file("var/lib/dpkg/lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        sections = machine.drain()
        assert (sections["obstacles"].exit_code, sections["obstacles"].output.strip()) == (1, f"dpkg {os.getpid()}")
        assert machine.runs
        output = machine.run(task="reboot", kernel=INTENDED, within="0", boot_id=BOOT_ID.read_text("ascii").strip())
        assert "section down" not in output
    assert machine.drain()["obstacles"].exit_code == 0


@each_shell
def test_a_blocked_shutdown_prevents_the_drain(shell: str, tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, shell)
    machine.inhibitors(TABLE + FWUPD + LINES.format("apt", "sleep:shutdown:idle", "block"))
    sections = machine.drain()
    lines = sections["obstacles"].output.split("\n")
    assert (sections["obstacles"].exit_code, lines[:2]) == (1, ["inhibitor fwupd", "inhibitor apt"])
    assert machine.runs


# --- the boot loader ---


@each_shell
def test_the_boot_loader_names_itself(shell: str, tmp_path: Path) -> None:
    machine = ReadyMachine(tmp_path, shell)
    variable = "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    machine.file(variable).write_bytes(b"\6\0\0\0" + "systemd-boot 255.4\0".encode("utf-16-le"))
    machine.file("sys/kernel/kexec_loaded").write_text("1\n", encoding="ascii")
    library, part = ((SCRIPTS / f"{name}.sh").read_text("utf-8") for name in ("sections", "kernel_reboot"))
    part = part.replace(" /sys/", f" {tmp_path}/sys/").replace("=/sys/", f"={tmp_path}/sys/")
    script = f"lp_nonce={NONCE}\n{library}\n{part}\nboot_loader_places\n"
    script = script.replace("print_access /boot/grub/grub.cfg\n", "")
    command = [*SHELLS[shell].split(), "-s"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[:2] == ["loader systemd-boot 255.4", "kexec loaded"]
