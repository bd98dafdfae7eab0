"""`python -m trifold` is `trifold`."""

import sys

from trifold.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
