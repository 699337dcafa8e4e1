# What the scripts of the tests share.
guest=/usr/local/share/guest
burstable=/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice
pod() { crictl runp --runtime "${2:-runc}" $guest/pod-$1.json; }
# Prints the id of a new container in pod $2, which has the id $3.
create() { crictl create "$3" $guest/container-$1.json $guest/pod-$2.json; }
start() { local id; id=$(create "$@") && crictl start "$id" > /dev/null && echo "$id"; }
ended() { until crictl inspect "$1" | grep -q CONTAINER_EXITED; do sleep 0.5; done; }
process() { crictl inspect "$1" | sed -n 's/^ *"pid": \([0-9]*\),$/\1/p' | head -n 1; }
property() { systemctl show --value -p "$2" "crib-$1.scope"; }
# Limits of container $1 in pod $2, as the kernel has them, on one line.
limits() { (cd $burstable/*-pod_$2.slice/crib-$1.scope && echo $(cat cpu.max memory.max memory.swap.max memory.high pids.max)); }
answers() { until crictl version > /dev/null 2>&1; do sleep 0.5; done; }
