# Spark's scripts read this before they start Java, whoever calls them: `spark-submit`, a notebook, a program.

# Hadoop, below Spark, asks the system what the user is called and ends where the id has no name ("Invalid UID,
# could not determine effective user"). Platforms start containers under such ids. libnss_wrapper answers in the
# system's stead; only Java and what it starts are told so.
if ! id -un >/dev/null 2>&1; then
    NSS_WRAPPER_PASSWD=$(mktemp "${TMPDIR:-/tmp}/spark-passwd.XXXXXX")
    cat /etc/passwd - >"$NSS_WRAPPER_PASSWD" <<ENTRY
spark:x:$(id -u):$(id -g):Spark:${HOME:-/tmp}:/bin/bash
ENTRY
    NSS_WRAPPER_GROUP=/etc/group
    LD_PRELOAD=libnss_wrapper.so${LD_PRELOAD:+:$LD_PRELOAD}
    export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP LD_PRELOAD
fi

# Spark ends as well where this host's name has no address, as in a container without a network.
if [ -z "${SPARK_LOCAL_IP:-}" ] && ! getent ahosts "$(hostname)" >/dev/null 2>&1; then
    SPARK_LOCAL_IP=127.0.0.1
    export SPARK_LOCAL_IP
fi
