"""Task names: which callables have durable ones, and what a name finds."""

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncsched.errors import ConfigurationError, TaskNotRegisteredError
from asyncsched.tasks import TaskRegistry, collect_tasks, default_tasks, is_coroutine_function, task


def send(to: str = "") -> str:
    return to


def sweep() -> None: ...


async def fetch() -> None: ...


def _private() -> None: ...


class Mailer:
    def send(self) -> None: ...

    async def fetch(self) -> None: ...

    @staticmethod
    def static() -> None: ...

    @classmethod
    def make(cls) -> "Mailer":
        return cls()

    def __call__(self) -> None: ...

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class AsyncCallable:
    async def __call__(self) -> None: ...


def made() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


@functools.cache
def cached() -> None: ...


@pytest.fixture
def registry() -> TaskRegistry:
    return TaskRegistry()


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module of an application, with a function under an explicit name that is private otherwise."""
    name = "tests_tasks_application"
    made = ModuleType(name)
    sys.modules[name] = made
    exec(
        "from asyncsched.tasks import task\nfrom os.path import join\n"
        "def send(): pass\nasync def fetch(): pass\ndef _hidden(): pass\nsame = send\nLIMIT = 3\nclass Box: pass\n"
        "@task('tests.hidden')\ndef _named(): pass\n"
        "@task('tests.lambda')\nclass Job:\n    def __call__(self): pass\n",
        vars(made),
    )
    yield made
    for named in ("tests.hidden", "tests.lambda"):
        default_tasks.forget(named)
    del sys.modules[name]


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("func", [send, fetch, _private, Mailer, Mailer.static, Mailer.make, len, cached])
def test_what_a_module_holds_has_a_durable_name(registry: TaskRegistry, func: Callable[..., Any]) -> None:
    name = registry.name_of(func)
    assert registry.is_durable(name)
    assert registry.find(name) == func
    assert TaskRegistry().name_of(func) == name
    registry.require_durable(func, name)


def test_the_name_is_module_and_qualified_name(registry: TaskRegistry) -> None:
    assert registry.name_of(send) == f"{__name__}:send"
    assert registry.name_of(Mailer.static) == f"{__name__}:Mailer.static"


@pytest.mark.parametrize(
    ("func", "kind", "remedy"),
    [
        (lambda: None, "a lambda", "define a function at module level"),
        (made(), "defined inside a function", "define a function at module level"),
        (functools.partial(send, "a"), "a partial", "args= and kwargs= instead"),
        (Mailer().send, "a bound method", "look the object up inside"),
        ("".join, "a callable object", "define a function at module level"),
        (Mailer(), "a callable object", "define a function at module level"),
    ],
)
def test_what_no_module_holds_has_a_name_for_this_process_only(
    registry: TaskRegistry, func: Callable[..., Any], kind: str, remedy: str
) -> None:
    name = registry.name_of(func)
    assert registry.find(name) is func
    assert registry.name_of(func) == name
    assert not registry.is_durable(name)
    with pytest.raises(
        ConfigurationError, match=f'is {kind}: the name .* {remedy}|is {kind}.*@task\\("name"\\).*{remedy}'
    ):
        registry.require_durable(func, name)


def test_process_only_names_are_unique_to_the_callable(registry: TaskRegistry) -> None:
    first, second = made(), made()
    assert registry.name_of(first) == f"{__name__}:made.<locals>.inner"
    assert registry.name_of(second) == f"{__name__}:made.<locals>.inner#2"
    assert registry.find(registry.name_of(first)) is first
    assert registry.find(registry.name_of(second)) is second


def test_bound_methods_are_told_apart_by_their_object_without_asking_it(registry: TaskRegistry) -> None:
    one, two = Mailer(), Mailer()
    assert registry.name_of(one.send) == registry.name_of(one.send)
    assert registry.name_of(one.send) != registry.name_of(two.send)
    assert registry.name_of(one) != registry.name_of(two)


def test_an_explicit_name_makes_any_callable_durable(registry: TaskRegistry) -> None:
    func = functools.partial(send, "a")
    assert registry.register(func, "greet") == "greet"
    assert registry.name_of(func) == "greet"
    registry.require_durable(func, "greet")


def test_a_module_that_was_started_by_name_keeps_that_name(
    registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ModuleType("__main__")
    exec("def send(): pass", vars(script))
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert registry.name_of(script.send) == "__main__:send"
    script.__spec__ = sys.__spec__
    assert TaskRegistry().name_of(script.send) == "sys:send"


# -- one name, one callable --------------------------------------------------------------------


def test_registering_again_is_no_error(registry: TaskRegistry) -> None:
    assert registry.register(send) == registry.register(send)
    assert registry.register(send, "a") == registry.register(send, "a") == "a"


@pytest.mark.parametrize("other", [sweep, lambda: None, functools.partial(send), Mailer().send])
def test_one_name_for_two_functions_is_refused_and_nothing_changes(
    registry: TaskRegistry, other: Callable[..., Any]
) -> None:
    registry.register(send, "greet")
    with pytest.raises(ConfigurationError, match=r"'greet' belongs to .*send.* already"):
        registry.register(other, "greet")
    assert registry.find("greet") is send


def test_two_lambdas_do_not_share_a_name(registry: TaskRegistry) -> None:
    registry.register(lambda: 1, "greet")
    with pytest.raises(ConfigurationError, match=r"already"):
        registry.register(lambda: 2, "greet")


def test_a_function_that_was_defined_anew_replaces_the_former_one(registry: TaskRegistry) -> None:
    old, new = made(), made()
    registry.register(old, "greet")
    registry.register(new, "greet")
    assert registry.find("greet") is new
    assert registry.name_of(new) == "greet"
    assert registry.name_of(old) != "greet"


def test_a_name_of_the_parent_is_not_given_to_another_function() -> None:
    parent = TaskRegistry()
    parent.register(send, "greet")
    with pytest.raises(ConfigurationError, match=r"already"):
        TaskRegistry(parent).register(sweep, "greet")


def test_the_first_of_several_names_is_written_and_all_are_found(registry: TaskRegistry) -> None:
    registry.register(send, "new")
    registry.register(send, "old")
    assert registry.name_of(send) == "new"
    assert registry.find("old") is registry.find("new") is send


def test_what_is_not_callable_or_has_no_name_is_refused(registry: TaskRegistry) -> None:
    not_callable: Any = 5
    with pytest.raises(ConfigurationError, match=r"5 is not callable"):
        registry.register(not_callable)
    with pytest.raises(ConfigurationError, match=r"'' .*at least one character"):
        registry.register(send, "")


# -- finding -----------------------------------------------------------------------------------


def test_the_parent_is_asked_for_what_is_not_here() -> None:
    parent = TaskRegistry()
    parent.register(send, "greet")
    child = TaskRegistry(parent)
    child.register(sweep, "sweep")
    assert child.find("greet") is send
    assert child.name_of(send) == "greet"
    assert child.is_durable("greet")
    assert child.names() == ["greet", "sweep"]
    assert child.knows("greet")
    assert not parent.knows("sweep")


def test_an_unknown_name_is_an_error_that_shows_the_nearest(registry: TaskRegistry) -> None:
    registry.register(send, "send_mail")
    with pytest.raises(TaskNotRegisteredError, match=r"'send_mial' is not registered.*'send_mail'") as caught:
        registry.find("send_mial")
    assert caught.value.nearest == ("send_mail",)
    assert not registry.is_durable("send_mial")


def test_a_huge_unknown_name_is_answered_at_once(registry: TaskRegistry) -> None:
    registry.register(send, "x" * 100_000)
    with pytest.raises(TaskNotRegisteredError) as caught:
        registry.find("x" * 100_001)
    assert caught.value.nearest == ()


def test_a_forgotten_callable_can_be_collected(registry: TaskRegistry) -> None:
    func = made()
    gone = weakref.ref(func)
    registry.forget(registry.name_of(func))
    registry.forget("unknown")
    del func
    gc.collect()
    assert gone() is None
    assert registry.names() == []


# -- the decorator -----------------------------------------------------------------------------


def test_the_decorator_returns_the_function_and_registers_it() -> None:
    try:
        assert task(send) is send
        assert task()(sweep) is sweep
        assert task("tests.fetch")(fetch) is fetch
        assert default_tasks.find(f"{__name__}:send") is send
        assert default_tasks.find(f"{__name__}:sweep") is sweep
        assert default_tasks.find("tests.fetch") is fetch
    finally:
        for name in (f"{__name__}:send", f"{__name__}:sweep", "tests.fetch"):
            default_tasks.forget(name)


# -- what a scheduler is given up front ----------------------------------------------------------


def test_a_module_stands_for_its_public_functions_and_all_registered_ones(module: ModuleType) -> None:
    name = module.__name__
    assert collect_tasks([module]) == [
        (f"{name}:send", module.send),
        (f"{name}:fetch", module.fetch),
        ("tests.hidden", module._named),
        ("tests.lambda", module.Job),
    ]


def test_text_names_a_module_or_something_in_it(module: ModuleType) -> None:
    name = module.__name__
    assert collect_tasks([name]) == collect_tasks([module])
    assert collect_tasks([f"{name}:fetch", f"{name}:_hidden", send]) == [
        (f"{name}:fetch", module.fetch),
        (f"{name}:_hidden", module._hidden),
        (f"{__name__}:send", send),
    ]


def test_a_callable_given_twice_is_there_once(module: ModuleType) -> None:
    assert [name for name, _ in collect_tasks([module.send, module, f"{module.__name__}:same"])] == [
        f"{module.__name__}:send",
        f"{module.__name__}:fetch",
        "tests.hidden",
        "tests.lambda",
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("nowhere.jobs", "there is no module 'nowhere.jobs'"),
        ("", "there is no module ''"),
        (".jobs", "there is no module '.jobs'"),
        ("functools:reduse", "'functools' has no 'reduse'"),
        ("functools:reduce.a", "'functools' has no 'reduce.a'"),
        ("sys:maxsize", "neither a callable nor a module"),
        (5, "5 is neither a callable nor a module"),
        (functools.partial(send), r"is a partial, which has no name of its own.*@task\(\"name\"\)"),
        (lambda: None, "is a lambda"),
    ],
)
def test_what_cannot_be_a_task_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        collect_tasks([item])


def test_an_import_that_fails_inside_the_named_module_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests_tasks_broken.py").write_text("import nowhere_at_all\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match=r"nowhere_at_all"):
        collect_tasks(["tests_tasks_broken"])


# -- coroutine functions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (send, False),
        (fetch, True),
        (functools.partial(fetch), True),
        (functools.partial(functools.partial(send)), False),
        (Mailer().send, False),
        (Mailer().fetch, True),
        (functools.partial(Mailer().fetch), True),
        (AsyncCallable(), True),
        (functools.partial(AsyncCallable()), True),
        (AsyncCallable().__call__, True),
        (AsyncCallable, False),
        (Mailer(), False),
        (len, False),
        (lambda: None, False),
    ],
)
def test_coroutine_functions_are_seen_through_what_wraps_them(func: Callable[..., Any], expected: bool) -> None:
    assert is_coroutine_function(func) is expected
