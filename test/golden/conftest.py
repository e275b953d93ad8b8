"""Golden files: what a builder makes is compared with a file that people can read. `--update-golden` writes the files anew."""

from __future__ import annotations

from pathlib import Path

import pytest

OPTION = "--update-golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", default=False, help="write golden files instead of comparing with them")


class Golden:
    """Compares texts with files."""

    def __init__(self, update: bool) -> None:
        self._update = update

    def check(self, path: Path, text: str) -> None:
        """The text is what stands in the file."""
        if self._update:
            path.write_text(text)
        assert path.exists(), f"{path} is missing; look at what {OPTION} writes, and commit it if it is right"
        assert text == path.read_text(), f"{path.name} has changed; if that is right, write it anew with {OPTION}"

    def check_files(self, directory: Path, suffix: str, used: set[str]) -> None:
        """Each file is used by a test."""
        unused = sorted(path.name for path in directory.glob(f"*{suffix}") if path.name.removesuffix(suffix) not in used)
        if self._update:
            for name in unused:
                (directory / name).unlink()
            unused = []
        assert unused == [], f"no test uses these files in {directory}; remove them"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.config.getoption(OPTION, default=False))
