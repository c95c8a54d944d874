"""What all of the suite stands on: where things are, and what it says where it cannot run."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# Kept over runs, never in the repository.
CACHE = CHECKOUT / ".tools" / "e2e"


class Impossible(Exception):
    """This machine cannot run containers; the text says why, and what would help."""
