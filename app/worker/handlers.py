"""Handlers by task queue: what the decorators found, and what cannot be served as it is declared.

Problems are collected, not raised at the decorator, so that a user sees all of them in one go. A handler is known by
its module and qualified name, not by identity: inside the workflow sandbox a class or function is another object than
in the process around it, and must be found all the same.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, MethodType
from typing import Any, Literal

from app.worker import sdk_definitions as sdk
from app.worker.problems import Problem, did_you_mean
from app.worker.promises import Promise

WORKFLOW: Literal["workflow"] = "workflow"
ACTIVITY: Literal["activity"] = "activity"

Key = tuple[str, str]


@dataclass(frozen=True)
class Handler:
    """One workflow class or activity, with the task queue it belongs to."""

    kind: Literal["workflow", "activity"]
    name: str
    queue: str
    target: Any
    module: str
    qualname: str
    where: str
    is_async: bool = True
    instance_where: str = ""
    """Of a method or callable object: where its instance was registered."""
    promise: Promise = field(default_factory=Promise)
    """Of an activity: what its decorator says of its time."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.where})"


def key_of(target: Any) -> Key:
    """Module and qualified name of a class, function or method.

    An object has those of its class (a partial those of its function) and its activity's name; so has a function that
    another one makes, as that may make several.
    """
    definition = sdk.activity_definition(target)
    name = definition.name if definition else ""
    qualname = getattr(target, "__qualname__", None)
    if isinstance(qualname, str):
        made = inspect.isfunction(target) and qualname.rpartition(".")[0].endswith("<locals>")
        return str(target.__module__), f"{qualname} {name}" if made else qualname
    module, made_by = key_of(target.func if isinstance(target, functools.partial) else type(target))
    return module, f"{made_by}() {name}"


@dataclass
class Registry:
    """Handlers by task queue."""

    _handlers: dict[Key, Handler] = field(default_factory=dict)
    _of_instances: dict[Key, Handler] = field(default_factory=dict)
    """Declared methods and callable classes; their target is the function or class, which alone cannot be served."""
    _with_instance: dict[Key, Key] = field(default_factory=dict)
    """Of those: which handler serves them."""
    problems: list[Problem] = field(default_factory=list)
    declared: set[Key] = field(default_factory=set)
    """All that our decorators stand on, also what was refused."""

    def add(self, handler: Handler) -> None:
        """Take one handler in; the same object again is no news, another one of its kind, name and queue a problem."""
        key = handler.module, handler.qualname
        known = self._handlers.get(key)
        if known and known.where == handler.where and known.queue == handler.queue:
            if known.instance_where and _second_instance(known.target, handler.target):
                self._say_two_instances(known, handler)
            elif _made_again(known.target, handler.target):
                what = f"{handler} is made twice, and only one of them would run"
                self.problems.append(Problem(handler.where, what, "Give each a name of its own: name=..."))
            else:
                self._handlers[key] = handler
            return
        twin = known or self._twin(handler)
        if twin is None:
            self._handlers[key] = handler
            return
        if twin.where != handler.where:
            remedy = "Rename one of them (name=...), or give it another queue."
        elif twin.module != handler.module:
            remedy = f"Import it under one name: it came as {twin.module} and as {handler.module}."
        else:
            remedy = "Decorate it once: a handler belongs to one queue."
        what = (
            f"{handler} has the name and queue of {twin}"
            if twin.queue == handler.queue
            else f"{twin} is declared twice: on queue {twin.queue} and on queue {handler.queue}"
        )
        self.problems.append(Problem(handler.where, what, remedy))

    def add_of_instance(self, handler: Handler) -> None:
        """Take in a method or callable class (`handler.target`) that is served once an instance is registered."""
        self._of_instances[handler.module, handler.qualname] = handler

    def add_instance(self, instance: object, where: str) -> None:
        """Serve the declared methods of `instance`, or itself when its class is declared; `where` it is registered."""
        if isinstance(instance, type):
            what = f"{instance.__qualname__} is a class, and its activities need an instance"
            self.problems.append(Problem(where, what, f"Register one: register({instance.__name__}(...))."))
            return
        found = [
            (key, declared, cls)
            for cls in type(instance).__mro__
            for key, declared in self._of_instances.items()
            if key in ((cls.__module__, cls.__qualname__), _method_of(cls, key))
        ]
        if not found:
            what = f"{type(instance).__qualname__} has no method with @activity_defn(queue=...)"
            self.problems.append(Problem(where, what, "Decorate its activities, or do not register it."))
        for key, declared, cls in found:
            target: Any = instance if declared.target is cls else getattr(instance, declared.target.__name__)
            definition = sdk.activity_definition(target)
            own = key_of(target)
            if definition is None:
                over = f"{type(instance).__qualname__}.{declared.target.__name__}"
                what = f"{over} overrides activity {declared.qualname} ({declared.where}) without a decorator"
                self.problems.append(Problem(where, what, "Decorate it too: @activity_defn(queue=...)."))
            if definition is None or definition.name == declared.name:
                self._with_instance[key] = own
            if target is instance or own == key:
                module, qualname = own
                self.add(
                    dataclasses.replace(declared, target=target, module=module, qualname=qualname, instance_where=where)
                )

    def without_instance(self) -> list[Problem]:
        """A problem for each class whose declared activities no instance serves."""
        waiting: dict[Key, list[Handler]] = {}
        for key, handler in self._of_instances.items():
            if key not in self._with_instance:
                cls = handler.qualname if isinstance(handler.target, type) else handler.qualname.rpartition(".")[0]
                waiting.setdefault((handler.module, cls), []).append(handler)
        return [
            Problem(
                handlers[0].where,
                f"{', '.join(h.qualname for h in handlers)} cannot be served: there is no instance of {cls} to call",
                f"Register one in that module, below the class: "
                f"{cls.rpartition('.')[2].lower()} = register({cls.rpartition('.')[2]}(...)).",
            )
            for (_, cls), handlers in waiting.items()
        ]

    def _twin(self, handler: Handler) -> Handler | None:
        name = handler.kind, handler.name, handler.queue
        return next((other for other in self._handlers.values() if (other.kind, other.name, other.queue) == name), None)

    def _say_two_instances(self, known: Handler, handler: Handler) -> None:
        what = f"{handler} has two instances: {known.instance_where} and {handler.instance_where}"
        remedy = "Register one: Temporal sends a task to a name, and cannot choose between objects."
        self.problems.append(Problem(handler.instance_where, what, remedy))

    def queues(self) -> Mapping[str, tuple[Handler, ...]]:
        """Queue -> its handlers, queues and handlers by name."""
        view: dict[str, list[Handler]] = {}
        for handler in sorted(self._handlers.values(), key=lambda h: (h.queue, h.kind, h.name)):
            view.setdefault(handler.queue, []).append(handler)
        return MappingProxyType({queue: tuple(handlers) for queue, handlers in view.items()})

    def find(self, target: Any) -> Handler | None:
        """The handler of a workflow class or activity (function, method, object), also of the sandbox's copy of it."""
        key = key_of(target)
        handler = self._handlers.get(key)
        if handler is None and (served_by := self._with_instance.get(key)):
            handler = self._handlers.get(served_by)
        return handler

    def is_declared(self, target: Any) -> bool:
        """Whether one of our decorators stands on `target`, served or refused."""
        return key_of(target) in self.declared

    def shareable_modules(self, packages: Iterable[str]) -> tuple[str, ...]:
        """What workflow code may share with the process: modules with activities and `packages`, without workflows."""
        activities = {h.module for h in self._handlers.values() if h.kind == ACTIVITY}
        activities |= {h.module for h in self._of_instances.values()}
        return tuple(sorted({name for name in activities.union(packages) if not self.workflows_below(name)}))

    def workflows_below(self, name: str) -> list[Handler]:
        """The workflows in module `name` or in one below it: to share a package is to share all of it."""
        handlers = self._handlers.values()
        return [h for h in handlers if h.kind == WORKFLOW and f"{h.module}.".startswith(f"{name}.")]

    def unknown_queues(self, names: Iterable[str], where: str) -> list[Problem]:
        """A problem for each of `names` that no handler declares; `where` says who named it."""
        known = list(self.queues())
        here = f"Queues here: {', '.join(known) or 'none'}."
        return [
            Problem(where, f'no workflow or activity is declared on queue "{name}"', here + did_you_mean(name, known))
            for name in names
            if name not in known
        ]

    def doubtful_queues(self) -> list[str]:
        """Sentences on queues that look like a slip: they hold activities only, and their name is nearly another's."""
        queues = self.queues()
        return [
            f'queue "{queue}" holds only {", ".join(map(str, handlers))}. Did you mean "{near[0]}"?'
            for queue, handlers in queues.items()
            if all(handler.kind == ACTIVITY for handler in handlers)
            and (near := difflib.get_close_matches(queue, [q for q in queues if q != queue], n=1, cutoff=0.85))
        ]

    def unserved(self, off: Mapping[str, str]) -> list[Problem]:
        """A problem for each handler on a queue that is switched off (`off`: queue -> by what).

        Its work would wait for ever.
        """
        queues = self.queues()
        served = ", ".join(queue for queue in queues if queue not in off) or "none"
        return [
            Problem(
                handler.where,
                f'{handler.kind} {handler.name} is on queue "{queue}", which nobody serves: {off[queue]}',
                f"Let workers serve it, or declare it on another queue: {served}.",
            )
            for queue in queues
            if queue in off
            for handler in queues[queue]
        ]


def _method_of(cls: type, key: Key) -> Key | None:
    """`key` where it is that of a method written in `cls`."""
    module, qualname = key
    return key if (module, qualname.rpartition(".")[0]) == (cls.__module__, cls.__qualname__) else None


def _made_again(known: Any, new: Any) -> bool:
    """Whether two functions were made by one, and the module was not imported anew in between."""
    return known is not new and inspect.isfunction(known) and known.__code__ is getattr(new, "__code__", None)


def _second_instance(known: Any, new: Any) -> bool:
    """Whether two targets are of two objects of one class, and not of a class that was imported anew."""
    if isinstance(known, MethodType) and isinstance(new, MethodType):
        known, new = known.__self__, new.__self__
    return known is not new and type(known) is type(new)
