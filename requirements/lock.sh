#!/usr/bin/env bash
# pyproject.toml -> requirements/*.txt: pinned with hashes, one file for all supported Pythons and platforms, and without
# the address of any index, so that they work behind every mirror. Existing pins stay as they are:
# requirements/lock.sh --upgrade renews all of them, --upgrade-package NAME one.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

if ! command -v uv >/dev/null; then
  echo "requirements/lock.sh needs uv: \`make test\` installs it into .venv" >&2
  exit 2
fi

compile() { # OUTPUT ARGUMENT...
  local output=requirements/$1
  shift
  # Extras stay in the pins: to pip, `coverage==1` does not pin `coverage[toml]`, and it fails once a newer one is out.
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-strip-extras \
    --no-emit-index-url --no-emit-find-links -o "$output" "$@"
  if grep -nE '://|^--' "$output"; then
    echo "$output names the address of an index: it must not be committed" >&2
    exit 1
  fi
}

# dev.txt has everything and says who needs what. Its pins bind the two smaller files, so that an environment grows from
# `make run` to `make test` without changing a version.
compile dev.txt pyproject.toml --all-extras "$@"
constrained=(-c requirements/dev.txt --no-annotate --extra operator --extra postgres)
compile runtime.txt pyproject.toml "${constrained[@]}"
printf 'hatchling\neditables\n' | compile local.txt pyproject.toml - "${constrained[@]}" --extra local
