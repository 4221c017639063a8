"""``python -m jaxwave``: see :mod:`jaxwave.cli`."""

import sys

from jaxwave.cli import main

if __name__ == "__main__":
    sys.exit(main())
