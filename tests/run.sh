#!/usr/bin/env bash
# All tests, with coverage: first those that bear company, side by side, then the others, in two rows (tests/alone.py).
# tests/run.sh [PYTEST ARGUMENT]...
set -uo pipefail
cd "$(dirname "$0")/.."

python=.venv/bin/python
beside=$(($(getconf _NPROCESSORS_ONLN) + 1)) # they wait for servers and processes more than they compute
"$python" -m pytest --alone never -n "$beside" --dist loadfile --cov --cov-report= "$@"
first=$?
"$python" -m pytest --alone only -n 2 --cov --cov-append --cov-report=term "$@"
second=$?

none=5 # pytest's code for "nothing was chosen", which is right for one of the two
for code in "$first" "$second"; do
  if [ "$code" -ne 0 ] && [ "$code" -ne "$none" ]; then exit "$code"; fi
done
if [ "$first" -eq "$none" ] && [ "$second" -eq "$none" ]; then exit "$none"; fi
