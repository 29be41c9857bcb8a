#!/usr/bin/env bash
# Prove on a machine with a GPU that hookline runs there, and how fast: set up what is lacking, run the tests marked
# `cuda`, then scripts/benchmarks/gpu.py. The table and the numbers come into outputs/gpu_check.
#
#   scripts/gpu_check.sh                       packages from the network
#   scripts/gpu_check.sh --wheels FOLDER       packages from a folder of wheels, without a network
#   scripts/gpu_check.sh --python PATH         an interpreter that has everything; nothing is set up
#   scripts/gpu_check.sh --out FOLDER          where table.md, numbers.json and tests.txt are written
#   scripts/gpu_check.sh --timm FILE           train.py of timm's repository, to be raced against too
#   scripts/gpu_check.sh --only resnet50       further options are those of gpu.py (see its --help)
#
# A torch of at least 2.11 that the machine has is used as it is. The folder of wheels is made on a machine with a
# network and the same Python; antlr4-python3-runtime, which Hydra needs, has no wheel on PyPI, so it is built first:
#
#   pip wheel --no-deps -w FOLDER antlr4-python3-runtime==4.9.3
#   grep -v '^-e' requirements.txt >FOLDER/needs.txt
#   pip download -d FOLDER --only-binary=:all: --find-links FOLDER -r FOLDER/needs.txt pytest hypothesis setuptools \
#       wheel
#
# Exit status: 0, or 1 where a test or a task failed, or 2 where the machine lacks something.
set -euo pipefail
out=$PWD/outputs/gpu_check wheels="" python="" device=cuda
options=()
while [ $# -gt 0 ]; do
    case $1 in
        --wheels | --out | --python | --device | --timm)
            [ $# -gt 1 ] || { echo "error: $1: give a value" >&2; exit 2; }
            case $1 in
                --wheels) wheels=$2 ;;
                --out) out=$2 ;;
                --python) python=$2 ;;
                --device) device=$2 ;;
                --timm) options+=(--timm "$(realpath "$2")") ;;
            esac
            shift 2
            ;;
        -h | --help)
            sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
            exit 0
            ;;
        *)
            options+=("$1")
            shift
            ;;
    esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ -n "$wheels" ]; then
    [ -d "$wheels" ] || { echo "error: --wheels $wheels: there is no such folder" >&2; exit 2; }
    wheels=$(cd "$wheels" && pwd)
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/venv.sh

install() {
    local from=()
    [ -z "$wheels" ] || from=(--no-index --find-links "$wheels")
    "$python" -m pip install --quiet --disable-pip-version-check "${from[@]}" "$@" >&2
}

if [ -z "$python" ]; then
    base=$(find_python) || exit 2
    python=$PWD/.venv-gpu/bin/python
    # With the machine's own packages in sight, so that a torch that fits its driver is used.
    [ -x "$python" ] || "$base" -m venv --system-site-packages .venv-gpu
    echo "Installing what is lacking ..." >&2
    if ! { install "setuptools>=77" wheel && install --no-build-isolation -e . pytest hypothesis; }; then
        echo "error: the packages could not be installed (see above)" >&2
        if [ -z "$wheels" ]; then
            echo "without a network, give a folder of wheels: scripts/gpu_check.sh --wheels FOLDER (see --help)" >&2
        elif ! ls "$wheels"/antlr4_python3_runtime-*.whl >/dev/null 2>&1; then
            echo "the folder has no wheel of antlr4-python3-runtime; it is built on a machine with a network by:" >&2
            echo "  pip wheel --no-deps -w FOLDER antlr4-python3-runtime==4.9.3" >&2
        fi
        exit 2
    fi
fi
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH}

if [[ $device == cuda* ]]; then
    "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
        "$python" -c 'import torch; print("error: torch", torch.__version__, "sees no GPU here")' >&2
        echo "its CUDA may be newer than the driver (see nvidia-smi); --device cpu --tiny tries the script itself" >&2
        exit 2
    }
fi

status=0
echo "The tests marked cuda ..." >&2
# Only the files that have such tests: the others need packages that nothing here uses.
mapfile -t files < <(grep -rl "mark\.cuda" tests --include='test_*.py' | sort)
"$python" -m pytest -o addopts="" --strict-markers --import-mode=importlib -q -ra -m cuda "${files[@]}" 2>&1 |
    tee "$out/tests.txt" || status=1
echo "The benchmark ..." >&2
"$python" scripts/benchmarks/gpu.py --device "$device" --markdown "$out/table.md" --json "$out/numbers.json" \
    ${options[@]+"${options[@]}"} || { code=$?; [ $code -eq 2 ] && exit 2; status=1; }
echo "written: $out/table.md, $out/numbers.json, $out/tests.txt" >&2
exit $status
