"""docs/configuration.md: not stale, whole, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.core.config import ConfigError, classic, sdk
from app.core.config.keys import groups
from app.core.config.load import load_settings
from app.core.config.model import Settings
from app.core.config.reference import configuration_md

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
KEYS = [key for group in groups() for key in group.keys]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", configuration_md(), re.MULTILINE | re.DOTALL)
YAML = [text for kind, text in BLOCKS if kind == "yaml"]
VARIABLES = [text for kind, text in BLOCKS if kind == "bash"]


def test_the_page_is_the_models_own_print() -> None:
    """Stale: run `make docs`."""
    assert PAGE.read_text() == configuration_md()


def test_every_key_is_on_the_page() -> None:
    page = PAGE.read_text()
    for key in KEYS:
        title = f"`{'.'.join(key.path[:-1])}`" if key.path[1:] else "Top level"
        section = page.split(f"### {title}\n")[-1].split("\n### ")[0]
        row = next((line for line in section.splitlines() if line.startswith(f"| `{key.path[-1]}` |")), "")
        assert key.sentence in row, key.name
        assert key.bounds.replace("|", "\\|") in row, key.name
        assert len(key.sentence) > 10, key.name


def test_every_name_that_is_read_is_on_the_page() -> None:
    page = PAGE.read_text()
    for name in (*sdk.NAMES, sdk.FILE_VARIABLE, *(f"{a}.{b}" for a, b in {**classic.RENAMED, **classic.REFUSED})):
        assert f"`{name}`" in page, name


@pytest.mark.parametrize("text", YAML, ids=range(len(YAML)))
def test_every_example_loads_and_says_something(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert load_settings(file=file) != Settings()


@pytest.mark.parametrize("line", [line for text in VARIABLES for line in text.splitlines()])
def test_every_variable_of_the_examples_says_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    name, value = line.split("=", 1)
    monkeypatch.setenv(name, value.strip("'"))
    monkeypatch.chdir(tmp_path)
    assert load_settings() != Settings()


def test_the_problems_that_the_page_shows_are_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("temporal:\n  adress: x:1\n")
    monkeypatch.setenv("FLEET_API__PORT", "99999")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    shown = next(text for kind, text in BLOCKS if kind == "text")
    assert sorted(str(caught.value).splitlines()) == sorted(shown.splitlines())
