from __future__ import annotations

from typing import Any

import pytest

from serviceoptd.config.plugins import BrokenPlugin, Plugins


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
        "config.toml: engine `good` is not one: `section` is not a pydantic model",
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
