#!/bin/sh
# The new colour is started beside the old one, asked whether it is ready, and then gets the traffic:
#   ./switch.sh green
# ./start, ./route and ./stop are yours: they start the servers of a colour, give it the traffic, and stop it.
set -eu
new=$1
case $new in blue) old=green ;; green) old=blue ;; *) echo "blue or green?" >&2; exit 2 ;; esac

python manage.py migrate --noinput
./start "$new"
tries=0
until python manage.py safemigrations ready; do
    tries=$((tries + 1))
    [ "$tries" -lt "${TRIES:-60}" ] || { ./stop "$new"; exit 1; }
    sleep "${POLL:-1}"
done
./route "$new"

# Both colours work from here on. Going back is: ./route "$old".
[ "${CONTRACT:-}" = yes ] || exit 0

# With CONTRACT=yes the way back ends here.
./stop "$old"
status=0
python manage.py migrate --contract --noinput || status=$?
while [ "$status" = 75 ]; do
    sleep "${POLL:-60}"
    status=0
    python manage.py migrate --contract --noinput || status=$?
done
exit "$status"
