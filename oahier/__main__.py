"""``python -m oahier`` is ``oahier``."""

import sys

from oahier.cli import main

if __name__ == "__main__":
    sys.exit(main())
