#!/bin/bash
# Installs GuideLLM 0.8.1 below a directory: DIRECTORY/guidellm/bin/guidellm.
#
#   install_guidellm.sh DIRECTORY
#
# About 1 minute and 1.7 GB the first time (torch without CUDA); what is there already is kept. Exit status 1 with one line
# of reason when it cannot.
set -euo pipefail

directory=${1:?usage: install_guidellm.sh DIRECTORY}
python=${PYTHON:-/usr/bin/python3}
version=0.8.1

cannot() {
    echo "GuideLLM is not installed: $1" >&2
    exit 1
}

complete() { "$directory/guidellm/bin/guidellm" --version 2>/dev/null | grep -q "$version"; }

if complete; then
    echo "GuideLLM: $directory/guidellm (version $version, installed before)"
    exit 0
fi

mkdir -p "$directory" || cannot "$directory cannot be made"
log=$directory/install-guidellm.log
room=$(df --output=avail -k "$directory" | tail -1)
[ "$room" -gt 3000000 ] || cannot "$directory has $((room / 1000)) MB of room, 3000 are needed"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || cannot "$python is not a Python 3.10 or later"

echo "installing GuideLLM $version (1 minute) ..."
"$python" -m venv --clear "$directory/guidellm" >"$log" 2>&1 || cannot "no virtual environment: $(tail -1 "$log")"
# The CPU build of torch: the usual one brings 4 GB of CUDA. Where pip does not find it by itself, PIP_EXTRA_INDEX_URL
# must name the index that has it.
"$directory/guidellm/bin/python" -m pip --disable-pip-version-check -q install torch==2.13.0+cpu "guidellm==$version" \
    >>"$log" 2>&1 || cannot "$(tail -1 "$log") (all of it: $log)"
complete || cannot "$directory/guidellm/bin/guidellm does not answer --version with $version (see $log)"
echo "GuideLLM: $directory/guidellm (version $version)"
