"""`python -m bridge` is the program `qwil`."""

import sys

from bridge.cli import main

sys.exit(main())
