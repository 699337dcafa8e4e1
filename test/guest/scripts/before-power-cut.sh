# Pods in every state, an image that is just complete and one that is not; then the power goes.
. /run/guest/pods.sh
use_cni
start-crib || exit 1
for name in e2e-test-images/busybox:1.29-2 e2e-test-images/nginx:1.14-2; do
  crictl pull "$(image $name)" || exit 1
done
steady=$(pod steady) && shared=$(pod shared) && stopped=$(pod stopped) || exit 1
start sleeper steady "$steady" > /dev/null || exit 1
run done steady "$steady" || exit 1
create created steady "$steady" > /dev/null || exit 1
start web shared "$shared" > /dev/null || exit 1
start sleeper stopped "$stopped" > /dev/null && crictl stopp "$stopped" > /dev/null || exit 1
wget -q -O /dev/null http://127.0.0.1:18080/ || { echo "guest: the host port does not answer"; exit 1; }
snapshot before
# Nothing of the next one has had time to reach the disk by itself.
crictl pull "$(image crib-test/debian:base)" || exit 1
crictl pull "$(image crib-test/debian:tools)" > /dev/null 2>&1 &
until ls -d /var/lib/crib/snapshots/tmp/*/fs/usr > /dev/null 2>&1; do sleep 0.1; done
cut-power
