"""`serviceoptctl`, and `python -m serviceoptctl`."""

from __future__ import annotations

from serviceoptctl.program import cli


def main() -> None:
    """Runs the command line; ends the process with a documented exit code."""
    cli.main(prog_name="serviceoptctl")


if __name__ == "__main__":
    main()
