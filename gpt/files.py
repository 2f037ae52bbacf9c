"""Files that are either the old one or the new one, never half of it."""

import os
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` beside `path` and rename it into place.

    A rename within one folder is atomic, so whoever reads `path`, also after a kill or a power
    cut at any moment, finds all of the old bytes or all of the new ones. The data reach the disk
    before the name does (`fsync`), otherwise the rename could survive a power cut that they do not.

    Raises `OSError` as `open` does; the file beside is removed then.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
