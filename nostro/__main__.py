"""``python -m nostro`` is the command line."""

import sys

from nostro.cli import main

sys.exit(main())
