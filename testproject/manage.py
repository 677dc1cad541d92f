#!/usr/bin/env python
"""Django's command line for the shop; ``python testproject/manage.py demo`` runs the demo."""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
