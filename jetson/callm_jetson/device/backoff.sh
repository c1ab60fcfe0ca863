#!/bin/sh
# Waits before a start of the service, longer each time it has failed: 0, 2, 4, 8 ... 120 s. systemd knows such steps
# from version 254 on; JetPack 6 has 249.
# `callm-edge-backoff ended` (ExecStopPost) forgets the count after a proper end or a long good run.
set -eu
count="${RUNTIME_DIRECTORY:-/run/callm-edge}/starts"
long_run_s=600

if [ "${1:-}" = ended ]; then
  began=$(stat -c %Y "$count" 2>/dev/null || echo 0)
  if [ "${SERVICE_RESULT:-}" = success ] || [ $(($(date +%s) - began)) -ge "$long_run_s" ]; then
    rm -f "$count"
  fi
  exit 0
fi

starts=$(cat "$count" 2>/dev/null || echo 0)
case "$starts" in '' | *[!0-9]*) starts=0 ;; esac
wait_s=0
if [ "$starts" -gt 0 ]; then
  wait_s=2
  i=1
  while [ "$i" -lt "$starts" ] && [ "$wait_s" -lt 120 ]; do
    wait_s=$((wait_s * 2))
    i=$((i + 1))
  done
  [ "$wait_s" -le 120 ] || wait_s=120
fi
if [ "$wait_s" -gt 0 ]; then
  echo "start $((starts + 1)) in a row, waiting $wait_s s"
  sleep "$wait_s"
fi
echo $((starts + 1)) >"$count"
