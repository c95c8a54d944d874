"""What the documentation tells its reader to type: the fenced blocks of a page, or of one of its sections."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(document: str, language: str) -> list[str]:
    """The blocks in `language` of `document`, a path in the repository, without indentation."""
    return _found((ROOT / document).read_text(encoding="utf-8"), language)


def snippets(document: str, heading: str, language: str) -> list[str]:
    """Those below `heading`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    # A "#" in a block is a comment, and no heading.
    bare = _FENCED.sub(lambda found: re.sub(r"^#", "\0", found[0], flags=re.MULTILINE), text)
    section = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", bare, re.DOTALL | re.MULTILINE)
    assert section is not None, f"{document} has no section {heading!r}"
    found = _found(section[2].replace("\0", "#"), language)
    assert found, f"{document}: no {language} in {heading!r}"
    return found


def _found(text: str, language: str) -> list[str]:
    return [textwrap.dedent(body) for name, body in _FENCED.findall(text) if name == language]
