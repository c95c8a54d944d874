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

readonly READY=/dev/shm/ready       # gone after a restart
readonly BYPASSED=/dev/shm/bypassed  # a character for each look that found a program without rules before it
readonly LOOKS=3                     # of a second each: how many of them it takes

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

# What other users' programs have here: "ADDRESS PORT" where one listens, "talks" for a connection.
others() {
    local here there state user address port
    while read -r _ here there state _ _ _ user _; do
        address=${here%:*} port=${here#*:}
        case $address in
            ??????7F | 00000000000000000000000001000000) continue ;; # the loopback: Docker's DNS, for one
        esac
        if [[ $state == 0[12] && $user != "$UID" && ${there#*:} != 0035 ]]; then
            echo talks
        elif [[ $state == 0A && $user != "$UID" ]]; then
            case $address in
                00000000 | 00000000000000000000000000000000) printf '127.0.0.2 %d\n' "0x$port" ;;
                ????????) printf '%d.%d.%d.%d %d\n' "0x${address:6}" "0x${address:4:2}" "0x${address:2:2}" \
                    "0x${address:0:2}" "0x$port" ;;
            esac
        fi
    done < <(cat /proc/net/tcp /proc/net/tcp6 2> /dev/null)
}

# Whether a program can be reached past Envoy.  With rules all addresses lead to Envoy, or, as long as that does not
# listen, to nobody: so it does not matter here whether Envoy is slow.
is_open() {
    local address port
    while read -r address port; do
        if [[ -n $port ]] && answers "$address" "$port" && ! is_redirected; then
            return 0
        fi
    done < <(others)
    return 1
}

talks() { [[ $(others) == *talks* ]]; }

# One look more; ends Envoy when there have been enough.
count() {
    printf . >> "$BYPASSED"
    [[ $(wc -c < "$BYPASSED") -ge $LOOKS ]] || return 0
    echo "mini-istiod: $1, and nothing leads its traffic through Envoy, which ends: a network without its rules" \
        "is closed.  Start all anew: docker-compose up -d --force-recreate" > /proc/1/fd/2 || true
    kill -TERM 1
    exit 1
}

if [[ -e $READY ]]; then
    sleep 9
elif is_sidecar && is_open; then
    count "a program listens in this network"
fi
is_configured
if is_sidecar && ! is_redirected; then
    # Without a program nobody is in danger, however long the rules take.  And rules that went away while all ran are
    # not this script's to judge.
    if [[ ! -e $READY ]] && talks; then
        count "a program has connections in this network"
    fi
    exit 1
fi
: > "$READY"
