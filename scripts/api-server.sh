#!/usr/bin/env bash
# api-server.sh stop|start: kills the API server of a cluster that runs on this machine, and starts it again as it was.
# Beside the cluster's kubeconfig (KUBECONFIG) lie the pid files of its API server and of its etcd, in whose network
# namespace it runs. For MESH_TEST_API_STOP and MESH_TEST_API_START of npm run test:cluster.
set -euo pipefail
folder=$(dirname "${KUBECONFIG:?names the cluster}")
pid_file=$folder/apiserver.pid command_file=$folder/apiserver.command

case ${1:-} in
  stop)
    pid=$(cat "$pid_file")
    cp "/proc/$pid/cmdline" "$command_file"
    kill -9 "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    ;;
  start)
    mapfile -d '' -t command <"$command_file"
    network=/proc/$(cat "$folder/etcd.pid")/ns/net
    setsid nsenter --net="$network" -- "${command[@]}" >>"$folder/apiserver.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
    ;;
  *)
    echo "usage: $0 stop|start" >&2
    exit 2
    ;;
esac
