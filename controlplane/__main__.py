"""`python -m controlplane` and the `mini-istiod` command."""

import sys

from controlplane.app.commands import main

if __name__ == "__main__":
    sys.exit(main())
