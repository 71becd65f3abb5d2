"""How much real work fits into `make test-real`: the model's type, the number of requests and their lengths. Pure.

What takes time is, in this order, starting the service, starting a client (each imports for seconds), and tokens. All
three are measured once on the machine (`measuring`), and the tests are sized by them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

BUDGET = 1600.0
"""Seconds that the sized tests may be expected to take; 30 minutes are promised, and expectations err."""

AVX512 = "avx512f"
LATENCIES_NEED = 8.0
"""Output tokens/s below which the model of 88 M parameters is too slow to be waited for, and the one of 5 M is served."""


def dtype_for(flags: Collection[str]) -> str:
    """The type in which the model is fastest on a processor with these flags.

    Without AVX-512 there is no fast path for bfloat16, the model's own: 25 tokens/s, and 100 in float32, 16 requests in
    flight. With it: 280 and 150.
    """
    return "bfloat16" if AVX512 in flags else "float32"


@dataclass(frozen=True)
class Speed:
    """What was measured on this machine, beside whatever else it does."""

    launch: float  # seconds from the start of the service to its first good answer
    client: float  # seconds of a client's command, without the load itself
    tokens: float  # output tokens/s, many requests in flight

    def __str__(self) -> str:
        return f"{self.launch:.0f} s a launch, {self.client:.0f} s a client, {self.tokens:.0f} tokens/s"


@dataclass(frozen=True)
class Shape:
    """One test's work."""

    configurations: int
    repeats: int
    prompts: int  # requests of one measurement
    output: int  # tokens of each
    launches: int
    clients: int

    def seconds(self, speed: Speed) -> float:
        """What it is expected to take. Half of the loads are small, and small ones give half the tokens: a factor of 1.5."""
        tokens = self.configurations * self.repeats * self.prompts * self.output
        return self.launches * speed.launch + self.clients * speed.client + 1.5 * tokens / speed.tokens


@dataclass(frozen=True)
class Part:
    """One sized test: as it is where there is time, and the least of it that still shows something."""

    full: Shape
    small: Shape


PARTS: Mapping[str, Part] = {
    "a run tuned through kills": Part(Shape(7, 2, 48, 32, 9, 20), Shape(3, 1, 24, 16, 5, 9)),
    "early stopping": Part(Shape(6, 1, 96, 32, 1, 9), Shape(6, 1, 64, 32, 1, 9)),
    "a run with AISBench": Part(Shape(4, 1, 96, 32, 4, 10), Shape(4, 1, 24, 16, 4, 10)),
    "a run with GuideLLM": Part(Shape(3, 2, 16, 16, 2, 12), Shape(2, 1, 16, 16, 2, 5)),
    "a profile": Part(Shape(2, 2, 48, 1, 2, 7), Shape(2, 2, 48, 1, 2, 7)),
    "the same run by the unit": Part(Shape(7, 2, 48, 32, 11, 22), Shape(3, 1, 24, 16, 6, 10)),
    "two clients compared": Part(Shape(2, 5, 96, 32, 1, 15), Shape(2, 3, 48, 16, 1, 9)),
}
"""The sized tests, the most telling first: the later ones are left out first where time is short. The profile's model has
5 M parameters, and its tokens take no time."""

UNSIZED = Shape(0, 0, 0, 0, 1, 24)
"""What runs at any speed: vLLM's parsers and scheduler, GuideLLM's mock server, and measuring the machine itself."""


@dataclass(frozen=True)
class Sizes:
    """What is served, and each test's shape or why it is left out."""

    dtype: str
    model: str  # directory below that of the real engines
    shapes: Mapping[str, Shape]
    left_out: Mapping[str, str]


def sizes(flags: Collection[str], speed: Speed, budget: float = BUDGET) -> Sizes:
    """The most that is expected to fit into `budget` seconds: first small tests in their order, then full ones."""
    left = budget - UNSIZED.seconds(speed)
    shapes: dict[str, Shape] = {}
    left_out: dict[str, str] = {}
    for name, part in PARTS.items():
        needed = part.small.seconds(speed)
        if needed <= left:
            shapes[name] = part.small
            left -= needed
        else:
            left_out[name] = f"{name} needs {needed:.0f} s, and {max(left, 0):.0f} of {budget:.0f} s are left ({speed})"
    for name, shape in list(shapes.items()):
        more = PARTS[name].full.seconds(speed) - shape.seconds(speed)
        if more <= left:
            shapes[name] = PARTS[name].full
            left -= more
    model = "model-88m" if speed.tokens >= LATENCIES_NEED else "model-5m"
    return Sizes(dtype_for(flags), model, shapes, left_out)
