/* Credentials, capabilities, seccomp. */
#include "init.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

int op_set_no_new_privileges(struct init *init, const struct set_no_new_privileges *op)
{
	(void)op;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
		   ? fail(init, "prctl", "PR_SET_NO_NEW_PRIVS")
		   : 0;
}

int op_drop_bounding(struct init *init, const struct drop_bounding *op)
{
	for (int cap = 0; cap < 64; cap++) {
		if (op->keep >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0; /* past the last one this kernel has */
			return fail(init, "prctl", "PR_CAPBSET_DROP");
		}
	}
	return 0;
}

int op_set_user(struct init *init, const struct set_user *op)
{
	_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "groups are passed as they are");

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return fail(init, "prctl", "PR_SET_KEEPCAPS");
	if (op->set_groups && setgroups(op->groups.count, op->groups.items) < 0)
		return fail(init, "setgroups", NULL);
	if (setresgid(op->gid, op->gid, op->gid) < 0)
		return fail(init, "setresgid", NULL);
	if (setresuid(op->uid, op->uid, op->uid) < 0)
		return fail(init, "setresuid", NULL);
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? fail(init, "prctl", "PR_SET_KEEPCAPS") : 0;
}

int op_set_capabilities(struct init *init, const struct set_capabilities *op)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)(op->effective >> (32 * i));
		data[i].permitted = (uint32_t)(op->permitted >> (32 * i));
		data[i].inheritable = (uint32_t)(op->inheritable >> (32 * i));
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return fail(init, "capset", NULL);
	/* those of the caller must not stay */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return fail(init, "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
	for (int cap = 0; cap < 64; cap++) {
		if (!(op->ambient >> cap & 1))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return fail(init, "prctl", "PR_CAP_AMBIENT_RAISE");
	}
	return 0;
}

/* Once the filter is in force, sending its listener may itself be a call that waits for the agent,
 * who does not have the listener yet. So a helper thread, which the filter does not bind, sends it.
 * It is told through memory only, and this thread makes no call before the runtime has answered the
 * helper. */
struct helper {
	struct init *init;
	volatile int listener; /* -1: not yet; -2: the filter was refused */
	volatile int done;     /* 1: handed on; -1: failed */
};

static int send_listener(void *argument)
{
	struct helper *helper = argument;
	const struct timespec pause = {.tv_nsec = 20000};
	int done = 1;

	while (helper->listener == -1)
		nanosleep(&pause, NULL);
	if (helper->listener >= 0 &&
	    sync_with_runtime(helper->init, MESSAGE_SYNC, 0, helper->listener) < 0)
		done = -1;
	helper->done = done;
	syscall(SYS_exit, 0);
	__builtin_unreachable();
}

static int load_with_listener(struct init *init, struct sock_fprog *program, unsigned flags)
{
	enum { STACK = 64 * 1024 };
	struct helper helper = {.init = init, .listener = -1};
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED)
		return fail(init, "mmap", NULL);
	if (clone(send_listener, stack + STACK,
		  CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD, &helper) < 0)
		return fail(init, "clone", NULL);
	/* TSYNC would bind the helper too; the program to come starts with this one thread anyway
	 */
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			      flags & ~SECCOMP_FILTER_FLAG_TSYNC, program);
	int saved = errno;

	helper.listener = fd < 0 ? -2 : fd;
	while (!helper.done)
		__asm__ volatile("" ::: "memory");
	if (fd < 0)
		return fail_with(init, saved, "seccomp", NULL);
	return helper.done == 1 ? 0 : -1;
}

int op_load_seccomp(struct init *init, const struct load_seccomp *op)
{
	struct sock_fprog program = {
	    .len = (unsigned short)(op->program.size / sizeof(struct sock_filter)),
	    .filter = (struct sock_filter *)(uintptr_t)op->program.data,
	};

	if (op->program.size % sizeof(struct sock_filter) ||
	    op->program.size / sizeof(struct sock_filter) > 0xffff)
		return fail_with(init, EINVAL, "seccomp",
				 "the filter is not a whole number of instructions");
	if (op->listener)
		return load_with_listener(init, &program, op->flags);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, op->flags, &program) != 0)
		return fail(init, "seccomp", NULL);
	return 0;
}
