from __future__ import annotations

import errno
from typing import Any

import pytest

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.config.plugins import BrokenPlugin, Plugins, blaming
from serviceoptd.domain.settings import default_rules


class Good:
    name = "good"
    defaults: dict[str, Any] = {}  # noqa: RUF012


def broken() -> Any:
    raise ImportError("No module named 'acme'")


@pytest.fixture
def with_broken(plugins: Plugins) -> Plugins:
    simulated, client = plugins.engine("simulated"), plugins.benchmark("simulated")
    return Plugins(
        {"acme": broken, "good": lambda: Good, "simulated": lambda: simulated}, {"simulated": lambda: client}
    )


def test_a_broken_plugin_is_named_and_stops_nothing(load: Any, with_broken: Plugins) -> None:
    loaded = load("n_particles = 2\n[acme]\nanything = 1", installed=with_broken)
    warnings = [str(warning) for warning in loaded.warnings]
    assert warnings == [
        "config.toml: engine `acme` cannot be loaded: ImportError: No module named 'acme'",
        "config.toml: engine `good` does not implement the engine interface: `section` is not a pydantic model",
    ]


def test_a_broken_plugin_that_is_selected_is_an_error(refused: Any, with_broken: Plugins) -> None:
    (message,) = refused('\nengine = "acme"\nbenchmark = "simulated"', installed=with_broken)
    assert message == (
        "config.toml:2: engine: engine `acme` cannot be loaded: ImportError: No module named 'acme';"
        " available: acme, good, simulated"
    )


def test_a_plugin_that_is_not_one_says_what_it_lacks(with_broken: Plugins) -> None:
    with pytest.raises(BrokenPlugin, match="`section` is not a pydantic model"):
        with_broken.engine("good")
    with pytest.raises(KeyError):
        with_broken.engine("absent")
    assert with_broken.engine_names == ("acme", "good", "simulated")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "scipy/linalg/_solvers.py"),
        ImportError("libgfortran.so.5: cannot open shared object file: Too many open files"),
        MemoryError(),
    ],
    ids=repr,
)
def test_a_plugin_that_could_not_be_loaded_for_want_of_something_is_loaded_later(error: Exception) -> None:
    failing = iter([error])

    def loaded() -> Any:
        if (lack := next(failing, None)) is not None:
            raise lack
        return Judging

    installed = Plugins({}, {}, {}, {"judging": loaded})
    with pytest.raises(type(error)):
        installed.rule("judging")
    assert installed.rule("judging") is Judging  # type: ignore[comparison-overlap]


class Judging:
    name = "judging"

    def judge(self, configuration: object, facts: object) -> None: ...


def test_rules_are_chosen_by_name_and_each_of_them_once(load: Any, refused: Any, plugins: Plugins) -> None:
    known = Plugins.of([plugins.engine("simulated")], [plugins.benchmark("simulated")], [Judging])
    assert load('[search]\nrules = ["judging"]', installed=known).settings.search.rules == ("judging",)
    assert load("", installed=known).settings.search.rules == default_rules("swarm")
    assert load("[search]\nrules = []", installed=known).settings.search.rules == ()
    assert refused('[search]\nrules = ["juding"]', installed=known) == [
        'config.toml:2: search.rules[0]: "juding" is not installed, did you mean `judging`?; one of judging'
    ]
    assert refused('[search]\nrules = ["judging", "judging"]', installed=known) == [
        'config.toml:2: search.rules[1]: "judging" is listed twice; list each rule once'
    ]


def test_what_another_hides_is_told_with_the_broken_ones(load: Any, plugins: Plugins) -> None:
    simulated, client = plugins.engine("simulated"), plugins.benchmark("simulated")
    sentence = "engine `simulated` of acme 1.0 is not used: the built-in one has the same name"
    known = Plugins({"simulated": lambda: simulated}, {"simulated": lambda: client}, hidden=(sentence,))
    assert [str(warning) for warning in load("", installed=known).warnings] == [f"config.toml: {sentence}"]


def test_a_failure_inside_a_plugin_names_it_and_the_place() -> None:
    with pytest.raises(BrokenPlugin, match=r"rule `acme` failed: KeyError: 'x' \(.*test_plugins.py:\d+\)"):  # noqa: SIM117
        with blaming("rule", "acme"):
            raise KeyError("x")
    with pytest.raises(InvalidConfiguration, match="ours"), blaming("rule", "acme"):
        raise InvalidConfiguration("ours")
