# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Determine which kernel the boot loader of a host starts next.

GRUB executes ``grub.cfg``, which ``grub-mkconfig`` writes: a header that sets ``default``, then the menu. `default` is
the index, the identifier or the title of an entry, and ``>`` separates a submenu from its entry (GRUB manual,
"default"). The header takes it from the environment block ``grubenv``, where ``grub-reboot`` stores ``next_entry`` for
one boot, and ``grub-set-default`` stores ``saved_entry``. Without a known entry, GRUB starts the first one.
`grub-mkconfig` sorts kernels by version, so that this is the newest kernel, of any builder.

Without ``grub.cfg``, the link ``/vmlinuz`` counts, which other boot loaders use. Neither counts on a host that
systemd-boot has started, whose files GRUB may have left there. The functions never raise.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
import typing as t

from .sections import Sections

Cause = t.Literal["next_entry", "saved_entry", "default", "order", "link", "kexec"]

_LINES_LIMIT = 20_000
_LINE_LIMIT = 1024
_DEPTH_LIMIT = 4
_MENU = re.compile(r"\s*(?P<kind>menuentry|submenu)\s")
_LINUX = re.compile(r"\s*(?:linux(?:16|efi)?|module2?)\s+(?P<path>\S+)")
_DEFAULT = re.compile(r"\s*(?:set\s+)?default=(?P<value>.*)")
_ANY_DEFAULT = re.compile(r"\bdefault=")
_IMAGE = re.compile(r"(?:.*/)?vmlinu[xz]-(?P<release>[0-9][0-9A-Za-z.+~_-]{0,63}?)(?:\.efi\.signed)?[\"']?")
_LINKED_IMAGE = re.compile(r"(?:.*/)?vmlinu[xz][\"']?")
_ENVIRONMENT_LINE = re.compile(r"(?P<key>[A-Za-z_]{1,64})=(?P<value>.{0,512})")
_INDEX = re.compile(r"\s*(?:0[xX](?P<hex>[0-9A-Fa-f]{1,6})|(?P<octal>0[0-7]{0,6})|(?P<decimal>[1-9][0-9]{0,6}))")
_BLOCK, _BLOCK_FILLER = "# GRUB Environment Block\n", "#"
_RECOVERY = re.compile(r"recovery", re.IGNORECASE)


@dataclasses.dataclass
class MenuEntry:
    """An entry of GRUB's menu, or a submenu with `children`. `release` is the kernel that the entry starts."""

    title: str
    id: str | None = None
    release: str | None = None
    children: list[MenuEntry] | None = None

    @property
    def reference(self) -> str:
        """The identifier or the title by which `default` can name the entry."""
        return self.id or self.title.replace(">", ">>")

    @property
    def is_recovery(self) -> bool:
        """True for an entry of the recovery mode."""
        return _RECOVERY.search(f"{self.title} {self.id}") is not None


@dataclasses.dataclass(frozen=True, slots=True)
class BootChoice:
    """The kernel that the boot loader starts next.

    `release` is None if it is not known, or if the chosen `entry` starts no Linux kernel, or one in recovery mode.
    `cause` says what selects the entry; None if this could not be determined, with the reason in `problem`. `menu` has
    the references of the entries for each kernel, for GRUB only. `broken` is true for a configuration that ends within
    an entry, as after a full disk: GRUB would not start any kernel with it.
    """

    release: str | None
    entry: str | None = None
    cause: Cause | None = None
    problem: str | None = None
    menu: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    broken: bool = False


def read_boot_choice(sections: Sections) -> BootChoice:
    """Parse the sections ``boot_loader``, ``grub_cfg`` and ``grub_env``."""
    places = [line.split(maxsplit=2) for line in _text(sections, "boot_loader").splitlines()]
    if ["kexec", "loaded"] in places:
        return BootChoice(None, cause="kexec")
    loader = next((" ".join(words[1:]) for words in places if words[:1] == ["loader"] and words[1:]), "")
    if loader and not loader.startswith("GRUB"):
        return BootChoice(None, problem=f"{loader} has started this host, and its configuration is not read")
    links = [words[2] for words in places if len(words) == 3 and words[0] == "link"]
    linked = next(filter(None, map(_release_of, links)), None)
    config = sections.get("grub_cfg")
    if ["ok", "/boot/grub/grub.cfg"] in places and config is not None:
        if config.cut or config.status != "ok":
            return BootChoice(None, problem="/boot/grub/grub.cfg could not be read completely")
        return choose_entry(config.output, _text(sections, "grub_env"), linked)
    if ["denied", "/boot/grub/grub.cfg"] in places:
        return BootChoice(None, problem="/boot/grub/grub.cfg could not be read")
    if linked is not None:
        return BootChoice(linked, cause="link")
    return BootChoice(None, problem="there is neither /boot/grub/grub.cfg nor a link /vmlinuz")


def _text(sections: Sections, name: str) -> str:
    section = sections.get(name)
    return section.output if section is not None else ""


def choose_entry(config: str, environment: str, linked: str | None = None) -> BootChoice:
    """Return the choice of GRUB by its configuration and environment block.

    `linked` is the kernel to which ``/boot/vmlinuz`` leads, for entries that start this link.
    """
    lines = config.splitlines()
    if len(lines) > _LINES_LIMIT:
        return BootChoice(None, problem="/boot/grub/grub.cfg is too long")
    reader = _Configuration(linked)
    for line in lines:
        reader.read(line[:_LINE_LIMIT])
    menu = _menu(reader.entries)
    if reader.is_open:
        return BootChoice(None, problem="/boot/grub/grub.cfg is incomplete", broken=True)
    if not reader.entries:
        return BootChoice(None, problem="/boot/grub/grub.cfg has no menu")
    if reader.conditional:
        return BootChoice(None, problem="/boot/grub/grub.cfg sets its default by a condition", menu=menu)
    cause, wanted = reader.default(_environment(environment))
    if wanted is None:
        return BootChoice(None, problem="/boot/grub/grub.cfg sets its default from a variable", menu=menu)
    entry = _find(reader.entries, wanted)
    if entry is None or (wanted.strip() == "0" and cause != "next_entry"):
        cause = "order"
    entry = _first_leaf(entry or reader.entries[0])
    # A host in recovery mode waits at its console: it does not run the kernel as intended.
    return BootChoice(None if entry.is_recovery else entry.release, entry.title, cause, menu=menu)


class _Configuration:
    """The menu and the assignments to `default` of a configuration, collected line by line."""

    def __init__(self, linked: str | None) -> None:
        self._linked = linked
        self._open: list[MenuEntry | None] = []
        self._conditions = 0
        self._header: int | None = None
        self._uses_next_entry = False
        self._default = "0"
        self.entries: list[MenuEntry] = []
        self.conditional = False

    def read(self, line: str) -> None:
        text = line.strip()
        if not text or text.startswith("#"):
            return
        if _MENU.match(line):
            self._begin_entry(text)
            return
        linux = _LINUX.match(line)
        if linux and self._open and self._open[-1] is not None and self._open[-1].release is None:
            self._open[-1].release = _release_of(linux["path"]) or self._release_of_link(linux["path"])
        elif text.startswith("}"):
            self._open[-1:] = []
        elif text.endswith("{"):
            self._open.append(None)
        elif not self._open:
            self._read_command(text)

    @property
    def is_open(self) -> bool:
        """True if the configuration ends within an entry or another block."""
        return bool(self._open)

    def default(self, environment: dict[str, str]) -> tuple[Cause, str | None]:
        """Return what selects the entry, and its reference; None for a reference that is not known."""
        if self._uses_next_entry and environment.get("next_entry"):
            return "next_entry", environment["next_entry"]
        if self._default.strip("${}") == "saved_entry":
            return "saved_entry", environment.get("saved_entry") or "0"
        return "default", None if "$" in self._default else self._default

    def _release_of_link(self, path: str) -> str | None:
        return self._linked if _LINKED_IMAGE.fullmatch(path) else None

    def _begin_entry(self, text: str) -> None:
        submenu = text.startswith("submenu")
        entry = _parse_entry(text)
        entry.children = [] if submenu else None
        parents = (each.children for each in reversed(self._open) if each is not None)
        siblings = next((children for children in parents if children is not None), None)
        (self.entries if siblings is None else siblings).append(entry)
        if not text.endswith("}"):
            self._open.append(entry)

    def _read_command(self, text: str) -> None:
        """Read a command outside of the menu: a condition, or an assignment to `default`."""
        word = text.split(maxsplit=1)[0].rstrip(";")
        if word == "if":
            self._conditions += 1
            self.conditional |= bool(_ANY_DEFAULT.search(text))
            if text.endswith("fi"):
                self._conditions -= 1
        elif word == "fi":
            self._conditions -= 1
            if self._header is not None and self._conditions < self._header:
                self._header = None
        match = _DEFAULT.fullmatch(text)
        if match is not None:
            self._assign(_unquote(match["value"]))

    def _assign(self, value: str) -> None:
        if value.strip("${}") == "next_entry":
            self._uses_next_entry, self._header = True, self._conditions
        elif self._conditions == 0:
            # The last assignment without a condition replaces those of the header.
            self._default, self._uses_next_entry, self.conditional = value, False, False
        elif self._header == self._conditions:
            self._default = value
        else:
            self.conditional = True


def _parse_entry(text: str) -> MenuEntry:
    """Parse the first line of a menu entry: its title, and the identifier after ``--id`` or its variable."""
    try:
        words = shlex.split(text.removesuffix("}").rstrip().removesuffix("{"))
    except ValueError:
        return MenuEntry(text)
    found = None
    for option, value in itertools.pairwise(words):
        if option in ("--id", "$menuentry_id_option", "${menuentry_id_option}"):
            found = value
    found = next((word.removeprefix("--id=") for word in words if word.startswith("--id=")), found)
    return MenuEntry(words[1] if len(words) > 1 else text, found)


def _unquote(value: str) -> str:
    try:
        words = shlex.split(value.rstrip().rstrip(";"))
    except ValueError:
        return "$"
    return words[0] if words else "0"


def _environment(text: str) -> dict[str, str]:
    """Parse the environment block, or the output of ``grub-editenv list``. GRUB ignores a block without its head."""
    if _BLOCK_FILLER in text and not text.startswith(_BLOCK):
        return {}
    matches = map(_ENVIRONMENT_LINE.fullmatch, text.splitlines()[:200])
    return {match["key"]: match["value"].strip() for match in matches if match is not None}


def _release_of(path: str) -> str | None:
    match = _IMAGE.fullmatch(path)
    return match["release"] if match else None


def _find(entries: list[MenuEntry], reference: str, depth: int = 0) -> MenuEntry | None:
    """Return the entry that a reference names; None if the menu does not have it."""
    own, separator, rest = re.sub(">>", "\0", reference).partition(">")
    own = own.replace("\0", ">")
    entry = next((each for each in entries if own in (each.title, each.id)), None)
    number = None if entry is not None else _index_of(own)
    if number is not None and number < len(entries):
        entry = entries[number]
    if entry is None or not separator or depth >= _DEPTH_LIMIT or not entry.children:
        return entry
    return _find(entry.children, rest.replace("\0", ">>"), depth + 1) or entry


def _index_of(text: str) -> int | None:
    """Return the number with which a text begins, as in C (``strtoul`` with base 0); None for another text."""
    match = _INDEX.match(text)
    if match is None:
        return None
    return next(
        int(digits, base)
        for digits, base in ((match["hex"], 16), (match["octal"], 8), (match["decimal"], 10))
        if digits is not None
    )


def _first_leaf(entry: MenuEntry) -> MenuEntry:
    for _level in range(_DEPTH_LIMIT):
        if not entry.children:
            break
        entry = entry.children[0]
    return entry


def _menu(entries: list[MenuEntry], before: str = "", depth: int = 0) -> dict[str, str]:
    """Return the reference of an entry for each kernel. Entries in a submenu are preferred: they name a kernel."""
    menu: dict[str, str] = {}
    nested: dict[str, str] = {}
    for entry in entries:
        if entry.children is not None:
            if depth < _DEPTH_LIMIT:
                nested = {**_menu(entry.children, f"{before}{entry.reference}>", depth + 1), **nested}
        elif entry.release is not None and not entry.is_recovery:
            menu.setdefault(entry.release, before + entry.reference)
    return {**menu, **nested}
