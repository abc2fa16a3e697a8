"""The side of a workflow that its callers see: start it, wait for it, find it again.

The class says queue, input and result, the configuration says timeouts and retries, so a call says only what is its
own. Rejected: methods of the client service, which could not know the types of a workflow without being given `run`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar, TypeVarTuple, cast, overload

from pydantic import TypeAdapter, ValidationError
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.converter import DefaultPayloadConverter
from typing_extensions import Unpack

from app.core.config import get_settings
from app.worker import sdk_definitions as sdk
from app.worker.options import (
    ScheduleOptions,
    StartOptions,
    UpdateWithStartOptions,
    WithStartOptions,
    run_defaults,
)
from app.worker.payload_types import UnfitType, adapter
from app.worker.registry import registry

TInput = TypeVar("TInput")
TReturn = TypeVar("TReturn")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_OTHER_CONVERTER = (
    "this client converts data in the SDK's default way, the fleet's workers with pydantic: values would come back as "
    "other types.\nTake the client of TemporalClientService, or connect with plugins=fleet_plugins()."
)


class Starts(Generic[TInput, TReturn]):
    """Class methods; each raises TypeError for an input that `run` would not take, and for a client with another data
    converter than the workers have, before anything is sent."""

    @classmethod
    async def start_workflow(
        cls, client: Client, *, input: TInput, id: str, **options: Unpack[StartOptions]
    ) -> WorkflowHandle[Self, TReturn]:
        """Start a run on the declared queue; `options` are those of `Client.start_workflow` and win over config.yaml.

        Raises temporalio.exceptions.WorkflowAlreadyStartedError, temporalio.service.RPCError.
        """
        handle = await client.start_workflow(_run(cls), _checked(cls, client, input), id=id, **_merged(cls, options))
        return cast("WorkflowHandle[Self, TReturn]", handle)

    @classmethod
    async def execute_workflow(
        cls, client: Client, *, input: TInput, id: str, **options: Unpack[StartOptions]
    ) -> TReturn:
        """Start a run and wait for its result. Raises what `start_workflow` does, and WorkflowFailureError."""
        handle = await cls.start_workflow(client, input=input, id=id, **options)
        return await handle.result()

    @classmethod
    async def schedule_workflow(
        cls, client: Client, *, input: TInput, id: str, start_delay: timedelta, **options: Unpack[ScheduleOptions]
    ) -> WorkflowHandle[Self, TReturn]:
        """Start a run that begins after `start_delay`; its id is taken at once."""
        return await cls.start_workflow(client, input=input, id=id, start_delay=start_delay, **options)

    @overload
    @classmethod
    async def signal_with_start(
        cls,
        client: Client,
        signal: Callable[[Self, Unpack[Ts]], Awaitable[None] | None],
        /,
        *args: *Ts,
        input: TInput,
        id: str,
        **options: Unpack[WithStartOptions],
    ) -> WorkflowHandle[Self, TReturn]: ...
    @overload
    @classmethod
    async def signal_with_start(
        cls, client: Client, signal: str, /, *args: Any, input: TInput, id: str, **options: Unpack[WithStartOptions]
    ) -> WorkflowHandle[Self, TReturn]: ...
    @classmethod  # type: ignore[misc]  # mypy cannot match *args with a TypeVarTuple
    async def signal_with_start(
        cls, client: Client, signal: Any, /, *args: Any, input: Any, id: str, **options: Unpack[WithStartOptions]
    ) -> Any:
        """Send `signal` to the open run of this id, after starting one where there is none; in one request.

        Raises temporalio.service.RPCError, TypeError for a method that is no signal.
        """
        name = signal if isinstance(signal, str) else sdk.signal_name(signal)
        merged = _merged(cls, options)
        return await client.start_workflow(
            _run(cls), _checked(cls, client, input), id=id, start_signal=name, start_signal_args=args, **merged
        )

    @overload
    @classmethod
    async def update_with_start(
        cls,
        client: Client,
        update: Callable[[Self, Unpack[Ts]], Awaitable[R] | R],
        /,
        *args: *Ts,
        input: TInput,
        id: str,
        **options: Unpack[UpdateWithStartOptions],
    ) -> R: ...
    @overload
    @classmethod
    async def update_with_start(
        cls,
        client: Client,
        update: str,
        /,
        *args: Any,
        input: TInput,
        id: str,
        **options: Unpack[UpdateWithStartOptions],
    ) -> Any: ...
    @classmethod  # type: ignore[misc]  # mypy cannot match *args with a TypeVarTuple
    async def update_with_start(
        cls, client: Client, update: Any, /, *args: Any, input: Any, id: str, **options: Unpack[UpdateWithStartOptions]
    ) -> Any:
        """Send `update` to the open run of this id, after starting one where there is none, and wait for its result.

        Raises temporalio.client.WorkflowUpdateFailedError (also where its validator refuses), RPCError.
        """
        of_update = {
            name: options.pop(name, None)  # type: ignore[misc]
            for name in ("update_id", "rpc_metadata", "rpc_timeout")
        }
        merged = {"id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING, **_merged(cls, options)}
        start: Any = WithStartWorkflowOperation(_run(cls), _checked(cls, client, input), id=id, **merged)
        return await client.execute_update_with_start_workflow(
            update,
            args=args,
            start_workflow_operation=start,
            id=cast("str | None", of_update["update_id"]),
            rpc_metadata=cast("Mapping[str, str | bytes]", of_update["rpc_metadata"] or {}),
            rpc_timeout=cast("timedelta | None", of_update["rpc_timeout"]),
        )

    @classmethod
    def get_handle(cls, client: Client, id: str, run_id: str | None = None) -> WorkflowHandle[Self, TReturn]:
        """The handle of a run that somebody started: of the newest one with this id, or of `run_id`. Asks nobody."""
        return cast("WorkflowHandle[Self, TReturn]", client.get_workflow_handle_for(_run(cls), id, run_id=run_id))

    @classmethod
    def task_queue(cls) -> str:
        """The queue of the declaration. Raises TypeError for a class without `@workflow_defn(queue=...)`."""
        handler = registry.find(cls)
        if handler is None:
            raise TypeError(f"{cls.__qualname__} is on no queue: decorate it with @workflow_defn(queue=...)")
        return handler.queue


def _run(cls: Any) -> Any:
    return cls.run


def _merged(cls: type[Starts[Any, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**run_defaults(get_settings().temporal.workflows), **options}
    if "task_queue" not in merged:
        merged["task_queue"] = cls.task_queue()
    return merged


def _checked(cls: type, client: Client, input: Any) -> Any:
    """`input`, if `run` would take it: the worker would refuse it too, but only once the run exists."""
    if client.data_converter.payload_converter_class is DefaultPayloadConverter:
        raise TypeError(_OTHER_CONVERTER)
    adapter = _input_type(cls)
    if adapter is not None:
        try:
            adapter.validate_python(input)
        except ValidationError as error:
            lines = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors()]
            code = _run(cls).__code__
            raise TypeError(
                f"{cls.__qualname__} ({code.co_filename}:{code.co_firstlineno}) does not take this "
                f"{type(input).__qualname__} as its input: {'; '.join(lines)}"
            ) from None
    return input


@lru_cache(maxsize=1024)
def _input_type(cls: type) -> TypeAdapter[Any] | None:
    definition = sdk.workflow_definition(cls)
    if definition is None or not definition.arg_types:
        return None
    try:
        return adapter(definition.arg_types[0])
    except UnfitType as error:
        raise UnfitType(f"{cls.__qualname__} takes no input: {error}") from None
