# The clock is set while containers run: hours ahead, hours back, to 1970; and once more while no daemon runs.
. /run/guest/pods.sh
start-crib || exit 1
crictl pull "$(image e2e-test-images/busybox:1.29-2)" > /dev/null || exit 1
own=$(pod own runc) || exit 1
# Runs the next attempt of the container, and notes what time it is then.
attempt=0
again() {
  sed "s/\"attempt\":0/\"attempt\":$attempt/" $guest/container-ticker.json > $guest/container-again.json
  id=$(start again own "$own") || exit 1
  date +%s > $results/started-$attempt
  attempt=$((attempt + 1))
}
# How many milliseconds a command takes that may fail.
took() {
  began=$(uptime-ms)
  "$@" > /dev/null 2>&1
  echo $(($(uptime-ms) - began))
}
again
honest=$(date +%s)
for jump in ahead:$((honest + 18000)) back:$((honest - 18000)) epoch:100; do
  here=$results/${jump%%:*}
  mkdir "$here"
  crictl exec "$id" sh -c 'sleep 5; echo survived' > "$here/stream" &
  sleep 2
  crictl stats -o json "$id" > "$here/stats-before.json"
  date -s "@${jump##*:}" > /dev/null || exit 1
  crictl stats -o json "$id" > "$here/stats-at.json"
  took crictl exec -s --timeout 2 "$id" sleep 60 > "$here/exec-ms"
  wait $!
  crictl exec "$id" echo hello > "$here/exec"
  crictl stats -o json "$id" > "$here/stats-after.json"
  took crictl stop -t 2 "$id" > "$here/stop-ms"
  crictl inspect -o json "$id" > "$here/inspect.json"
  again
done
date -s "@$honest" > /dev/null
again
stop_crib
date -s "@$((honest - 86400))" > /dev/null
start-crib || exit 1
again
crictl ps -a -o json > $results/containers.json
for id in $(crictl ps -aq); do crictl inspect -o json "$id"; done > $results/inspect.json
