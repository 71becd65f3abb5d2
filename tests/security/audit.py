"""Asks what is known against the versions of .constraints.txt: `make security`.

    python tests/security/audit.py

Exit status 1: something is known. Where nobody can be asked (no network, no pip-audit, an index without such data)
it says so, and the exit status is 0: a machine without a network is no vulnerability.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PINNED = ROOT / ".constraints.txt"
PLACE = ROOT / ".venv-audit"  # pip-audit brings twenty packages of its own, which are no part of what is audited
PATIENCE = 300.0  # seconds


def told(document: dict[str, Any]) -> tuple[list[str], int]:
    """What pip-audit's report says, line by line, and the exit status."""
    packages = document.get("dependencies", [])
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'nothing'}"
        for package in packages
        for found in package.get("vulns", [])
    ]
    # pip-audit itself ends with 0 and "No known vulnerabilities found" where it could ask about nothing at all.
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    asked = len(packages) - len(unknown)
    if not asked:
        return ["skipped: the package index here knows nothing of vulnerabilities"], 0
    rest = f"; of {len(unknown)} nothing could be had: {', '.join(unknown)}" if unknown else ""
    return [*lines, f"{asked} packages asked about, {len(lines)} vulnerabilities known{rest}"], int(bool(lines))


def report() -> dict[str, Any] | str:
    """pip-audit's report, or why there is none."""
    program = PLACE / "bin" / "pip-audit"
    if not program.exists():
        venv.create(PLACE, with_pip=True)
        pip = [PLACE / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "pip-audit>=2.7"]
        if subprocess.run(pip, check=False, timeout=PATIENCE, capture_output=True).returncode:
            return "pip-audit cannot be installed here"
    command = [program, "--requirement", PINNED, "--no-deps", "--disable-pip", "--format", "json", "--timeout", "10"]
    done = subprocess.run(command, check=False, timeout=PATIENCE, capture_output=True, text=True)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return f"nobody could be asked ({last[0][:200]})"
    return found


def main() -> int:
    """Prints what is known."""
    try:
        found = report()
    except subprocess.TimeoutExpired:
        found = f"no answer within {PATIENCE:.0f} s"
    lines, status = ([f"skipped: {found}"], 0) if isinstance(found, str) else told(found)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
