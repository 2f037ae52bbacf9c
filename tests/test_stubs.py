"""The stubs that editors and type checkers read say what the registry of the ops says."""

from pathlib import Path

import pytest
from stubs import stubs


@pytest.mark.parametrize(("path", "text"), stubs().items(), ids=lambda x: getattr(x, "name", ""))
def test_a_stub_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, f"{path.name} is out of date: run python tests/stubs.py"
