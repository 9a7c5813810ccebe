"""The planted model of the engine's tests is exported here."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "engine"))
