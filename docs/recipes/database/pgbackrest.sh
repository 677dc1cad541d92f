#!/bin/sh
# No contract without a backup of the last hour, with pgBackRest:
#   SAFEMIGRATIONS = {"CONTRACT_REQUIRES": "./pgbackrest.sh shop"}
set -eu
stop=$(pgbackrest --stanza="$1" --output=json info |
    python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["backup"][-1]["timestamp"]["stop"])')
age=$(($(date +%s) - stop))
[ "$age" -lt 3600 ] || { echo "the last backup is $age s old" >&2; exit 1; }
