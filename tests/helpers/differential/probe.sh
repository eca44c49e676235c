# What a process in the container sees, in sections; run by the shell of busybox.
section() { echo "== $1"; }
first() { read -r line <"$1" && echo "$1 $line"; }

section status
cat /proc/self/status
section pid
echo $$
section arguments
tr '\0' '\n' </proc/$$/cmdline
section environment
tr '\0' '\n' </proc/$$/environ
section limits
cat /proc/self/limits
section links
stat -c %N /proc/self/cwd /proc/self/root
section values
for f in personality oom_score_adj setgroups; do first /proc/self/$f; done
section id
id
section uid_map
cat /proc/self/uid_map /proc/self/gid_map
section namespaces
cd /proc/$$/ns
for n in cgroup ipc mnt net pid time user uts; do readlink $n; done
section names
first /proc/sys/kernel/hostname
first /proc/sys/kernel/domainname
section sysctl
cd /proc/sys
for f in net/ipv4/ip_forward net/core/somaxconn kernel/msgmax kernel/shmmax \
	kernel/shm_rmid_forced fs/mqueue/msg_max; do first $f; done 2>&1
cd /
section interfaces
echo /sys/class/net/*
section cgroup
cat /proc/self/cgroup
section mountinfo
cat /proc/self/mountinfo
section dev
find /dev | sort | xargs stat -c '%N|%F|%a|%u|%g|%t:%T'
section devices
for p in /dev/null /dev/zero /dev/full /dev/fuse /dev/sub/loop /dev/pipe /dev/plain; do
	if [ ! -e $p ]; then echo $p missing
	elif [ $p != /dev/pipe ] && (: <$p); then echo $p opens; fi
done 2>&1
section resources
for d in /cgroup /sys/fs/cgroup; do
	[ -d $d/devices ] && cd $d && cat devices/devices.list &&
		for f in memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes \
			memory/memory.memsw.limit_in_bytes memory/memory.swappiness \
			memory/memory.oom_control cpu/cpu.shares cpu/cpu.cfs_quota_us \
			cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems pids/pids.max; do
			first $f
		done 2>&1
	while IFS=: read -r number names path; do
		[ "$number$names" = 0 ] || continue
		# without a cgroup namespace the mount may show the whole hierarchy
		[ -f $d$path/memory.max ] && cd $d$path || { [ -f $d/memory.max ] && cd $d; } || continue
		for f in memory.max memory.low memory.swap.max cpu.weight cpu.max cpuset.cpus \
			cpuset.mems pids.max; do
			first $f
		done 2>&1
	done </proc/self/cgroup
done
cd /
section hidden
for p in /proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
	/proc/scsi /sys/firmware /data/secret; do
	if [ -d $p ]; then echo $p/*
	elif [ ! -e $p ]; then echo $p missing
	elif [ -s $p ] || read -r line <$p; then echo $p has data
	else echo $p is empty; fi
done 2>&1
section writable
for p in / /tmp /data /data/sub /mnt /dev /dev/shm /proc /proc/sys/kernel /sys /proc/bus /sys/fs/cgroup; do
	if [ -d $p ] && (: >$p/.try); then
		# another container may have it too, of a directory of the host
		rm -f $p/.try && echo $p is writable
	fi
done 2>&1
for p in /proc/sys/kernel/domainname /proc/sysrq-trigger /etc/file /mnt/file; do
	[ -f $p ] && (: >>$p) && echo $p is writable
done 2>&1
section files
stat -c '%n|%F|%a|%u|%g|%s' /etc/* /data /data/* /data/*/* /mnt /mnt/* /mnt/*/* /tmp /tmp/* \
	/link/* /opt /opt/* /run/* /new/* /new/*/* /new/*/*/* 2>&1
section contents
cat /etc/file /mnt/file /new/deep/file /data/secret 2>&1
section descriptors
cd /proc/$$/fd
echo *
cd /
section calls
mkdir /tmp/made 2>&1 && rmdir /tmp/made
chroot / true 2>&1
section end
