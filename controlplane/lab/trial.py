"""`python -m controlplane.lab.trial`: whether pods can be had here, by making one without programs.

All that may be refused is asked for: names of namespaces, a bridge, a cable, redirect rules, the folder.
"""

from __future__ import annotations

import sys

from controlplane.base.errors import MiniIstiodError
from controlplane.lab import fabric
from controlplane.lab.pod_spec import PodSpec
from controlplane.lab.pods import Lab


def main() -> int:
    """0 when it went well; else 1, and the last line on standard error says why."""
    try:
        with Lab() as lab:
            pod = lab.start(PodSpec("trial", "default", fabric.pod_address(0)), None)
            lab.intercept(pod.netns)
    except (MiniIstiodError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
