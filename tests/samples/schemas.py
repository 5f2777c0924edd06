# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The published JSON Schemas, as validators."""

from __future__ import annotations

import functools
import json
import typing as t
from pathlib import Path

import jsonschema

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schema"


@functools.cache
def validator(name: str) -> t.Any:
    """Return the validator of ``record-1`` or ``attempt-1``."""
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check_document(document: t.Any) -> None:
    """Fail if a record or a note of a failed attempt does not match its schema."""
    validator("attempt-1" if document.get("schema") == "kernelops.livepatch/attempt/1" else "record-1").validate(
        document
    )
