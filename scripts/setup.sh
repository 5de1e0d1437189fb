#!/bin/sh
# Find Python 3.11 or newer and hand over to scripts/setup.py; PYTHON names another one.
set -eu
cd "$(dirname "$0")/.."

for python in ${PYTHON:-.venv/bin/python python3.11 python3.12 python3.13 python3}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$python" scripts/setup.py "$@"
    fi
done
if [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not Python 3.11 or newer. Name one that is, or leave PYTHON out." >&2
else
    echo "No Python 3.11 or newer was found. Install one (Debian, Ubuntu: apt-get install" \
        "python3 python3-venv), or name it: make setup PYTHON=/path/to/python3.11" >&2
fi
exit 1
