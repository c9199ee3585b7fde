#!/bin/sh
# Print the first interpreter on PATH that is new enough (3.11), or say what is missing.
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3.14 python3 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done
echo "Celeriac needs Python 3.11 or newer; none was found on PATH (set PYTHON=/path/to/python3)." >&2
exit 1
