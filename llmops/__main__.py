"""``python -m llmops``.

Effects: those of the command line.
"""

import sys

from llmops.cli import main

if __name__ == "__main__":
    sys.exit(main())
