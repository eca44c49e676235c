/* pyrunc-init: executes a plan, one operation after another, in the namespaces of a container. */
#ifndef PYRUNC_INIT_H
#define PYRUNC_INIT_H

#include "../common/protocol.h"
#include "../common/sys.h"
#include "plan_format.h"

#include <limits.h>
#include <sys/types.h>

#define SLOTS_MAX 1024

struct init {
	int control;	/* to the runtime */
	int rootfs;	/* the rootfs: destinations are resolved below it; -1 before OpenRootfs */
	int procfs;	/* a private procfs mount; -1 until it is needed */
	int outputs[2]; /* what hooks have as stdout and stderr; -1 to tell the runtime what they
			   say */
	int null;	/* /dev/null, checked by its device number; -1 until it is needed */
	int empty;	/* a detached, empty, read-only tmpfs that masks directories; -1 until it is
			   needed */
	uint32_t index; /* of the present operation */
	int slots[SLOTS_MAX]; /* descriptors named by the plan */
	const char *state;    /* the container's state for hooks, as the runtime sent it last */
	size_t state_size;
	char home[PATH_MAX]; /* "HOME=…", if it was looked up */
	struct message failure;
};

/* Note that `call` failed with errno, on `detail` (may be NULL). Always -1, so: return fail(...).
 */
int fail(struct init *init, const char *call, const char *detail);
/* The same with an error number of our own. */
int fail_with(struct init *init, int error, const char *call, const char *detail);

/* channel.c */
int send_message(struct init *init, struct message *message, int fd);
int sync_with_runtime(struct init *init, uint32_t type, uint32_t value, int fd);
int receive_reply(struct init *init, int socket);
int receive_plan(struct init *init);

/* path.c: every path inside the rootfs goes through these */
#define RESOLVE_INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
int open_inside(struct init *init, const char *path, uint64_t flags, uint64_t resolve);
int make_parent(struct init *init, const char *path, char name[256]);
int open_parent(struct init *init, const char *path, char name[256]);
int make_directory(struct init *init, const char *path, mode_t mode);
int make_file(struct init *init, const char *path);
int fd_path(int fd, char buffer[32]);

/* rootfs.c */
int place_symlink(struct init *init, const char *target, const char *destination,
		  uint32_t existing);

/* procfs.c */
int open_procfs(struct init *init);
int write_proc(struct init *init, const char *path, const char *value);

/* mounts.c */
int attach(struct init *init, int mount, int target, const char *destination);
int set_attributes(struct init *init, int fd, unsigned at_flags, struct mount_attr attr,
		   const char *path);

/* copy.c */
int copy_tree(struct init *init, int from, int to);

/* slots */
int slot_fd(struct init *init, uint32_t slot);
int put_slot(struct init *init, uint32_t slot, int fd);

#endif
