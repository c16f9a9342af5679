#!/bin/sh
# /usr/local/bin/refusion: the command with the environment of the service, for `sudo -u refusion refusion status`.
set -a
. /etc/refusion/refusion.env
set +a
exec /opt/refusion/.venv/bin/refusion "$@"
