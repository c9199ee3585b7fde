"""`Task`: a function that can be called elsewhere.

One instance per task and process. Class attributes are its options; those that are `None` are filled from settings when
the task is bound to its app. The request stack says which call is running.

Spec: app-and-cli#5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from kombu.exceptions import OperationalError

from celeriac.app import replacing, retry
from celeriac.app.annotations import annotations_for
from celeriac.app.context import Context
from celeriac.app.publish import publish_task
from celeriac.app.state import get_current_app, pop_current_task, push_current_task
from celeriac.canvas import Signature, chunks, signature, xmap, xstarmap
from celeriac.exceptions import MaxRetriesExceededError
from celeriac.local import LocalStack
from celeriac.result.current import use_current_app
from celeriac_protocol.result import EXCEPTION_STATES, ResultMeta, encode_exception

if TYPE_CHECKING:
    from celeriac.app.app import Celery
    from celeriac.result import AsyncResult, EagerResult

__all__ = ["Context", "Task"]

use_current_app(get_current_app)

FROM_SETTINGS: tuple[tuple[str, str], ...] = (
    ("serializer", "task_serializer"),
    ("rate_limit", "task_default_rate_limit"),
    ("priority", "task_default_priority"),
    ("track_started", "task_track_started"),
    ("acks_late", "task_acks_late"),
    ("acks_on_failure_or_timeout", "task_acks_on_failure_or_timeout"),
    ("acks_on_failure", "task_acks_on_failure"),
    ("acks_on_timeout", "task_acks_on_timeout"),
    ("reject_on_worker_lost", "task_reject_on_worker_lost"),
    ("retry_on_worker_lost", "task_retry_on_worker_lost"),
    ("ignore_result", "task_ignore_result"),
    ("store_eager_result", "task_store_eager_result"),
    ("store_errors_even_if_ignored", "task_store_errors_even_if_ignored"),
    ("time_limit", "task_time_limit"),
    ("soft_time_limit", "task_soft_time_limit"),
)
"""Attributes that a setting fills when they are `None`."""

EXECUTION_OPTIONS = (
    "queue",
    "routing_key",
    "exchange",
    "priority",
    "expires",
    "serializer",
    "delivery_mode",
    "compression",
    "time_limit",
    "soft_time_limit",
    "immediate",
    "mandatory",
)
"""Attributes that are defaults of call options."""


class _AppOfClass:
    """`Task.app` of a class that belongs to no app: whatever app is current."""

    def __get__(self, obj: object, owner: type | None = None) -> Any:
        return get_current_app()


class Task:
    """Base of all tasks.

    A subclass defines `run`, or an app's decorator makes one from a function. Every option of the decorator is an
    attribute here; unknown ones become attributes too.
    """

    app: Any = _AppOfClass()
    name: str = None  # type: ignore[assignment]
    """Registered name."""
    typing: bool | None = None
    """Check arguments against the signature of `run` before publishing."""
    max_retries: int | None = 3
    """`None`: no limit."""
    default_retry_delay: float = 180
    """Seconds."""
    rate_limit: Any = None
    ignore_result: bool | None = None
    trail: bool = True
    """Record the results of tasks that this one sends."""
    send_events: bool = True
    store_errors_even_if_ignored: bool | None = None
    store_eager_result: bool | None = None
    serializer: str | None = None
    time_limit: float | None = None
    """Hard limit in seconds."""
    soft_time_limit: float | None = None
    """Soft limit in seconds."""
    track_started: bool | None = None
    acks_late: bool | None = None
    acks_on_failure_or_timeout: bool | None = None
    acks_on_failure: bool | None = None
    acks_on_timeout: bool | None = None
    reject_on_worker_lost: bool | None = None
    retry_on_worker_lost: bool | None = None
    throws: tuple[type[BaseException], ...] = ()
    """Expected exceptions: logged without traceback."""
    expires: Any = None
    priority: int | None = None
    resultrepr_maxsize: int = 1024
    abstract: bool = True
    """Accepted and without effect."""
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | float = False
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    Strategy: Any = "celery.worker.strategy:default"
    Request: Any = "celery.worker.request:Request"
    MaxRetriesExceededError = MaxRetriesExceededError
    OperationalError = OperationalError
    from_config = FROM_SETTINGS

    request_stack: LocalStack[Context]
    __bound__: ClassVar[bool] = False
    __header__: ClassVar[Callable[..., Any] | None] = None
    _backend: Any = None
    _default_request: Context | None = None

    # -- binding ------------------------------------------------------------------------------------------

    @classmethod
    def bind(cls, app: Celery) -> Celery:
        """Attach to an app: settings fill what is unset, annotations are applied, `on_bound` is called."""
        was_bound, cls.__bound__ = cls.__bound__, True
        cls.app = app
        conf = app.conf
        if cls.typing is None:
            cls.typing = app.strict_typing
        for attribute, setting in FROM_SETTINGS:
            if getattr(cls, attribute, None) is None:
                setattr(cls, attribute, conf[setting])
        if cls.acks_on_failure is None:
            cls.acks_on_failure = cls.acks_on_failure_or_timeout
        if cls.acks_on_timeout is None:
            cls.acks_on_timeout = cls.acks_on_failure_or_timeout
        if not was_bound:
            cls.annotate()
            cls.request_stack = LocalStack()
        cls.on_bound(app)
        return app

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Extension point, called when the task is bound."""

    @classmethod
    def annotate(cls) -> None:
        """Apply the annotations that the settings have for this task."""
        for changes in annotations_for(cls.app, cls):
            for key, value in changes.items():
                if key.startswith("@"):
                    cls.add_around(key[1:], value)
                else:
                    setattr(cls, key, value)

    @classmethod
    def add_around(cls, attr: str, around: Callable[..., Any]) -> None:
        """Replace the method `attr` by `around(method)`, which keeps the original as `__wrapped__`."""
        original = getattr(cls, attr)
        wrapper = around(original)
        wrapper.__wrapped__ = original
        setattr(cls, attr, wrapper)

    def enable_autoretry(self) -> None:
        """Make `run` retry by itself for the exceptions in `autoretry_for`; once, when registered."""
        retry.add_autoretry(self)

    # -- running ------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        push_current_task(self)
        self.push_request(args=args, kwargs=kwargs)
        try:
            return self.run(*args, **kwargs)
        finally:
            self.pop_request()
            pop_current_task()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body of the task."""
        raise NotImplementedError("Tasks must define the run method.")

    @property
    def request(self) -> Context:
        """What is known about the running call; defaults outside of one."""
        top = self.request_stack.top
        if top is not None:
            return top
        if self._default_request is None:
            self._default_request = Context()
        return self._default_request

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Begin a call."""
        self.request_stack.push(Context(*args, **kwargs))

    def pop_request(self) -> Context | None:
        """End the innermost call."""
        return self.request_stack.pop()

    @property
    def backend(self) -> Any:
        """Result backend: the task's own, else the app's."""
        return self.app.backend if self._backend is None else self._backend

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    def start_strategy(self, app: Celery, consumer: Any, **kwargs: Any) -> Any:
        """Return the handler a worker calls with each message; extension point, see `Strategy`."""
        from celeriac.app.find import symbol_by_name

        return symbol_by_name(self.Strategy)(self, app, consumer, **kwargs)

    # -- hooks --------------------------------------------------------------------------------------------

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before each run, retries included."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called after the task returned."""

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after the task asked to be retried."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after the task failed."""

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Called last, after success and after failure."""

    def on_replace(self, sig: Signature) -> Any:
        """Called by `replace` with the prepared signature: sends it and raises `Ignore`."""
        return replacing.send(self, sig)

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Return a display name for one call, or `None`."""
        return None

    # -- calling ------------------------------------------------------------------------------------------

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Publish a call with these arguments: ``apply_async(args, kwargs)``."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a call.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            task_id: Id; a new one by default.
            producer: What to publish through instead of the app's publisher.
            link: Signature, or list of them, applied with the return value.
            link_error: Signature, or list of them, applied on failure.
            shadow: Display name in logs and events.
            options: See `celeriac.app.publish.publish_task`.

        Raises:
            TypeError: The arguments do not fit the function, or are no list and mapping.
            ValueError: The task's soft time limit is above its hard one.
            kombu.exceptions.EncodeError: The arguments cannot be serialized.
            kombu.exceptions.OperationalError: The broker could not be reached.

        Spec: app-and-cli#5.3
        """
        if self.typing and (check := self.__header__) is not None:
            if args is not None and not isinstance(args, list | tuple):
                raise TypeError("task args must be a list or tuple")
            if kwargs is not None and not isinstance(kwargs, Mapping):
                raise TypeError("task keyword arguments must be a mapping")
            check(*(args or ()), **(kwargs or {}))
        hard, soft = self.time_limit, self.soft_time_limit
        if hard and soft and soft > hard:
            raise ValueError("soft_time_limit must be less than or equal to time_limit")
        app = self.app
        shadow = shadow or self.shadow_name(args, kwargs, options)
        if app.conf.task_always_eager:
            eager = {key: value for key, value in options.items() if key != "throw"}
            return self.apply(
                args, kwargs, task_id=task_id, link=link, link_error=link_error, **eager
            )
        if "ignore_result" not in options:
            options["ignore_result"] = self.ignore_result
        return publish_task(
            app,
            self.name,
            args,
            kwargs,
            task=self,
            task_id=task_id,
            producer=producer,
            link=link,
            link_error=link_error,
            shadow=shadow,
            **options,
        )

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int | None = None,
        throw: bool | None = None,
        logfile: str | None = None,
        loglevel: int | None = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult:
        """Run the task here, through the tracer, and return its result.

        Args:
            args: Positional arguments.
            kwargs: Keyword arguments.
            link: Signature, or list of them, applied with the return value.
            link_error: Signature, or list of them, applied on failure.
            task_id: Id; a new one by default.
            retries: How many attempts went before.
            throw: Raise what the task raises; default `task_eager_propagates`.
            logfile: Shown in the request.
            loglevel: Shown in the request.
            headers: Custom headers, shown in the request.
            options: Others of `apply_async`; shown in the request where a worker would.
        """
        from celeriac.app.eager import trace_eager

        return trace_eager(
            self,
            args or (),
            kwargs or {},
            task_id=task_id,
            retries=retries or 0,
            throw=throw,
            link=link,
            link_error=link_error,
            headers=headers,
            logfile=logfile,
            loglevel=loglevel,
            **options,
        )

    def own_options(self) -> dict[str, Any]:
        """Return the call options that this task's attributes set."""
        return {name: getattr(self, name) for name in EXECUTION_OPTIONS if hasattr(self, name)}

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:  # noqa: N802 - the public name
        """Return the result of a call of this task, read from this task's backend."""
        kwargs.setdefault("task_name", self.name)
        if self._backend is not None:
            kwargs.setdefault("backend", self._backend)
        found: AsyncResult = self.app.AsyncResult(task_id, **kwargs)
        return found

    # -- signatures ---------------------------------------------------------------------------------------

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature:
        """Return a signature of this task: ``signature(args, kwargs, **options)``."""
        starkwargs.setdefault("app", self.app)
        made: Signature = signature(self, args, *starargs, **starkwargs)
        return made

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature with these arguments."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return an immutable signature with these arguments: it takes no results of earlier tasks."""
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Iterable[Any]) -> Signature:
        """Return ``[task(x) for x in it]`` as one task."""
        return xmap(self.s(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> Signature:
        """Return ``[task(*x) for x in it]`` as one task."""
        return xstarmap(self.s(), it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> Signature:
        """Return a group of starmaps with at most `n` items each."""
        return chunks(self.s(), it, n, app=self.app)

    # -- inside a run -------------------------------------------------------------------------------------

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Publish this call again, then raise `Retry`.

        Args:
            args: Replace the arguments.
            kwargs: Replace the keyword arguments.
            exc: What made the task fail; raised when there are no attempts left.
            throw: Raise `Retry` instead of returning it.
            eta: When to run.
            countdown: Seconds from now; default `default_retry_delay`.
            max_retries: Limit for this attempt; default the task's.
            options: Other call options.

        Raises:
            Retry: The message was sent.
            Reject: It could not be sent.
            MaxRetriesExceededError: No attempts are left, and no `exc` was given.

        Spec: app-and-cli#5.4, results-and-workflows#5
        """
        return retry.retry(
            self, args, kwargs, exc=exc, throw=throw, eta=eta, countdown=countdown,
            max_retries=max_retries, **options,
        )  # fmt: skip

    def signature_from_request(
        self,
        request: Context | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        queue: Any = None,
        **extra_options: Any,
    ) -> Signature:
        """Return the signature that repeats a call."""
        return retry.signature_from_request(self, request, args, kwargs, queue, **extra_options)

    subtask_from_request = signature_from_request

    def replace(self, sig: Signature) -> Any:
        """Let another signature take this run's place: same id, callbacks, chord and chain.

        Raises:
            Ignore: Always, after sending.
            ImproperlyConfigured: `sig` has a chord of its own, or is an empty chain.

        Spec: results-and-workflows#6.7
        """
        return replacing.replace(self, sig)

    def add_to_chord(self, sig: Signature, lazy: bool = False) -> Any:
        """Add a task to the chord that this run is a part of.

        Args:
            sig: What to add.
            lazy: Return the frozen signature's result without sending it.

        Raises:
            ValueError: This run is not part of a chord.
        """
        return replacing.add_to_chord(self, sig, lazy=lazy)

    def add_trail(self, result: Any) -> Any:
        """Record a result as a child of this run."""
        if self.trail:
            self.request.children.append(result)
        return result

    def send_event(
        self,
        type_: str,
        retry: bool = True,
        retry_policy: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Send a monitoring event about the running call, at once.

        Args:
            type_: Its type, e.g. ``task-progress``.
            retry: Publish again on connection errors.
            retry_policy: How, by kombu's keys; by default as `task_publish_retry_policy` says.
            **fields: What it says.

        Spec: control-and-events#2.4
        """
        policy = self.app.conf.task_publish_retry_policy if retry_policy is None else retry_policy
        request = self.request
        with self.app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
            dispatcher.send(type_, uuid=request.id, retry=retry, retry_policy=policy, **fields)

    def update_state(
        self, task_id: str | None = None, state: str | None = None, meta: Any = None, **kwargs: Any
    ) -> None:
        """Store a custom state.

        Args:
            task_id: Default: the running call.
            state: Name of the state.
            meta: Stored as the result.
            kwargs: `traceback`.

        Raises:
            ValueError: There is no running call, and no id was given.
        """
        request = self.request
        task_id = request.id if task_id is None else task_id
        if not task_id:
            raise ValueError(f"task_id must not be empty. Got {task_id} instead.")
        if state in EXCEPTION_STATES and isinstance(meta, BaseException):
            meta = encode_exception(meta, lambda value: isinstance(value, str | int | float))
        self.backend.store(
            ResultMeta(
                task_id=task_id,
                status=state or "",
                result=meta,
                traceback=kwargs.get("traceback"),
                children=tuple(child.as_tuple() for child in request.children),
                group_id=request.group,
                parent_id=request.parent_id,
            ),
            reply_to=request.reply_to,
            correlation_id=request.correlation_id or task_id,
        )

    # -- as a value ---------------------------------------------------------------------------------------

    @property
    def __name__(self) -> str:
        return str(type(self).__name__)

    def __repr__(self) -> str:
        main = getattr(self.app, "main", None) or "__main__"
        return f"<@task: {self.name} of {main} at {id(self):#x}>"

    def __reduce__(self) -> Any:
        from celeriac.app.registry import unpickle_task

        module = type(self).__module__
        return unpickle_task, (self.name, None if module == "__main__" else module)
