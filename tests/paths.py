"""Where things lie in the project, for all tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "tests" / "data" / "published.json"
