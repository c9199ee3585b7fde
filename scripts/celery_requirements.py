"""Print the pinned requirements of one real Celery, one a line, as `conformance/matrix.toml` has them.

python scripts/celery_requirements.py celery-5.7.0
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

MATRIX = Path(__file__).resolve().parent.parent / "conformance" / "matrix.toml"


def main() -> None:
    """Print them."""
    (name,) = sys.argv[1:]
    matrix = tomllib.loads(MATRIX.read_text(encoding="utf-8"))
    for implementation in matrix["implementations"]:
        if implementation["name"] == name:
            print("\n".join(implementation["requirements"]))
            return
    sys.exit(f"{MATRIX.name} has no implementation named {name}")


if __name__ == "__main__":
    main()
