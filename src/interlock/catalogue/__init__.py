"""Agents as teams define them: Markdown with front matter, JSON or YAML, and the project's configuration on top.

A project's settings win over what a definition says. Front matter keys that are not ours are tolerated (other tools
read the same files); keys of the project's own settings are checked, because a mistyped limit is a limit not kept.
"""

from __future__ import annotations

from interlock.catalogue.load import load_catalogue
from interlock.catalogue.matrices import load_matrices, parse_matrix
from interlock.catalogue.settings import SETTINGS, apply_settings

__all__ = ["SETTINGS", "apply_settings", "load_catalogue", "load_matrices", "parse_matrix"]
