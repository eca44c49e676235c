/* Attributes of the process: limits, scheduling, session, directory. */
#include "init.h"

#include <limits.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

int op_new_session_keyring(struct init *init, const struct new_session_keyring *op)
{
	(void)op;
	/* Without a name: another container of the same user could have made a keyring of any name,
	 * for us to join. A kernel without keyrings has none to protect. */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0 && errno != ENOSYS)
		return fail(init, "keyctl", NULL);
	return 0;
}

int op_new_session(struct init *init, const struct new_session *op)
{
	(void)op;
	/* EPERM: it leads a process group, so a session of its own is what it has */
	return setsid() < 0 && errno != EPERM ? fail(init, "setsid", NULL) : 0;
}

int op_set_rlimit(struct init *init, const struct set_rlimit *op)
{
	uint64_t limit[2] = {op->soft, op->hard};

	return syscall(SYS_prlimit64, 0, op->resource, limit, NULL) < 0
		   ? fail(init, "prlimit", NULL)
		   : 0;
}

static void survive(int signal)
{
	(void)signal;
}

int op_set_scheduler(struct init *init, const struct set_scheduler *op)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
		uint32_t clamp_min, clamp_max; /* the specification has no value for them */
	} attr = {
	    .size = sizeof attr,
	    .policy = op->policy,
	    .flags = op->flags,
	    .nice = op->nice,
	    .priority = op->priority,
	    .runtime = op->runtime,
	    .deadline = op->deadline,
	    .period = op->period,
	};

	/* The signal is for the program; execve takes the handler away. */
	if (op->flags & SCHED_FLAG_DL_OVERRUN && signal(SIGXCPU, survive) == SIG_ERR)
		return fail(init, "sigaction", NULL);
	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 ? fail(init, "sched_setattr", NULL) : 0;
}

int op_set_io_priority(struct init *init, const struct set_io_priority *op)
{
	return syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, op->value) < 0
		   ? fail(init, "ioprio_set", NULL)
		   : 0;
}

int op_set_affinity(struct init *init, const struct set_affinity *op)
{
	return syscall(SYS_sched_setaffinity, 0, (size_t)op->mask.size, op->mask.data) < 0
		   ? fail(init, "sched_setaffinity", NULL)
		   : 0;
}

int op_set_memory_policy(struct init *init, const struct set_memory_policy *op)
{
	unsigned long nodes[1024 / 8 / sizeof(long)] = {0};

	if (op->nodes.size > sizeof nodes)
		return fail_with(init, EINVAL, "set_mempolicy", "too many nodes");
	memcpy(nodes, op->nodes.data, op->nodes.size);
	/* the kernel takes one bit less than it is told */
	if (syscall(SYS_set_mempolicy, op->mode, op->nodes.size ? nodes : NULL,
		    op->nodes.size ? sizeof nodes * 8 : 0) < 0)
		return fail(init, "set_mempolicy", NULL);
	return 0;
}

int op_set_personality(struct init *init, const struct set_personality *op)
{
	return personality(op->persona) < 0 ? fail(init, "personality", NULL) : 0;
}

int op_set_umask(struct init *init, const struct set_umask *op)
{
	(void)init;
	umask(op->mask);
	return 0;
}

/* Only what this process could otherwise not reopen is given away: never a device that others use
 * too. */
int op_own_stdio(struct init *init, const struct own_stdio *op)
{
	struct stat info;

	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &info) < 0 || info.st_uid == op->uid ||
		    (S_ISCHR(info.st_mode) && info.st_rdev == 0x103))
			continue;
		if (fchown(fd, op->uid, info.st_gid) < 0 && errno != EINVAL && errno != EPERM &&
		    errno != EROFS)
			return fail(init, "fchown", "stdio");
	}
	return 0;
}

/* A directory reached through a leaked descriptor lies outside the root, and the kernel says so in
 * its path (CVE-2024-21626). */
static int check_inside(struct init *init, const char *path)
{
	char buffer[PATH_MAX];
	long size = syscall(SYS_getcwd, buffer, sizeof buffer);

	if (size < 0)
		return fail(init, "getcwd", path);
	if (buffer[0] != '/')
		return fail_with(init, EPERM, "chdir",
				 "the working directory is outside the container");
	return 0;
}

int op_change_directory(struct init *init, const struct change_directory *op)
{
	if (chdir(op->path) < 0)
		return fail(init, "chdir", op->path);
	return check_inside(init, op->path);
}
