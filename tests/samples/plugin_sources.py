# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""The Python code of the plugins as syntax trees, for tests of rules that apply to all of it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@functools.cache
def syntax_trees() -> dict[Path, ast.Module]:
    """Return the syntax tree of each file, in the order of the paths. Tests share the trees and never change them."""
    return {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in sorted(PLUGINS.rglob("*.py"))}


@functools.cache
def nodes() -> dict[Path, tuple[ast.AST, ...]]:
    """Return all nodes of each syntax tree, in the order of `ast.walk`."""
    return {path: tuple(ast.walk(tree)) for path, tree in syntax_trees().items()}
