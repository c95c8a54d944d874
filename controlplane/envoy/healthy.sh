#!/usr/bin/env bash
# The health check of an Envoy in a container: exit status 0 when it has its configuration and, if it is a sidecar,
# the rules that lead its workload's traffic to it.  The image has bash, and nothing to ask a URL with.
#
# Until it is ready for the first time Docker asks every second, so that what waits for it starts soon; then every ten.
#
# Rules belong to a network namespace, and a sidecar's container gets a new one whenever it starts.  Its workload, which
# waits for the rules, is not there yet; unless somebody has started both in the wrong order, as `docker-compose restart`
# does.  Then it answers everybody, in plaintext, past every policy.  So Envoy ends, which takes the network away.
set -euo pipefail

readonly READY=/dev/shm/ready          # gone after a restart
readonly OPEN=/dev/shm/open            # a character for each look that found a program without rules before it
readonly ALONE=/dev/shm/alone          # the same for an Envoy without rules
readonly OPEN_LOOKS=3                  # of a second each
readonly ALONE_LOOKS=60

answers() { (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null; }

# The rules lead what Envoy's user sends to the loopback, but not to 127.0.0.1, to Envoy.  Nothing else is at port 1.
is_redirected() { answers 127.0.0.2 1; }

is_sidecar() { [[ $(< "${BASH_SOURCE[0]%/*}/envoy.json") == *'"sidecar~'* ]]; }

is_configured() {
    local status
    exec 3<> /dev/tcp/127.0.0.1/15021
    printf 'GET /healthz/ready HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n' >&3
    read -r -t 3 status <&3
    [[ $status == *' 200 '* ]]
}

# Whether somebody else's program can be reached here past Envoy.  With rules all addresses lead to Envoy, or, as long as
# it does not listen, to nobody: it does not matter whether it is slow.
is_open() {
    local here state user address port
    while read -r _ here _ state _ _ _ user _; do
        # What listens, and is not Envoy's.
        [[ $state == 0A && $user != "$UID" ]] || continue
        address=${here%:*} port=$((16#${here#*:}))
        case $address in
            00000000 | 00000000000000000000000000000000) address=127.0.0.2 ;;
            ??????7F) continue ;; # on the loopback only: Docker's DNS, for one
            ????????) printf -v address '%d.%d.%d.%d' "0x${address:6:2}" "0x${address:4:2}" "0x${address:2:2}" "0x${address:0:2}" ;;
            *) continue ;;
        esac
        if answers "$address" "$port" && ! is_redirected; then
            return 0
        fi
    done < <(cat /proc/net/tcp /proc/net/tcp6 2> /dev/null)
    return 1
}

# One look more of the kind whose file is $1; ends Envoy when there have been $2.
count() {
    printf . >> "$1"
    [[ $(wc -c < "$1") -ge $2 ]] || return 0
    echo "mini-istiod: $3, and nothing leads its traffic through Envoy, which ends: a network without its rules" \
        "is closed.  Start all anew: docker-compose up -d --force-recreate" > /proc/1/fd/2 || true
    kill -TERM 1
    exit 1
}

if [[ -e $READY ]]; then
    sleep 9
elif is_sidecar && is_open; then
    count "$OPEN" "$OPEN_LOOKS" "a program listens in this network"
fi
is_configured
if is_sidecar && ! is_redirected; then
    # Rules that went away while all ran are not this script's to judge: whoever took them away knows why.
    [[ -e $READY ]] || count "$ALONE" "$ALONE_LOOKS" "this network is there for a minute"
    exit 1
fi
: > "$READY"
