/* Operations on namespaces and on the identity of the process in them. */
#include "init.h"

#include <grp.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

int op_join_cgroups(struct init *init, const struct join_cgroups *op)
{
	for (uint32_t i = 0; i < op->files.count; i++) {
		cleanup_fd int fd = open(op->files.items[i], O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			return fail(init, "open", op->files.items[i]);
		if (write(fd, "0", 1) != 1)
			return fail(init, "write", op->files.items[i]);
	}
	return 0;
}

/* Namespaces owned by the host's user namespace must be joined before the container's, those owned
 * by the container's after it: so what refuses at first is tried again once the user namespace is
 * joined. */
int op_join_namespaces(struct init *init, const struct join_namespaces *op)
{
	cleanup_free int *fds = calloc(op->paths.count + 1, sizeof *fds);

	if (!fds || op->types.count != op->paths.count)
		return fail_with(init, EINVAL, "setns", "list lengths differ");
	for (uint32_t i = 0; i < op->paths.count; i++) {
		/* a fifo at this path must not hold us up */
		fds[i] = open(op->paths.items[i], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fds[i] < 0)
			return fail(init, "open", op->paths.items[i]);
	}
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < op->paths.count; i++) {
			int type = (int)op->types.items[i];

			if (fds[i] < 0 || type == CLONE_NEWUSER)
				continue;
			if (setns(fds[i], type) < 0) {
				if (round == 0 && errno == EPERM)
					continue;
				return fail(init, "setns", op->paths.items[i]);
			}
			close(fds[i]);
			fds[i] = -1;
		}
		for (uint32_t i = 0; round == 0 && i < op->paths.count; i++) {
			if (op->types.items[i] != CLONE_NEWUSER)
				continue;
			if (setns(fds[i], CLONE_NEWUSER) < 0)
				return fail(init, "setns", op->paths.items[i]);
			close(fds[i]);
			fds[i] = -1;
		}
	}
	return 0;
}

int op_join_container(struct init *init, const struct join_container *op)
{
	int fd = slot_fd(init, op->slot);

	if (fd < 0)
		return -1;
	if (setns(fd, (int)op->flags) < 0)
		return fail(init, "setns", NULL);
	/* with the mount namespace came its root */
	init->rootfs = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return init->rootfs < 0 ? fail(init, "open", "/") : 0;
}

int op_unshare(struct init *init, const struct unshare *op)
{
	return unshare((int)op->flags) < 0 ? fail(init, "unshare", NULL) : 0;
}

/* The child is made with CLONE_PARENT, so that it is the runtime's own child and this process can
 * go. Only this process knows what the child is called: killed before it has told the runtime, it
 * must not leave one that both wait for. So the child waits for the end of a pipe. */
int op_clone(struct init *init, const struct clone *op)
{
	int pidfd = -1, told[2];
	struct clone_args args = {
	    .flags = op->flags | CLONE_PARENT | CLONE_PIDFD,
	    .pidfd = (uint64_t)(uintptr_t)&pidfd,
	};
	char yes = 1;

	if (pipe2(told, O_CLOEXEC) < 0)
		return fail(init, "pipe2", NULL);
	long pid = syscall(SYS_clone3, &args, sizeof args);

	if (pid < 0)
		return fail(init, "clone3", NULL);
	if (pid == 0) {
		ssize_t size;

		close(told[1]);
		do
			size = read(told[0], &yes, 1);
		while (size < 0 && errno == EINTR);
		if (size != 1)
			return fail_with(init, 0, "clone3",
					 "the process before this one was killed");
		close(told[0]);
		/* it shows the processes of the host */
		close_fd(&init->procfs);
		init->procfs = -1;
		return receive_reply(init, init->control);
	}
	struct message message = {
	    .type = MESSAGE_CLONED, .operation = init->index, .value = (uint32_t)pid};

	if (send_message(init, &message, pidfd) < 0 || write(told[1], &yes, 1) != 1) {
		sys_pidfd_send_signal(pidfd, SIGKILL);
		_exit(EXIT_ABORTED);
	}
	_exit(0);
}

int op_set_identity(struct init *init, const struct set_identity *op)
{
	if (setresgid(op->gid, op->gid, op->gid) < 0)
		return fail(init, "setresgid", NULL);
	if (setresuid(op->uid, op->uid, op->uid) < 0)
		return fail(init, "setresuid", NULL);
	return 0;
}

int op_set_dumpable(struct init *init, const struct set_dumpable *op)
{
	return prctl(PR_SET_DUMPABLE, op->value, 0, 0, 0) < 0
		   ? fail(init, "prctl", "PR_SET_DUMPABLE")
		   : 0;
}

int op_loopback_up(struct init *init, const struct loopback_up *op)
{
	(void)op;
	cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo"};

	if (fd < 0)
		return fail(init, "socket", "lo");
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return fail(init, "ioctl", "lo");
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? fail(init, "ioctl", "lo") : 0;
}

int op_set_hostname(struct init *init, const struct set_hostname *op)
{
	return sethostname(op->name, strlen(op->name)) < 0 ? fail(init, "sethostname", op->name)
							   : 0;
}

int op_set_domainname(struct init *init, const struct set_domainname *op)
{
	return setdomainname(op->name, strlen(op->name)) < 0 ? fail(init, "setdomainname", op->name)
							     : 0;
}
