/* Mounts: prepared detached, with their attributes, and only then attached where the destination
 * resolves to. */
#include "init.h"

#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Attach the detached `mount` on the file that `target` refers to. */
int attach(struct init *init, int mount, int target, const char *destination)
{
	if (sys_move_mount(mount, "", target, "",
			   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return fail(init, "move_mount", destination);
	return 0;
}

int set_attributes(struct init *init, int fd, unsigned at_flags, struct mount_attr attr,
		   const char *path)
{
	if (!attr.attr_set && !attr.attr_clr && !attr.propagation)
		return 0;
	/* the kernel wants the old access-time mode cleared whenever a new one is set */
	if (attr.attr_set & MOUNT_ATTR__ATIME || attr.attr_clr & MOUNT_ATTR__ATIME)
		attr.attr_clr |= MOUNT_ATTR__ATIME;
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | at_flags, &attr) < 0)
		return fail(init, "mount_setattr", path);
	return 0;
}

static int set_propagation(struct init *init, int fd, uint32_t flags, const char *path)
{
	struct mount_attr attr = {.propagation = flags & ~(uint32_t)MS_REC};

	return set_attributes(init, fd, flags & MS_REC ? AT_RECURSIVE : 0, attr, path);
}

static int set_idmap(struct init *init, int fd, uint32_t slot, bool recursive, const char *path)
{
	if (slot == NO_SLOT)
		return 0;
	int userns = slot_fd(init, slot);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};

	if (userns < 0)
		return -1;
	return set_attributes(init, fd, recursive ? AT_RECURSIVE : 0, attr, path);
}

/* What the filesystem itself said ("overlay: missing 'lowerdir'") is the better detail. */
static int fail_fs(struct init *init, int fs, const char *call, const char *destination)
{
	char detail[DETAIL_MAX], text[512];
	int saved = errno;
	size_t at = strnlen(destination, sizeof detail / 2);

	memcpy(detail, destination, at);
	detail[at] = '\0';
	for (;;) {
		ssize_t size = read(fs, text, sizeof text - 1);

		if (size <= 0)
			break;
		text[size] = '\0';
		const char *from = size > 2 && text[1] == ' ' ? text + 2 : text;
		size_t length = strcspn(from, "\n");

		if (at + length + 3 >= sizeof detail)
			break;
		memcpy(detail + at, ": ", 2);
		memcpy(detail + at + 2, from, length);
		at += length + 2;
		detail[at] = '\0';
	}
	return fail_with(init, saved, call, detail);
}

static int configure(struct init *init, int fs, const struct texts *options,
		     const char *destination)
{
	for (uint32_t i = 0; i < options->count; i++) {
		char *key = options->items[i], *value = strchr(key, '=');
		int result;

		if (value) {
			char name[256];

			if ((size_t)(value - key) >= sizeof name)
				return fail_with(init, ENAMETOOLONG, "fsconfig", destination);
			memcpy(name, key, (size_t)(value - key));
			name[value - key] = '\0';
			result = sys_fsconfig(fs, FSCONFIG_SET_STRING, name, value + 1, 0);
		} else {
			result = sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
		}
		if (result < 0) {
			char detail[512] = {0};

			strncpy(detail, destination, 255);
			strcat(detail, ": option ");
			strncat(detail, key, 240);
			return fail_fs(init, fs, "fsconfig", detail);
		}
	}
	return 0;
}

/* Flags that fsconfig does not know: mount(2), on the destination's descriptor. */
static int mount_with_flags(struct init *init, const struct mount_filesystem *op, int target)
{
	static const struct {
		uint64_t attr;
		unsigned long flag;
	} table[] = {
	    {MOUNT_ATTR_RDONLY, MS_RDONLY},
	    {MOUNT_ATTR_NOSUID, MS_NOSUID},
	    {MOUNT_ATTR_NODEV, MS_NODEV},
	    {MOUNT_ATTR_NOEXEC, MS_NOEXEC},
	    {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME},
	    {MOUNT_ATTR_NOATIME, MS_NOATIME},
	    {MOUNT_ATTR_STRICTATIME, MS_STRICTATIME},
	    {MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW},
	};
	char path[32], data[4096] = "";
	unsigned long flags = op->ms_flags;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		flags |= op->attrs & table[i].attr ? table[i].flag : 0;
	for (uint32_t i = 0; i < op->options.count; i++) {
		if (strlen(data) + strlen(op->options.items[i]) + 2 > sizeof data)
			return fail_with(init, E2BIG, "mount", op->destination);
		strcat(data, i ? "," : "");
		strcat(data, op->options.items[i]);
	}
	fd_path(target, path);
	if (sys_mount(op->source, path, op->fstype, flags, data) < 0)
		return fail(init, "mount", op->destination);
	return open_inside(init, op->destination, O_PATH | O_DIRECTORY, 0);
}

static int new_filesystem(struct init *init, const struct mount_filesystem *op, const char *mode)
{
	cleanup_fd int fs = sys_fsopen(op->fstype, FSOPEN_CLOEXEC);

	if (fs < 0)
		return fail(init, "fsopen", op->fstype);
	if (*op->source && sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", op->source, 0) < 0)
		return fail_fs(init, fs, "fsconfig", op->destination);
	if (*mode && sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", mode, 0) < 0)
		return fail_fs(init, fs, "fsconfig", op->destination);
	if (configure(init, fs, &op->options, op->destination) < 0)
		return -1;
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail_fs(init, fs, "fsconfig", op->destination);
	int mount = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)op->attrs);

	return mount < 0 ? fail_fs(init, fs, "fsmount", op->destination) : mount;
}

/* The directory to mount on, and, if that is to be kept, the mode of one that was there already. */
static int filesystem_target(struct init *init, const struct mount_filesystem *op, char mode[8])
{
	struct stat info;
	/* A container's image must not send procfs or sysfs elsewhere by a symlink (CVE-2019-19921,
	 * CVE-2023-28642) */
	uint64_t plain = op->flags & FS_NO_SYMLINK ? RESOLVE_NO_SYMLINKS : 0;
	int fd = open_inside(init, op->destination, O_PATH | O_DIRECTORY, plain);

	if (fd < 0 && errno == ENOENT) {
		fd = make_directory(init, op->destination, 0755);
		/* what was missing may have been made by way of a symlink put there since */
		if (fd >= 0 && plain) {
			close(fd);
			fd = open_inside(init, op->destination, O_PATH | O_DIRECTORY, plain);
		}
		return fd;
	}
	if (fd >= 0 && op->flags & FS_KEEP_MODE && fstat(fd, &info) == 0) {
		for (int digit = 0; digit < 4; digit++)
			mode[digit] = (char)('0' + (info.st_mode >> (9 - 3 * digit) & 7));
		mode[4] = '\0';
	}
	return fd;
}

int op_mount_filesystem(struct init *init, const struct mount_filesystem *op)
{
	char mode[8] = "";
	cleanup_fd int target = filesystem_target(init, op, mode);

	if (target < 0)
		return fail(init, "openat2", op->destination);
	cleanup_fd int mount =
	    op->ms_flags ? mount_with_flags(init, op, target) : new_filesystem(init, op, mode);

	if (mount < 0)
		return -1;
	if (op->flags & FS_COPY_UP && copy_tree(init, target, mount) < 0)
		return -1;
	if (!op->ms_flags && attach(init, mount, target, op->destination) < 0)
		return -1;
	return set_propagation(init, mount, op->propagation, op->destination);
}

static int bind_attributes(struct init *init, int fd, uint64_t set, uint64_t clear,
			   unsigned at_flags, const char *path)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear};

	return set_attributes(init, fd, at_flags, attr, path);
}

static unsigned tree_flags(uint32_t flags)
{
	return OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & BIND_RECURSIVE ? AT_RECURSIVE : 0) |
	       (flags & BIND_NO_SYMLINK_SOURCE ? AT_SYMLINK_NOFOLLOW : 0);
}

/* A symlink as source, opened as itself: the same one is made at the destination. */
static int copy_symlink(struct init *init, int source, const char *destination)
{
	char link[PATH_MAX];
	ssize_t size = readlinkat(source, "", link, sizeof link - 1);

	if (size < 0)
		return fail(init, "readlinkat", destination);
	link[size] = '\0';
	return place_symlink(init, link, destination, LINK_REFUSE);
}

int op_mount_bind(struct init *init, const struct mount_bind *op)
{
	struct stat info;
	cleanup_fd int opened = -1;
	int mount;

	if (op->source_slot != NO_SLOT) {
		mount = slot_fd(init, op->source_slot);
		if (mount < 0)
			return -1;
	} else {
		mount = opened = sys_open_tree(AT_FDCWD, op->source, tree_flags(op->flags));
	}
	if (mount < 0)
		return fail(init, "open_tree", op->source);
	if (fstat(mount, &info) < 0)
		return fail(init, "fstat", op->source);
	if (S_ISLNK(info.st_mode))
		return copy_symlink(init, mount, op->destination);
	/* a directory for a directory, and a file for anything else */
	cleanup_fd int target = S_ISDIR(info.st_mode) ? make_directory(init, op->destination, 0755)
						      : make_file(init, op->destination);

	if (target < 0)
		return fail(init, "openat2", op->destination);
	if (bind_attributes(init, mount, op->tree_set, op->tree_clear, AT_RECURSIVE,
			    op->destination) < 0 ||
	    bind_attributes(init, mount, op->attrs_set, op->attrs_clear, 0, op->destination) < 0)
		return -1;
	if (attach(init, mount, target, op->destination) < 0)
		return -1;
	return set_propagation(init, mount, op->propagation, op->destination);
}

int op_change_mount(struct init *init, const struct change_mount *op)
{
	cleanup_fd int target = open_inside(init, op->destination, O_PATH, 0);

	if (target < 0)
		return fail(init, "openat2", op->destination);
	if (op->options.count > 0) {
		cleanup_fd int fs = sys_fspick(target, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);

		if (fs < 0)
			return fail(init, "fspick", op->destination);
		if (configure(init, fs, &op->options, op->destination) < 0)
			return -1;
		if (sys_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
			return fail_fs(init, fs, "fsconfig", op->destination);
	}
	if (bind_attributes(init, target, op->tree_set, op->tree_clear, AT_RECURSIVE,
			    op->destination) < 0 ||
	    bind_attributes(init, target, op->attrs_set, op->attrs_clear, 0, op->destination) < 0)
		return -1;
	return set_propagation(init, target, op->propagation, op->destination);
}

int op_unmount(struct init *init, const struct unmount *op)
{
	struct stat info;
	char name[256];
	int flags = MNT_DETACH | UMOUNT_NOFOLLOW;
	cleanup_fd int fd = open_inside(init, op->destination, O_PATH, RESOLVE_NO_SYMLINKS);

	if (fd < 0 || fstat(fd, &info) < 0)
		return fail(init, "openat2", op->destination);
	/* A descriptor cannot be unmounted, but a working directory can, and a name in one. */
	if (S_ISDIR(info.st_mode)) {
		if (fchdir(fd) < 0)
			return fail(init, "fchdir", op->destination);
		strcpy(name, ".");
	} else {
		cleanup_fd int parent = open_parent(init, op->destination, name);

		if (parent < 0)
			return fail(init, "openat2", op->destination);
		if (fchdir(parent) < 0)
			return fail(init, "fchdir", op->destination);
	}
	if (sys_umount2(name, flags) < 0)
		return fail(init, "umount2", op->destination);
	/* the next one must not find a working directory in what is gone */
	return fchdir(init->rootfs) < 0 ? fail(init, "fchdir", "/") : 0;
}

int op_enter_rootfs(struct init *init, const struct enter_rootfs *op)
{
	return chdir(op->path) < 0 ? fail(init, "chdir", op->path) : 0;
}

int op_open_tree(struct init *init, const struct open_tree *op)
{
	cleanup_fd int fd = sys_open_tree(AT_FDCWD, op->source, tree_flags(op->flags));

	if (fd < 0)
		return fail(init, "open_tree", op->source);
	if (set_idmap(init, fd, op->idmap_slot, op->idmap_recursive, op->source) < 0 ||
	    set_propagation(init, fd, op->propagation, op->source) < 0)
		return -1;
	return put_slot(init, op->slot, take_fd(&fd));
}

int op_readonly_path(struct init *init, const struct readonly_path *op)
{
	cleanup_fd int target = open_inside(init, op->destination, O_PATH, 0);

	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : fail(init, "openat2", op->destination);
	cleanup_fd int mount = sys_open_tree(
	    target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);

	if (mount < 0)
		return fail(init, "open_tree", op->destination);
	if (bind_attributes(init, mount, MOUNT_ATTR_RDONLY, 0, 0, op->destination) < 0)
		return -1;
	return attach(init, mount, target, op->destination);
}

/* The null device that masks files: checked by its number once it is open, so that nothing else
 * that a container puts at /dev/null is ever bound (CVE-2025-31133). */
static int open_null(struct init *init)
{
	struct stat info;

	if (init->null >= 0)
		return 0;
	cleanup_fd int fd = open_inside(init, "/dev/null", O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fail(init, "openat2", "/dev/null");
	if (fstat(fd, &info) < 0 || !S_ISCHR(info.st_mode) || info.st_rdev != 0x103)
		return fail_with(init, ENODEV, "fstat", "/dev/null is not the null device");
	init->null = take_fd(&fd);
	return 0;
}

/* A mount for a masked directory. One empty tmpfs serves all: the first mount of it is made, and
 * the others are clones of that one once it is attached, because before Linux 6.15 no other can be
 * cloned. */
static int empty_mount(struct init *init, const char *label)
{
	if (init->empty >= 0)
		return sys_open_tree(init->empty, "",
				     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	cleanup_fd int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) < 0 ||
	    (*label && sys_fsconfig(fs, FSCONFIG_SET_STRING, "context", label, 0) < 0) ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	init->empty = sys_fsmount(fs, FSMOUNT_CLOEXEC,
				  MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				      MOUNT_ATTR_NOEXEC);
	return init->empty < 0 ? -1 : fcntl(init->empty, F_DUPFD_CLOEXEC, 3);
}

int op_mask_path(struct init *init, const struct mask_path *op)
{
	struct stat info;
	cleanup_fd int target = open_inside(init, op->destination, O_PATH, 0);

	if (target < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : fail(init, "openat2", op->destination);
	if (fstat(target, &info) < 0)
		return fail(init, "fstat", op->destination);
	bool directory = S_ISDIR(info.st_mode);

	if (!directory && open_null(init) < 0)
		return -1;
	cleanup_fd int mount =
	    directory ? empty_mount(init, op->label)
		      : sys_open_tree(init->null, "",
				      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (mount < 0)
		return fail(init, directory ? "fsmount" : "open_tree", op->destination);
	return attach(init, mount, target, op->destination);
}
