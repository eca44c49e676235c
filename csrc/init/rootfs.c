/* The root filesystem: opening it, populating it, entering it. */
#include "init.h"

#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int op_set_propagation(struct init *init, const struct set_propagation *op)
{
	if (sys_mount(NULL, op->path, NULL, op->flags, NULL) < 0)
		return fail(init, "mount", op->path);
	return 0;
}

/* pivot_root wants the parent of the new root not to be shared. Find the mount that holds the
 * rootfs by trying upwards: EINVAL says "not a mount point". */
static int make_parent_private(struct init *init, const char *rootfs)
{
	char path[PATH_MAX];

	if (strlen(rootfs) >= sizeof path)
		return fail_with(init, ENAMETOOLONG, "mount", rootfs);
	strcpy(path, rootfs);
	while (sys_mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0) {
		if (errno != EINVAL || strcmp(path, "/") == 0)
			return fail(init, "mount", path);
		strcpy(path, dirname(path));
	}
	return 0;
}

int op_open_rootfs(struct init *init, const struct open_rootfs *op)
{
	if (op->private && make_parent_private(init, op->path) < 0)
		return -1;
	cleanup_fd int fd =
	    sys_open_tree(AT_FDCWD, op->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0)
		return fail(init, "open_tree", op->path);
	if (sys_move_mount(fd, "", AT_FDCWD, op->path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return fail(init, "move_mount", op->path);
	init->rootfs = take_fd(&fd);
	return 0;
}

int op_make_directory(struct init *init, const struct make_directory *op)
{
	cleanup_fd int fd = make_directory(init, op->destination, op->mode);

	return fd < 0 ? fail(init, "mkdirat", op->destination) : 0;
}

/* Make a symlink at `destination`. One that leads to `target` already is as good; of anything else
 * that is there, `existing` tells what becomes. */
int place_symlink(struct init *init, const char *target, const char *destination, uint32_t existing)
{
	char name[256], link[PATH_MAX];
	cleanup_fd int parent = make_parent(init, destination, name);

	if (parent < 0)
		return fail(init, "openat2", destination);
	if (symlinkat(target, parent, name) == 0 || (errno == EEXIST && existing == LINK_KEEP))
		return 0;
	if (errno == EEXIST) {
		ssize_t size = readlinkat(parent, name, link, sizeof link - 1);

		link[size < 0 ? 0 : size] = '\0';
		if (strcmp(link, target) == 0)
			return 0;
		errno = EEXIST;
		if (existing == LINK_REPLACE && unlinkat(parent, name, 0) == 0 &&
		    symlinkat(target, parent, name) == 0)
			return 0;
	}
	return fail(init, "symlinkat", destination);
}

int op_make_symlink(struct init *init, const struct make_symlink *op)
{
	return place_symlink(init, op->target, op->destination, op->existing);
}

static bool is_node(const struct stat *info, mode_t mode, dev_t device)
{
	return (info->st_mode & S_IFMT) == (mode & S_IFMT) &&
	       (S_ISFIFO(mode) || info->st_rdev == device);
}

int op_make_node(struct init *init, const struct make_node *op)
{
	char name[256];
	struct stat info;
	dev_t device = makedev(op->major, op->minor);
	cleanup_fd int parent = make_parent(init, op->destination, name);

	if (parent < 0)
		return fail(init, "openat2", op->destination);
	if (mknodat(parent, name, op->mode, device) < 0) {
		if (errno != EEXIST)
			return fail(init, "mknodat", op->destination);
		if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
			return fail(init, "fstatat", op->destination);
		if (!is_node(&info, op->mode, device))
			return fail_with(init, EEXIST, "mknodat", op->destination);
		return 0;
	}
	/* The umask took bits off the mode, and the node was ours: set both on the node, and on
	 * nothing that has been put in its place. */
	cleanup_fd int node = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[32];

	if (node < 0 || fstat(node, &info) < 0)
		return fail(init, "openat", op->destination);
	if (!is_node(&info, op->mode, device))
		return fail_with(init, EEXIST, "mknodat", op->destination);
	if ((info.st_uid != op->uid || info.st_gid != op->gid) &&
	    fchownat(node, "", op->uid, op->gid, AT_EMPTY_PATH) < 0)
		return fail(init, "fchownat", op->destination);
	if ((info.st_mode & 07777) == (op->mode & 07777))
		return 0;
	fd_path(node, path);
	return chmod(path, op->mode & 07777) < 0 ? fail(init, "chmod", op->destination) : 0;
}

int op_bind_device(struct init *init, const struct bind_device *op)
{
	struct stat info;
	cleanup_fd int mount =
	    sys_open_tree(AT_FDCWD, op->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (mount < 0)
		return fail(init, "open_tree", op->source);
	if (fstat(mount, &info) < 0)
		return fail(init, "fstat", op->source);
	if (!is_node(&info, op->mode, makedev(op->major, op->minor)))
		return fail_with(init, ENODEV, "fstat", op->source);
	cleanup_fd int target = make_file(init, op->destination);

	if (target < 0)
		return fail(init, "openat2", op->destination);
	return attach(init, mount, target, op->destination);
}

static int enter_root(struct init *init)
{
	return chdir("/") < 0 ? fail(init, "chdir", "/") : 0;
}

int op_pivot_root(struct init *init, const struct pivot_root *op)
{
	(void)op;
	cleanup_fd int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0)
		return fail(init, "open", "/");
	if (fchdir(init->rootfs) < 0)
		return fail(init, "fchdir", "rootfs");
	/* "." twice puts the old root on top of the new one: no directory is needed for it */
	if (sys_pivot_root(".", ".") < 0)
		return fail(init, "pivot_root", NULL);
	if (fchdir(old) < 0)
		return fail(init, "fchdir", "the old root");
	/* the unmount must not reach the host's mounts through a shared tree */
	if (sys_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return fail(init, "mount", "the old root");
	if (sys_umount2(".", MNT_DETACH) < 0)
		return fail(init, "umount2", "the old root");
	return enter_root(init);
}

/* Without pivot_root the host's tree stays mounted below: hide what a fresh /proc or /sys mount
 * could be derived from, so that the container cannot mount a full one (mount_too_revealing). */
int op_move_root(struct init *init, const struct move_root *op)
{
	static const char *const hidden[] = {"/proc", "/sys"};

	(void)op;
	for (unsigned i = 0; i < sizeof hidden / sizeof *hidden; i++) {
		if (sys_mount(NULL, hidden[i], NULL, MS_SLAVE | MS_REC, NULL) < 0 &&
		    errno != EINVAL && errno != ENOENT)
			return fail(init, "mount", hidden[i]);
		if (sys_umount2(hidden[i], MNT_DETACH) == 0)
			continue;
		if (errno == EINVAL || errno == ENOENT)
			continue;
		if (errno != EPERM)
			return fail(init, "umount2", hidden[i]);
		if (sys_mount("tmpfs", hidden[i], "tmpfs", 0, NULL) < 0)
			return fail(init, "mount", hidden[i]);
	}
	if (fchdir(init->rootfs) < 0)
		return fail(init, "fchdir", "rootfs");
	if (sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return fail(init, "mount", "/");
	if (chroot(".") < 0)
		return fail(init, "chroot", NULL);
	return enter_root(init);
}

int op_change_root(struct init *init, const struct change_root *op)
{
	(void)op;
	if (fchdir(init->rootfs) < 0)
		return fail(init, "fchdir", "rootfs");
	if (chroot(".") < 0)
		return fail(init, "chroot", NULL);
	return enter_root(init);
}
