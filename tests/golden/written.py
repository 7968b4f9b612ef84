"""Golden files, one line for each of their parts."""

import json
import sys
from pathlib import Path


def write(golden, script):
    """Where the first argument says, else beside the script."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(script).with_suffix(".json")
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path.stat().st_size} bytes")
