"""Where the open data lies that some tests read: `$CKD_DATA`, else `shared/data` beside the checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("CKD_DATA") or ROOT.parent / "shared" / "data")
