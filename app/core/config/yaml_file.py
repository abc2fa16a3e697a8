"""A YAML file of settings as a layer: classic names, `${VARIABLE}`s, and the line of every key. The only yaml import.

The tree of nodes is read here instead of `yaml.safe_load`'s dictionaries, because only nodes know their lines, whether
a value stood in quotes, and that a key was said twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from app.core.config import classic
from app.core.config.errors import ConfigProblem
from app.core.config.expand import Unexpandable, expand, is_reference
from app.core.config.layers import Layer, holds_keys
from app.core.config.resolve import Loc

_STRING = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_NULLS = ("", "~", "null")
_PASSED_OVER = "x-"
"""How a top-level key begins that is there for its anchor only, as in a Compose file."""
_DEEPEST = 20
"""Settings are not deeper than this; a file that is has an alias that holds itself."""

_ABSENT: Any = object()


def read(path: Path) -> Layer:
    """What the file says. A text that is not YAML is one problem, and says nothing else."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        braces = "${" in "".join(text.splitlines()[line - 1 : line]) and "'{'" in str(error.problem)
        remedy = "Put ${...} in quotes: inside { } and [ ], YAML reads its braces as its own." if braces else ""
        return _unreadable(f"{path}:{line}", f"not YAML: {error.problem}", remedy)
    except OSError as error:
        return _unreadable(str(path), f"cannot be read: {error.strerror}")
    except (yaml.YAMLError, ValueError) as error:
        return _unreadable(str(path), f"not YAML: {error}")
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value in _NULLS):
        return Layer({}, {})
    if not isinstance(node, yaml.MappingNode) or any(key.tag != _STRING for key, _ in node.value):
        return _unreadable(str(path), "the file must hold sections (`temporal:`, `queues:`, ...)")
    reader = _Reader(path)
    data = reader.section(reader.unwrapped(node), ())
    return Layer(data, reader.places, reader.problems)


def _unreadable(where: str, message: str, remedy: str = "") -> Layer:
    return Layer({}, {}, [ConfigProblem(where, "", message, remedy)])


class _Reader:
    """One pass over one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._constructor = yaml.SafeLoader("")
        self._own: dict[int, set[int]] = {}
        self.places: dict[Loc, str] = {}
        self.problems: list[ConfigProblem] = []

    def unwrapped(self, node: yaml.MappingNode) -> yaml.MappingNode:
        """The settings of a classic file, which stand below one key."""
        inside = next((value for key, value in node.value if key.value == classic.WRAPPER), None)
        if not isinstance(inside, yaml.MappingNode):
            return node
        for key, _ in node.value:
            if key.value != classic.WRAPPER and not key.value.startswith(_PASSED_OVER):
                fact = f"stands beside `{classic.WRAPPER}:`, which holds all settings of a classic file"
                self._tell(key, (key.value,), fact, f"Move it into `{classic.WRAPPER}:`, or take that one key out.")
        return inside

    def section(self, node: yaml.MappingNode, path: Loc) -> dict[str, Any]:
        # Before the merge, and once: an alias brings the same node here again.
        own = self._own.setdefault(id(node), {id(key) for key, _ in node.value if key.tag != _MERGE})
        self._constructor.flatten_mapping(node)
        data: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._tell(key, path, "a key is a word")
                continue
            if not path and key.value.startswith(_PASSED_OVER):
                continue
            name, here = classic.today(path, key.value), (*path, classic.today(path, key.value))
            if refused := classic.refusal(path, key.value):
                self._tell(key, (*path, key.value), *refused)
                continue
            if name in first and {id(first[name]), id(key)} <= own:
                self._twice(first[name], key, here)
            first[name] = key
            said = self._value(value, here)
            if said is not _ABSENT:
                data[name] = said
                self.places[here] = self._where(key)
        return data

    def _value(self, node: yaml.Node, path: Loc) -> Any:
        if len(path) > _DEEPEST:
            self._tell(node, path[:2], "the value holds itself")
            return _ABSENT
        if isinstance(node, yaml.MappingNode):
            return self.section(node, path)
        if isinstance(node, yaml.SequenceNode):
            return self._list(node, path)
        value = self._scalar(node, path)
        if value is None and holds_keys(path):
            # A section whose keys are all commented out is YAML's null, and says nothing.
            return _ABSENT
        if value is not _ABSENT and (key := classic.switch(path)):
            self.places[*path, key] = self._where(node)
            return {key: value}
        return value

    def _list(self, node: yaml.SequenceNode, path: Loc) -> list[Any]:
        items: list[Any] = []
        for item in node.value:
            here = (*path, len(items))
            said = self._value(item, here)
            if said is not _ABSENT:
                items.append(said)
                self.places[here] = self._where(item)
        return items

    def _scalar(self, node: yaml.Node, path: Loc) -> Any:
        if node.tag != _STRING or "$" not in node.value:
            try:
                return self._constructor.construct_object(node)
            except (yaml.YAMLError, ValueError) as error:
                # A value that has no type of its own, as a date of 2020-99-99.
                self._tell(node, path, f"not YAML: {error}", "Put it in quotes.")
                return _ABSENT
        try:
            text = expand(node.value, os.environ)
        except Unexpandable as error:
            self._tell(node, path, str(error), error.remedy)
            return _ABSENT
        if getattr(node, "style", None) is None and is_reference(node.value) and text in _NULLS:
            return _ABSENT if text == "" else None
        # Still a text: the model reads numbers and switches from it, as from a variable, and a key of digits stays one.
        return text

    def _twice(self, first: yaml.Node, second: yaml.Node, path: Loc) -> None:
        if first.value == second.value:
            fact, remedy = f"said twice, in lines {first.start_mark.line + 1} and {second.start_mark.line + 1}", ""
        else:
            fact = f"said twice: as {first.value} (line {first.start_mark.line + 1}) and as {second.value}"
            remedy = f"Keep {path[-1]}; the other is its classic name."
        self._tell(second, path, fact, remedy)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def _tell(self, node: yaml.Node, path: Loc, fact: str, remedy: str = "") -> None:
        self.problems.append(ConfigProblem(self._where(node), ".".join(map(str, path)), fact, remedy))
