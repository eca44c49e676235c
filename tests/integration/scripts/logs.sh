#!/bin/sh
# What engines read of failures: `--log` and `--log-format json`, as containerd's and CRI-O's shims call it.
set -u
runc() { "$RUNC" --root "$ROOT" --log "$OUT/log" --log-format json "$@"; }

cd "$BUNDLE" || exit 1
for command in state start kill pause resume ps delete; do
	rm -f "$OUT/log"
	runc $command no-such-container >/dev/null 2>&1
	echo "$command $?" >>"$OUT/codes"
	cp "$OUT/log" "$OUT/$command.log"
done
