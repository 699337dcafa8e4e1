# A node's life with nothing but crib's own commands, up to a daemon that is killed.
. /run/guest/pods.sh
crib version > $results/version || exit 1
crib check > $results/check || exit 1
crib demo > $results/demo 2>&1 || exit 1

start-crib --log-level debug || exit 1
gzip=registry.k8s.io/crib-test/demo:1 zstd=registry.k8s.io/crib-test/demo:zstd
crib pull -q $zstd > /dev/null && crib image verify > $results/verified || exit 1
# The other one would find its layers there.
crib rmi $zstd || exit 1
crib pull -q $gzip > /dev/null && crib image verify >> $results/verified || exit 1
crib image inspect $gzip > $results/image

crib run -d --name web -p 18080:8080 -m 64m --cpus 0.5 $gzip sh -c \
  'echo begun; echo "a page" > /tmp/index.html; httpd -p 8080 -h /tmp; trap "echo ended; exit 3" TERM; while :; do sleep 0.2; done' \
  > /dev/null || exit 1
crib exec web cat /proc/self/status > $results/status || exit 1
crib exec web sh -c 'uname -m; id -u; exit 7' > $results/exec
echo $? >> $results/exec
crib exec -t web tty > $results/tty || exit 1
crib stats --no-stream -o json web > $results/stats.json || exit 1
wget -q -O $results/page http://127.0.0.1:18080/ || exit 1
find /sys/fs/cgroup -name memory.max -exec cat {} + | grep -v max > $results/limits
grep -cE "delegated to the runtime|direct exec disabled" $results/daemon.log > $results/left-to-runtime

# The daemon dies, and nothing else does.
httpd=$(pidof httpd)
kill -9 "$(cat /run/crib.pid)"
sleep 1
wget -q -O $results/page-without-daemon http://127.0.0.1:18080/ || exit 1
start-crib || exit 1
[ "$(pidof httpd)" = "$httpd" ] || exit 1
crib ps > $results/ps-after
crib exec web echo again > $results/exec-after || exit 1
crib stop web || exit 1
crib logs web > $results/logs
crib ps -a -o json > $results/ended.json
crib rm web || exit 1

crib run --rm --runtime crun --name other $gzip sh -c 'echo crun on $(uname -m); exit 5' > $results/crun
echo $? >> $results/crun
crib image export $gzip -o /var/lib/demo.tar.zst && crib rmi $gzip || exit 1
crib image import /var/lib/demo.tar.zst > $results/imported || exit 1
crib run --rm --pull never $gzip echo imported >> $results/imported || exit 1
crib ps -aq > $results/left
stop_crib
