#!/usr/bin/env bash
# Runs scripts/gpu.py on a machine with a CUDA device and torch, and no network: what else is needed comes as wheels in
# build/gpu/wheels (`make gpu-wheels`, made where there is a network). Nothing is installed but into a folder of its own.
set -u
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
here=${WHEELS:-build/gpu/wheels}
site=$(realpath -m "${SITE:-build/gpu/site}")
if ls "$here"/*.whl > /dev/null 2>&1; then
    rm -rf "$site"
    if ! "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$here"/*.whl; then
        echo "not all wheels suit this Python; one after another:"
        for wheel in "$here"/*.whl; do
            "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$wheel" || echo "left out: $wheel"
        done
    fi
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
else
    echo "no wheels in $here: what is installed has to do"
fi
command -v cc > /dev/null || echo "no compiler: our kernels for the CPU are left out; the CUDA device does not need them"
exec "$python" scripts/gpu.py "$@"
