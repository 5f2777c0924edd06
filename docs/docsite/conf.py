# SPDX-License-Identifier: GPL-3.0-or-later
# SPDX-FileCopyrightText: The kernelops.livepatch contributors
"""Settings of the documentation site. tests/tools/docsite.py builds it."""

from __future__ import annotations

import typing as t

from docutils import nodes

project = "kernelops.livepatch"
author = "The kernelops.livepatch contributors"
project_copyright = author
title = html_short_title = "kernelops.livepatch"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
myst_heading_anchors = 4
default_role = "any"
highlight_language = "YAML+Jinja"
pygments_style = "ansible"
exclude_patterns = ["docsite"]

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_copy_source = False
html_use_index = False

# Targets in Ansible's own documentation. The site is built without a network, so the URLs are listed here instead of
# being read from the inventory of that documentation.
_ANSIBLE = "https://docs.ansible.com/ansible/latest/"
_ANSIBLE_PAGES = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "ansible_callbacks_enabled": "reference_appendices/config.html#envvar-ANSIBLE_CALLBACKS_ENABLED",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
    "inventory_plugins": "plugins/inventory.html",
}


def link_to_ansible(_app: t.Any, _env: t.Any, node: t.Any, content: nodes.Node) -> nodes.reference | None:
    """Resolve a reference to one of these pages of Ansible's documentation."""
    page = _ANSIBLE_PAGES.get(node["reftarget"].lower())
    return nodes.reference("", "", content, internal=False, refuri=_ANSIBLE + page) if page else None


def setup(app: t.Any) -> None:
    """Register the handler. Sphinx calls this function."""
    app.connect("missing-reference", link_to_ansible)
