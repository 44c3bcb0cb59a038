#!/bin/sh
# A node in a container: `start` founds, joins or goes on, whichever the data folder needs; `drain` moves leaderships and
# links elsewhere before the end.
#
# SYNOD_TEMPLATE  the node's file, in which @HOST@ stands for SYNOD_HOST (default /etc/synod/node.toml)
# SYNOD_HOST      how other nodes and clients reach this node
# SYNOD_FOUND     `yes`: this node founds the cluster when its data folder is empty
# SYNOD_JOIN_FILE file with the token by which this node joins when its data folder is empty
# SYNOD_OPERATOR_FILE  file with an operator's token, for `drain`; without it the node ends in order by itself
set -eu
data=/var/lib/synod
config=/run/synod/node.toml
identity=$data/identity/node.json
host=${SYNOD_HOST:-$(hostname -f)}
sed "s|@HOST@|$host|g" "${SYNOD_TEMPLATE:-/etc/synod/node.toml}" >"$config"

# This node's id, once it has one.
node() {
    sed -n 's/.*"node": *\([0-9][0-9]*\).*/\1/p' "$identity" | head -n 1
}

# operate VERB: asks the cluster, through this node, to do something about this node.
operate() {
    [ -s "${SYNOD_OPERATOR_FILE:-}" ] || return 0
    timeout 60 synod node "$1" "$(node)" --addr 127.0.0.1:7400 --ca "$data/identity/ca.pem" \
        --token-file "$SYNOD_OPERATOR_FILE"
}

# Ends the drain that the last stop began, once this node serves again.
serve_again() {
    [ -s "${SYNOD_OPERATOR_FILE:-}" ] || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        sleep 5
        if operate undrain; then return 0; fi
    done
}

case ${1:-start} in
start)
    if [ -e "$identity" ]; then
        serve_again &
        exec synod start --config "$config"
    elif [ "${SYNOD_FOUND:-no}" = yes ]; then
        synod init --config "$config"
        exec synod start --config "$config"
    elif [ -s "${SYNOD_JOIN_FILE:-}" ]; then
        exec synod start --config "$config" --join "$(cat "$SYNOD_JOIN_FILE")"
    fi
    echo "this node belongs to no cluster yet, and has no token in ${SYNOD_JOIN_FILE:-SYNOD_JOIN_FILE}" >&2
    # Whoever starts it again finds the token there, sooner or later.
    sleep 5
    exit 6
    ;;
drain) operate drain ;;
undrain) operate undrain ;;
*)
    exec synod "$@"
    ;;
esac
