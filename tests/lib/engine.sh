# Starts a Docker engine of its own when none answers, and stops it at the end.

start_docker() {
    if docker info >/dev/null 2>&1; then return; fi
    docker_root=$(mktemp -d)
    # The engine needs root; its own directory keeps it apart from the machine's.
    as_root dockerd --data-root "$docker_root/data" --exec-root "$docker_root/exec" \
        --pidfile "$docker_root/pid" >"$docker_root/log" 2>&1 &
    trap stop_docker EXIT
    local tries=0
    until docker info >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 120 ] || ! jobs %% >/dev/null 2>&1; then
            echo "the Docker engine does not start:" >&2
            tail -20 "$docker_root/log" >&2
            exit 1
        fi
        sleep 0.5
    done
}

# Runs when the tests end; what it cannot tidy up says nothing about them.
stop_docker() {
    local status=$?
    set +e
    as_root kill "$(cat "$docker_root/pid")" 2>/dev/null
    wait
    # The engine leaves its network namespaces mounted.
    as_root umount -l "$docker_root"/exec/netns/* 2>/dev/null
    as_root rm -rf "$docker_root"
    exit "$status"
}
