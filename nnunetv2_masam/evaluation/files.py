"""Reading files and folders so that an error names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Read a JSON file; an unreadable one is named in the error."""
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error


def list_folder(folder: Path) -> list[Path]:
    """The sorted content of a folder; an unreadable or missing one is named in the error."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read as a folder ({error.strerror})") from error
