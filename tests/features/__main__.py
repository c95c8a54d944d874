"""`python -m tests.features` writes docs/features.md from the rows, and prints how many there are."""

from __future__ import annotations

from tests.features.page import PAGE, counts, page

PAGE.write_text(page())
print("\n".join(counts()))
