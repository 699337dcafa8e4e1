# What several scripts do: sourced by them.
guest=/run/guest
results=/run/results

use_cni() { mkdir -p /etc/cni/net.d && cp $guest/network.conflist /etc/cni/net.d/10-guest.conflist; }
image() { echo "registry.k8s.io/$1"; }
# The handler is $2, or the default one.
pod() { crictl runp --runtime "$2" $guest/pod-$1.json; }
# Answers the id of a new container in pod $2, which has the id $3.
create() { crictl create "$3" $guest/container-$1.json $guest/pod-$2.json; }
start() { id=$(create "$@") && crictl start "$id" > /dev/null && echo "$id"; }
# Runs a container to its end and prints what it wrote.
run() {
  id=$(start "$@") || return 1
  until crictl inspect "$id" | grep -q CONTAINER_EXITED; do sleep 0.5; done
  crictl logs "$id"
}
addresses() { ls /var/lib/cni/networks/guest 2> /dev/null | grep -E '^[0-9.]+$'; }
stop_crib() {
  kill "$(cat /run/crib.pid)"
  while kill -0 "$(cat /run/crib.pid)" 2> /dev/null; do sleep 0.1; done
}
# The state of all pods and containers, as $1-pods.json and so on.
snapshot() {
  crictl pods -o json > $results/$1-pods.json
  crictl ps -a -o json > $results/$1-containers.json
  for id in $(crictl ps -aq); do crictl inspect -o json "$id"; done > $results/$1-inspect.json
  crictl images -o json > $results/$1-images.json
  addresses > $results/$1-addresses
}
