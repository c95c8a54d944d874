"""`python -m controlplane.lab`: clear what labs left behind whose owner was killed.

Opening a lab does the same first; this is for those who will not open another one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from controlplane.base.errors import EnvironmentUnfit
from controlplane.lab import site


def main(argv: Sequence[str] | None = None) -> int:
    """Clear, and say what; labs that are in use stay.  Exit status 1 when not allowed to."""
    about = "Clear what labs left behind whose owner was killed; those in use stay."
    argparse.ArgumentParser(prog="python -m controlplane.lab", description=about).parse_args(argv)
    try:
        cleared = site.sweep(site.DEFAULT_PLACE)
    except (EnvironmentUnfit, PermissionError) as error:
        print(f"error: run as root: {error}", file=sys.stderr)
        return 1
    print("cleared: " + (", ".join(f"lab{number}" for number in cleared) or "nothing was left"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
