# A container is checkpointed by CRIU, which works with this kernel, and goes on.
. /run/guest/pods.sh
start-crib || exit 1
crictl pull "$(image e2e-test-images/busybox:1.29-2)" > /dev/null || exit 1
own=$(pod own runc) || exit 1
id=$(start limits own "$own") || exit 1
crictl exec -s "$id" sh -c "echo changed > /root/new; rm /etc/passwd; ln -s x /root/link" || exit 1
crictl checkpoint --export=$results/checkpoint.tar "$id" > /dev/null || exit 1
crictl exec -s "$id" cat /root/new > $results/after || exit 1
ls /var/lib/crib/checkpoints > $results/left
