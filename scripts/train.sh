#!/usr/bin/env bash
# Set up .venv if needed, then train: ./scripts/train.sh lr_schedule=cosine optimizer=sgd
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/venv.sh
ensure_venv requirements.txt
exec .venv/bin/python src/train.py "$@"
