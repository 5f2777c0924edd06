# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The one error that ends a task, and the one way in which it becomes a failed result."""

from __future__ import annotations

import importlib
import typing as t

_LIBRARY_PACKAGES = {"psycopg": "psycopg[binary]", "yaml": "PyYAML"}


class LivepatchError(Exception):
    """A failure that an operator can act on.

    `id` names the cause in lower_snake_case, and `docs/guide/troubleshooting.md` lists it. `message` is one sentence:
    what failed, on what, and why. `remedy` is an imperative sentence, or None where nothing but the message helps.
    `details` become further keys of the failed result.
    """

    def __init__(self, cause: str, message: str, remedy: str | None = None, **details: t.Any) -> None:
        super().__init__(message)
        self.id = cause
        self.message = message
        self.remedy = remedy
        self.details = details

    def __reduce__(self) -> tuple[t.Any, ...]:
        """Let the error travel between processes: by default, only the message would."""
        return _rebuild, (type(self), self.message, self.__dict__)

    def with_details(self, **details: t.Any) -> LivepatchError:
        """Add keys to the failed result and return the error itself."""
        self.details = {**details, **self.details}
        return self

    def as_result(self) -> dict[str, t.Any]:
        """Return the keys of a failed result: ``msg`` (message and remedy), ``error_id``, ``remedy``, the details."""
        parts = [self.message, self.remedy] if self.remedy else [self.message]
        text = " ".join(sentence(part) for part in parts).replace("\n ", "\n")
        return {"msg": text, "error_id": self.id, "remedy": self.remedy, **self.details}


def _rebuild(kind: type[LivepatchError], message: str, state: dict[str, t.Any]) -> LivepatchError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


def sentence(text: str) -> str:
    """Return text as a sentence: it begins with a capital letter and ends with a full stop, or with a line end."""
    first = text[:1].upper() + text[1:]
    return first if first.endswith((".", "!", "?", "\n")) else f"{first}."


def require(module: str, purpose: str, *, minimum: int | None = None) -> t.Any:
    """Import an optional third-party module.

    Raises `LivepatchError` (``library_missing``) with the command that installs it. `purpose` completes the sentence
    "... needs the Python library X". `minimum` is the oldest major version that will do.
    """
    name = module.partition(".")[0]
    try:
        version = str(getattr(importlib.import_module(name), "__version__", ""))
        imported = importlib.import_module(module)
    except ImportError as error:
        raise _library_missing(name, purpose, minimum, "which this Python does not have") from error
    if minimum is not None and int(version.partition(".")[0]) < minimum:
        raise _library_missing(name, purpose, minimum, f"and this Python has {version}")
    return imported


def _library_missing(name: str, purpose: str, minimum: int | None, fault: str) -> LivepatchError:
    package = _LIBRARY_PACKAGES.get(name, name)
    wanted = package if minimum is None else f"{package} {minimum} or newer"
    requirement = package if minimum is None else f"'{package}>={minimum}'"
    return LivepatchError(
        "library_missing",
        f"{purpose} needs the Python library {wanted}, {fault}",
        f"install it for the Python that runs this: python3 -m pip install {requirement}",
    )
