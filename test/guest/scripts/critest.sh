# critest with the arguments in /run/guest/arguments, one a line.
. /run/guest/pods.sh
start-crib || exit 1
cat /sys/module/apparmor/parameters/enabled > /run/results/apparmor 2> /dev/null
set --
while read -r argument; do set -- "$@" "$argument"; done < /run/guest/arguments
critest -runtime-endpoint=unix:///run/crib/crib.sock -image-endpoint=unix:///run/crib/crib.sock \
  -ginkgo.v -ginkgo.no-color -ginkgo.junit-report=/run/results/junit.xml "$@" > /run/results/critest.log 2>&1 &
critest=$!
# The console shows how far it is.
tail -f /run/results/critest.log | grep -E '^(• |Ran )' &
wait $critest
code=$?
echo "guest: critest ended with $code"
crictl pods -q | wc -l > /run/results/pods-left
stop_crib
exit $code
