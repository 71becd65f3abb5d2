"""Every text that a user can see, with its place: `make messages`. For reading them all once, as a user would.

A text counts where it holds words, wherever it stands in the code: errors, hints, findings, tables, log lines, options.
Parts that are filled in stand in braces; docstrings are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("journal/serviceopt_journal", "daemon/serviceoptd", "ctl/serviceoptctl")
FEWEST_WORDS = 2


def text_of(node: ast.expr) -> str | None:
    """A text as it will be read, with `{expression}` for what is filled in; None where it is not one."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None and right is None else f"{left or '{...}'}{right or '{...}'}"
    return None


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of everything in a file that reads like a message; docstrings are left out."""
    tree = ast.parse(path.read_text())
    outer: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            outer.add(id(node.value))
        text = text_of(node) if isinstance(node, ast.expr) and id(node) not in outer else None
        if text is None:
            continue
        outer |= {id(inner) for inner in ast.walk(node) if isinstance(inner, ast.expr)}
        words = text.split()
        if len(words) >= FEWEST_WORDS and any(word.isalpha() and word.islower() for word in words):
            yield node.lineno, " ".join(words)


def listed() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, text in sorted(messages(path)):
                yield f"{path.relative_to(ROOT)}:{line}: {text}"


if __name__ == "__main__":
    print("\n".join(listed()))
