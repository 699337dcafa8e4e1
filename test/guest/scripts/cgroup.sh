# What the kernel enforces for containers, and who is killed when: with either runtime.
. /run/guest/pods.sh
start-crib || exit 1
for name in e2e-test-images/busybox:1.29-2 e2e-test-images/nginx:1.14-2; do
  crictl pull "$(image $name)" > /dev/null || exit 1
done
burstable=/sys/fs/cgroup/kubepods/burstable
# The limits of container $1 in pod $2, one file a line.
limits() {
  for file in cpu.max cpu.weight cpuset.cpus memory.max memory.swap.max memory.high pids.max; do
    echo "$file $(cat $burstable/pod-$2/$1/$file)"
  done
}
for handler in runc crun; do
  here=$results/$handler
  mkdir $here
  own=$(pod own $handler) && host=$(pod host $handler) || exit 1

  id=$(start limits own "$own") || exit 1
  limits "$id" own > $here/limits
  process=$(head -n 1 $burstable/pod-own/$id/cgroup.procs)
  cat /proc/$process/cgroup > $here/cgroup
  cat /proc/$process/oom_score_adj > $here/oom-score
  crictl exec -s "$id" cat /proc/self/cgroup > $here/exec-cgroup
  crictl update --cpu-share 1024 --cpu-quota 80000 --memory 134217728 --cpuset-cpus 1 "$id" > /dev/null || exit 1
  limits "$id" own > $here/limits-updated
  crictl inspect -o json "$id" > $here/inspect-updated.json
  crictl stats -o json "$id" > $here/stats.json
  # An exec that takes too long goes with everything it has started.
  crictl exec -s --timeout 2 "$id" sh -c "setsid sleep 7000 & sleep 7000" 2> /dev/null && exit 1
  ps -o args | grep -c '^sleep 7000' > $here/exec-left

  # The kernel kills a child of the first process; then the first process itself.
  for name in child-too-big too-big; do
    id=$(start $name own "$own") || exit 1
    until crictl inspect "$id" | grep -q CONTAINER_EXITED; do sleep 0.5; done
    crictl inspect -o json "$id"
  done > $here/inspect-oom.json

  # Processes that have left the session of the first one, without a PID namespace around them.
  id=$(start forks host "$host") || exit 1
  until [ "$(wc -l < $burstable/pod-host/$id/cgroup.procs)" -ge 4 ]; do sleep 0.2; done
  crictl stop -t 1 "$id" > /dev/null || exit 1
  ps -o args | grep -c '^sleep 6000' > $here/forks-left
  crictl rmp -f "$own" "$host" > /dev/null || exit 1
  ls -d $burstable/*/*/ > $here/cgroups-left 2> /dev/null
done

# A node that has nft and no iptables.
stop_crib
mkdir /tmp/nft-only && cp -a /usr/sbin/nft /tmp/nft-only && mount -o bind /tmp/nft-only /usr/sbin
iptables -V 2> /dev/null && exit 1
start-crib || exit 1
shared=$(pod shared) && start web shared "$shared" > /dev/null || exit 1
until wget -q -O $results/nft-page http://127.0.0.1:18080/; do
  tries=$((${tries:-0} + 1))
  [ $tries -lt 30 ] || { echo "guest: the host port does not answer"; exit 1; }
  sleep 1
done
nft list ruleset > $results/ruleset
crictl rmp -f "$shared" > /dev/null || exit 1
nft list ruleset > $results/ruleset-left
stop_crib
crib demo > $results/demo 2>&1
