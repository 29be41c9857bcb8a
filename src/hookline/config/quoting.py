"""Values in the grammar of Hydra's overrides."""

from __future__ import annotations

import re


def quoted(value: str) -> str:
    """Return a value as Hydra's grammar quotes it."""
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"
