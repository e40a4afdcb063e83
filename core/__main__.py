"""Lets ``python -m core`` be the command ``plantroom``."""

import sys

from core.cli import main

sys.exit(main())
