"""What the documentation tells its reader to type: the fenced blocks of a section."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def snippets(document: str, heading: str, language: str) -> list[str]:
    """The blocks in `language` below `heading` of `document`, a path in the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    # A "#" in a block is a comment, and no heading.
    bare = fenced.sub(lambda found: re.sub(r"^#", "\0", found[0], flags=re.MULTILINE), text)
    section = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", bare, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{document} has no section {heading!r}"
    found = [body for name, body in fenced.findall(section[2].replace("\0", "#")) if name == language]
    assert found, f"{document}: no {language} in {heading!r}"
    return found
