/* User namespaces that exist only to hold the id mappings of a mount. */
#include "init.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

static int write_map(struct init *init, pid_t pid, const char *file, const struct u32s *map)
{
	char path[64], text[340 * 33];
	size_t used = 0;

	if (map->count % 3 || map->count > 340 * 3)
		return fail_with(init, EINVAL, "write", file);
	for (uint32_t i = 0; i < map->count; i += 3)
		used += (size_t)snprintf(text + used, sizeof text - used, "%u %u %u\n",
					 map->items[i], map->items[i + 1], map->items[i + 2]);
	snprintf(path, sizeof path, "%d/%s", (int)pid, file);
	return write_proc(init, path, text);
}

int op_make_idmap(struct init *init, const struct make_idmap *op)
{
	int ready[2], status;

	if (open_procfs(init) < 0)
		return -1;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return fail(init, "pipe2", NULL);
	cleanup_fd int reader = ready[0];
	cleanup_fd int writer = ready[1];
	/* the holder of the namespace: it only waits until it is killed */
	struct clone_args args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &args, sizeof args);

	if (pid < 0)
		return fail(init, "clone3", "a user namespace for an id-mapped mount");
	if (pid == 0) {
		char byte;

		close(take_fd(&writer));
		while (read(reader, &byte, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	char path[64];
	int userns = -1, result = -1;

	snprintf(path, sizeof path, "%ld/ns/user", pid);
	if (write_map(init, (pid_t)pid, "uid_map", &op->uids) == 0 &&
	    write_map(init, (pid_t)pid, "gid_map", &op->gids) == 0) {
		userns = openat(init->procfs, path, O_RDONLY | O_CLOEXEC);
		result = userns < 0 ? fail(init, "openat", path) : put_slot(init, op->slot, userns);
	}
	close(take_fd(&writer));
	while (waitpid((pid_t)pid, &status, 0) < 0 && errno == EINTR)
		;
	return result;
}
