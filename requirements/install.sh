#!/bin/sh
# install.sh NAME: brings .venv to requirements/NAME.txt (local or dev) and the project itself. `make` calls it before each
# command that needs it, so it must cost nothing when there is nothing to do.
#
# A stamp in .venv says where and from what it was installed, word for word. It is taken away before an install and written
# last: after one that was cut short, in a checkout that was moved, or with another PYTHON, .venv is made anew, because
# pip takes a half-copied package for an installed one. A changed lock is installed over the old one. dev includes local.
set -eu
cd "$(dirname "$0")/.."
name=$1
here=$(pwd -P)
stamp=.venv/installed

state() { # NAME
  printf '%s\n' "$here" "$1"
  cat "requirements/$1.txt" pyproject.toml
}

installed() { # NAME
  state "$1" | cmp -s - $stamp
}

version() { # PYTHON
  "$1" -c 'import sys; print(sys.version)'
}

usable() {
  [ -x .venv/bin/python ] && [ "$(head -n 1 $stamp 2>/dev/null)" = "$here" ] || return 1
  [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON" 2>/dev/null)" = "$(version .venv/bin/python)" ]
}

choose() { # CANDIDATE...
  found=
  for each; do
    if "$each" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      echo "$each"
      return
    fi
    found="$found, $each ($("$each" -V 2>/dev/null || echo missing))"
  done
  echo "No Python 3.11 or newer that can make a virtual environment; looked at: ${found#, }." >&2
  echo "Name one: make run PYTHON=/path/to/python3.12 (on Debian and Ubuntu it needs the package python3-venv)." >&2
  return 2
}

if usable; then
  if installed "$name" || { [ "$name" = local ] && installed dev; }; then
    exit 0
  fi
  rm $stamp
else
  if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
  else
    set -- python3.13 python3.12 python3.11 python3
  fi
  python=$(choose "$@")
  # --clear works even when $python is the .venv's own.
  "$python" -m venv --clear .venv
fi

echo "installing (once) requirements/$name.txt into .venv with $(.venv/bin/python -V) ..." >&2
pip() {
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input "$@"
}
pip --require-hashes --only-binary=:all: -r "requirements/$name.txt"
pip --no-deps --no-build-isolation --editable .
state "$name" >$stamp.new
mv $stamp.new $stamp
