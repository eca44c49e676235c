#!/bin/sh
# A container from its bundle to its end, as the manual pages of runc have it.
# $RUNC: the runtime; $ROOT: its state; $BUNDLE, $ID; $OUT: where the outputs go. Others' scripts look so.
set -u
. "$(dirname "$0")/keep"

cd "$BUNDLE" || exit 1
keep create runc create --pid-file "$OUT/pid" "$ID" </dev/null
keep state-created.json runc state "$ID"
keep list-created.json runc list --format json
keep ps-created.json runc ps --format json "$ID"
keep start runc start "$ID"
keep state-running.json runc state "$ID"
keep list-running.json runc list -f json
keep list-quiet runc list -q
keep exec runc exec "$ID" echo words
keep exec-code runc exec "$ID" sh -c 'exit 42'
keep exec-signal runc exec "$ID" sh -c 'kill -TERM $$'
keep exec-user runc exec -u 1000:1000 -g 2000 "$ID" id
keep exec-env runc exec --env A=1 --env B=2 --cwd /tmp "$ID" sh -c 'echo $A $B; pwd'
keep exec-process runc exec --process "$BUNDLE/process.json" "$ID"
keep exec-cap runc exec --cap CAP_SYS_TIME "$ID" grep Cap /proc/self/status
keep exec-privs runc exec --no-new-privs "$ID" grep NoNewPrivs /proc/self/status
keep exec-detached runc exec -d --pid-file "$OUT/exec-pid" "$ID" sleep 1000 </dev/null
[ "$(cat "$OUT/exec-pid")" -gt 1 ] && kill -0 "$(cat "$OUT/exec-pid")"
echo "exec-pid $?" >>"$OUT/codes"
keep events.json runc events --stats "$ID"
keep update runc update --memory 67108864 --pids-limit 50 --cpu-share 512 "$ID"
echo '{"cpu": {"quota": 50000, "period": 100000}, "memory": {"reservation": 33554432}}' |
	keep update-stdin runc update -r - "$ID"
keep events-updated.json runc events --stats "$ID"
keep pause runc pause "$ID"
keep state-paused.json runc state "$ID"
keep list-paused.json runc list --format=json
keep exec-paused runc exec "$ID" true
keep resume runc resume "$ID"
keep kill-none runc kill "$ID" 0
keep delete-running runc delete "$ID"
keep kill runc kill "$ID" SIGKILL
tries=0
until runc state "$ID" | grep -q '"stopped"'; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || exit 1
	sleep 0.1
done
keep state-stopped.json runc state "$ID"
keep list-stopped.json runc list -f json
keep ps-stopped.json runc ps -f json "$ID"
keep delete runc delete "$ID"
keep state-deleted runc state "$ID"
keep list-empty.json runc list -f json
keep delete-force runc delete --force "$ID"
exit 0
