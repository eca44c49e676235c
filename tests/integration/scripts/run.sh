#!/bin/sh
# `run` in its forms, and the documents that need no container.
set -u
. "$(dirname "$0")/keep"

cd "$BUNDLE" || exit 1
set_args() { # ARG…: the program of config.json
	python3 -c 'import json, sys
config = json.load(open("config.json"))
config["process"]["args"] = sys.argv[1:]
json.dump(config, open("config.json", "w"))' "$@"
}
set_args sh -c 'echo out; echo err >&2; cat; exit 3'
echo in | keep run runc run "$ID"
set_args sh -c 'kill -KILL $$'
keep run-killed runc run --bundle "$BUNDLE" "$ID"
set_args sh -c 'exit 5'
keep run-keep runc run --keep "$ID"
keep run-keep-state.json runc state "$ID"
keep run-keep-delete runc delete "$ID"
set_args cat /proc/self/fd/3 /proc/self/fd/4
keep run-fds runc run --preserve-fds 2 "$ID" 3<"$BUNDLE/three" 4<"$BUNDLE/four"
set_args sleep 1000
keep run-detached runc run -d --pid-file "$OUT/pid" "$ID" </dev/null
keep run-twice runc run -d "$ID" </dev/null
keep list.json runc list -f json
keep kill-all runc kill --all "$ID" KILL
keep delete runc delete --force "$ID"
set_args /bin/missing
keep run-missing runc run "$ID"
keep run-left.json runc list -f json
mkdir "$OUT/spec" "$OUT/spec-rootless"
keep spec runc spec --bundle "$OUT/spec"
cp "$OUT/spec/config.json" "$OUT/spec.json"
keep spec-again runc spec --bundle "$OUT/spec"
keep spec-rootless runc spec --rootless -b "$OUT/spec-rootless"
cp "$OUT/spec-rootless/config.json" "$OUT/spec-rootless.json"
exit 0
