#!/bin/sh
# Starts JupyterLab in a container.
#
#   NB_PREFIX          path under which it is served, as Kubeflow and Open Data Hub set it
#   NOTEBOOK_PORT      port (8888)
#   NOTEBOOK_ROOT_DIR  directory that it shows (the home)
#   NOTEBOOK_ARGS      further options, separated by white space; an option that stands here
#                      replaces the one below. Arguments of the container come after them.
#   JUPYTER_TOKEN      token to log in with; without it JupyterLab makes one and logs it
#
# `kiln run` says where to listen and which token to ask for; what it says comes first:
#
#   KILN_IDE_IP        address (all)
#   KILN_IDE_PORT      port; if it is taken by then, no other will do
#   KILN_IDE_TOKEN     token
#
# Any user id will do, with or without a name, and so will an empty home.
set -eu
set -f # words of NOTEBOOK_ARGS are options, never patterns of file names

# What the user creates stays writable for group 0, which every container of an arbitrary user id
# is in.
umask 0002

# On a read-only root without a volume for the home, state goes where one can write.
if [ ! -d "${HOME:-}" ] || [ ! -w "$HOME" ]; then
    NOTEBOOK_ROOT_DIR=${NOTEBOOK_ROOT_DIR:-${HOME:-/}}
    HOME=$(mktemp -d)
    export HOME
fi

# Python asks for the name of the user; not every user id has one.
if ! id -un >/dev/null 2>&1; then
    USER=${USER:-default}
    LOGNAME=$USER
    export USER LOGNAME
fi

if [ -n "${KILN_IDE_TOKEN:-}" ]; then
    JUPYTER_TOKEN=$KILN_IDE_TOKEN
    export JUPYTER_TOKEN
fi

# The arguments of the container after the words of NOTEBOOK_ARGS.
# shellcheck disable=SC2086 # splitting is meant
set -- ${NOTEBOOK_ARGS:-} "$@"

# given OPTION WORD...: whether a word is --OPTION or --OPTION=...
given() {
    option=$1
    shift
    for word; do
        case $word in
        "--$option" | "--$option="*) return 0 ;;
        esac
    done
    return 1
}

# Jupyter refuses an option that is given twice, so what is there already is left alone.
given ServerApp.ip "$@" || given ip "$@" ||
    set -- --ServerApp.ip="${KILN_IDE_IP:-0.0.0.0}" "$@"
given ServerApp.port "$@" || given port "$@" ||
    set -- --ServerApp.port="${KILN_IDE_PORT:-${NOTEBOOK_PORT:-8888}}" "$@"
if [ -n "${KILN_IDE_PORT:-}" ]; then
    given ServerApp.port_retries "$@" || set -- --ServerApp.port_retries=0 "$@"
fi
given ServerApp.root_dir "$@" || given notebook-dir "$@" ||
    set -- --ServerApp.root_dir="${NOTEBOOK_ROOT_DIR:-$HOME}" "$@"
given ServerApp.open_browser "$@" || given no-browser "$@" ||
    set -- --ServerApp.open_browser=False "$@"
if [ -n "${NB_PREFIX:-}" ]; then
    given ServerApp.base_url "$@" || set -- --ServerApp.base_url="$NB_PREFIX" "$@"
fi

# In the foreground and without a shell around it, so that signals reach it.
exec jupyter lab "$@"
