#!/bin/sh
# What is spelled as crun has it. $RUNC: crun, or what stands in for it.
set -u
. "$(dirname "$0")/keep"

cd "$BUNDLE" || exit 1
mv config.json other.json
keep run runc run --bundle="$BUNDLE" --config=other.json "$ID"
sed 's/"echo words"/"sleep 1000"/' other.json >config.json
keep disabled runc --cgroup-manager=disabled run -f other.json "$ID"
keep log runc --log=file:"$OUT/log.txt" --log-format=text state nosuch
[ -s "$OUT/log.txt" ]
echo "log.txt $?" >>"$OUT/codes"
keep create runc --cgroup-manager=cgroupfs create --pid-file="$OUT/pid" "$ID-one" </dev/null
keep create-two runc create "$ID-two" </dev/null
keep start runc start "$ID-one"
keep start-two runc start "$ID-two"
runc list -q | sort >"$OUT/list"
keep exec runc exec --env=A=1 -e B=2 --cwd=/tmp "$ID-one" /bin/sh -c 'echo $A $B; pwd'
keep exec-process runc exec --process="$BUNDLE/process.json" "$ID-one"
keep exec-user runc exec -u 1000:1000 "$ID-one" id -u
keep exec-code runc exec "$ID-one" sh -c 'exit 9'
keep update runc update --pids-limit=50 --memory=67108864 "$ID-one"
keep pause runc pause "$ID-one"
keep resume runc resume "$ID-one"
keep kill-regex runc kill --regex "$ID-.*" KILL
for id in one two; do
	tries=0
	until runc state "$ID-$id" | grep -q '"stopped"'; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || exit 1
		sleep 0.1
	done
done
keep delete-regex runc delete --regex "$ID-.*"
keep list-empty runc list -q
exit 0
