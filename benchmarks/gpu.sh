#!/usr/bin/env bash
# A GPU in nine minutes, on a machine without a network that has Python 3.12, PyTorch, Triton,
# numba, OpenCV, pytest and hypothesis.
#
#     bash benchmarks/gpu.sh pack FOLDER [PHOTOGRAPHS]   here: the tree, wheels and photographs
#     bash benchmarks/gpu.sh                             there: within FOLDER/tree
#
# Each step is a process with a time-out of its own and writes what it found at once, into
# benchmarks/results/gpu.json and into $OUT. STEPS="machine tests" runs these alone; SECONDS_ALL is
# what there is for all of them. Without a GPU every step is tried on the CPU, on little work, and
# its figures go to a file of their own, for they mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

pack() {
    local folder=$1 photographs=${2:-}
    mkdir -p "$folder/wheels" "$folder/tree" "$folder/photographs"
    rm -rf "$folder/tree" && mkdir "$folder/tree"
    git ls-files -z --cached --others --exclude-standard -- ':!docs' ':!monitoring' |
        tar -c --null -T - | tar -x -C "$folder/tree"
    git rev-parse HEAD > "$folder/tree/COMMIT"
    local platforms=()
    for name in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux1; do
        platforms+=(--platform "${name}_x86_64")
    done
    grep -v '^#' benchmarks/gpu.txt | while read -r name; do grep -i "^$name==" constraints.txt; done |
        "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
            --implementation cp "${platforms[@]}" -d "$folder/wheels" -r /dev/stdin
    if [ -n "$photographs" ]; then
        find "$photographs" -name '*.jpg' | sort | awk 'NR % 40 == 1' | head -16 |
            while read -r file; do cp "$file" "$folder/photographs/"; done
    fi
    du -sh "$folder" "$folder"/*
}

if [ "${1:-}" = pack ]; then
    pack "$2" "${3:-}"
    exit
fi

BESIDE=$(mktemp -d) # what is missing here goes beside what is installed
OUT=${OUT:-$BESIDE}
WHEELS=${WHEELS:-../wheels}
if compgen -G "$WHEELS/*.whl" > /dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target "$BESIDE/site" "$WHEELS"/*.whl || exit
fi
export PYTHONPATH="$BESIDE/site:$PWD:$PWD/client/src" PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
export GPU_WORK="$BESIDE" GPU_PHOTOGRAPHS=${GPU_PHOTOGRAPHS:-../photographs} OUT
END=$((SECONDS + ${SECONDS_ALL:-540}))

step() { # name, seconds
    local left=$((END - SECONDS)) begun=$SECONDS
    local limit=$(($2 < left ? $2 : left))
    if [ -n "${STEPS:-}" ] && [[ " $STEPS " != *" $1 "* ]]; then return; fi
    if [ "$limit" -lt 5 ]; then echo "== $1: no time is left" && return; fi
    timeout -k 5 "$limit" "$PYTHON" -m benchmarks.gpu "$1"
    local status=$?
    echo "== $1: status $status, $((SECONDS - begun)) s of $limit"
}

step machine 40
step vgg16 120
step efficientnet_lite0 150
step tests 90
step service 90
step bundled 60
step folders 200
