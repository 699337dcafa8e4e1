# The same node after the power cut: what is left, whether it can be cleared away, whether all works again.
. /run/guest/pods.sh
use_cni
ls -A /run/crib > $results/state-at-boot 2> /dev/null
start-crib || exit 1
snapshot recovered

for id in $(crictl pods -q); do
  crictl stopp "$id" && crictl stopp "$id" || exit 1
done > /dev/null
snapshot stopped
for id in $(crictl pods -q); do crictl rmp "$id" || exit 1; done > /dev/null
snapshot removed
ls -A /var/lib/crib/snapshots/containers /var/lib/crib/snapshots/tmp | grep -v : > $results/containers-left
ls -A /run/crib/sandboxes /run/crib/containers > $results/state-left
grep -c overlay /proc/mounts > $results/overlays-left

steady=$(pod steady) && shared=$(pod shared) || exit 1
start sleeper steady "$steady" > /dev/null && start web shared "$shared" > /dev/null || exit 1
until wget -q -O $results/page http://127.0.0.1:18080/; do
  tries=$((${tries:-0} + 1))
  [ $tries -lt 30 ] || { echo "guest: the host port does not answer"; exit 1; }
  sleep 1
done
snapshot again

# The image that was complete before the cut has the bytes that it has when it is pulled anew.
run sums steady "$steady" > $results/sums-kept || exit 1
crictl rm -a -f > /dev/null
crictl rmi "$(image crib-test/debian:base)" > /dev/null || exit 1
crictl pull "$(image crib-test/debian:base)" > /dev/null || exit 1
run sums steady "$steady" > $results/sums-pulled || exit 1
# The one that was cut off can be pulled.
crictl pull "$(image crib-test/debian:tools)" || exit 1
run tools steady "$steady" > $results/tools || exit 1
crictl rmp -a -f > /dev/null || exit 1
addresses > $results/addresses-left
stop_crib
