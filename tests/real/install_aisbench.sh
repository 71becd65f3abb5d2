#!/bin/bash
# Installs a real AISBench 3.1.20260630 below a directory:
#
#   install_aisbench.sh DIRECTORY
#
# DIRECTORY/aisbench/bin/ais_bench. About 2 minutes and 2.2 GB the first time; what is there already is kept. Exit status 1
# with one line of reason when it cannot.
set -euo pipefail

directory=${1:?usage: install_aisbench.sh DIRECTORY}
python=${PYTHON:-/usr/bin/python3}
version=3.1.20260630

cannot() {
    echo "AISBench is not installed: $1" >&2
    exit 1
}

complete() {
    [ -d "$directory"/aisbench/lib/python3*/site-packages/ais_bench_benchmark-"$version".dist-info ] &&
        "$directory/aisbench/bin/ais_bench" --help >/dev/null 2>&1
}

if complete; then
    echo "AISBench: $directory/aisbench (installed before)"
    exit 0
fi

mkdir -p "$directory" || cannot "$directory cannot be made"
directory=$(cd "$directory" && pwd)
log=$directory/install-aisbench.log
: >"$log"
room=$(df --output=avail -k "$directory" | tail -1)
[ "$room" -gt 4000000 ] || cannot "$directory has $((room / 1000)) MB of room, 4000 are needed"

step() { # what, command...
    local what=$1
    shift
    echo "$what ..."
    "$@" >>"$log" 2>&1 || cannot "$what failed: $(tail -1 "$log") (all of it: $log)"
}

pip() { "$directory/aisbench/bin/python" -m pip --disable-pip-version-check -q "$@"; }

step "making a virtual environment" "$python" -m venv --clear "$directory/aisbench"
# The CPU build of torch is enough. Where pip does not find it by itself, PIP_EXTRA_INDEX_URL must name the index that has it.
pip install torch==2.13.0+cpu >>"$log" 2>&1 || step "installing torch" pip install torch==2.13.0
# Newer pyarrow and pandas have lost what this version of its data sets asks for.
step "installing ais_bench_benchmark $version" pip install "ais_bench_benchmark==$version" 'pyarrow<20' 'pandas<3'
complete || cannot "$directory/aisbench/bin/ais_bench does not answer --help (see $log)"
echo "AISBench: $directory/aisbench"
