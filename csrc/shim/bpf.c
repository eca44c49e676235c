/* See bpf(2). RLIMIT_MEMLOCK need not be raised, which would take a capability: since Linux 5.11
 * programs count as memory of the cgroup, and our kernels are newer. */
#include "bpf.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int call(enum bpf_cmd command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int pyrunc_bpf_load(const void *instructions, uint32_t count, char *log, uint32_t log_size)
{
	union bpf_attr attr;
	int program;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)instructions;
	attr.insn_cnt = count;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, "pyrunc_devices", sizeof("pyrunc_devices"));
	program = call(BPF_PROG_LOAD, &attr);
	if (program >= 0 || log_size == 0)
		return program;
	/* Once more with a log, which costs too much to ask for it at once. */
	attr.log_level = 1;
	attr.log_buf = (uint64_t)(uintptr_t)log;
	attr.log_size = log_size;
	return call(BPF_PROG_LOAD, &attr);
}

int pyrunc_bpf_attach(int cgroup, int program, int replaced)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)program;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (replaced >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)replaced;
	}
	return call(BPF_PROG_ATTACH, &attr);
}

int pyrunc_bpf_detach(int cgroup, int program)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.target_fd = (uint32_t)cgroup;
	attr.attach_bpf_fd = (uint32_t)program;
	return call(BPF_PROG_DETACH, &attr);
}

int pyrunc_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.target_fd = (uint32_t)cgroup;
	attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attr.query.prog_cnt = capacity;
	if (call(BPF_PROG_QUERY, &attr) < 0)
		return -1;
	return (int)attr.query.prog_cnt;
}

int pyrunc_bpf_open(uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return call(BPF_PROG_GET_FD_BY_ID, &attr);
}
