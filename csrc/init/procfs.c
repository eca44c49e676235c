/* Writing to procfs. A container's /proc may be covered by anything (CVE-2019-16884,
 * CVE-2025-52881), so writes go through a procfs instance of our own, mounted nowhere. */
#include "init.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define PROC_ROOT_INO 1

int open_procfs(struct init *init)
{
	if (init->procfs >= 0)
		return 0;
	cleanup_fd int fs = sys_fsopen("proc", FSOPEN_CLOEXEC);

	if (fs >= 0 && sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		init->procfs = sys_fsmount(
		    fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (init->procfs >= 0)
		return 0;
	/* In a user namespace the kernel refuses where the visible procfs is itself partly covered.
	 * Then the /proc that is there will do, if it is the root of a procfs; the files in it are
	 * checked again by write_proc. */
	struct statfs fs_info;
	struct stat info;
	cleanup_fd int fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstatfs(fd, &fs_info) < 0 || fstat(fd, &info) < 0)
		return fail(init, "open", "/proc");
	if (fs_info.f_type != PROC_SUPER_MAGIC || info.st_ino != PROC_ROOT_INO)
		return fail_with(init, EPERM, "fsopen", "/proc is not a procfs");
	init->procfs = take_fd(&fd);
	return 0;
}

int write_proc(struct init *init, const char *path, const char *value)
{
	if (open_procfs(init) < 0)
		return -1;
	/* no symlink and no mount may lie on the way */
	cleanup_fd int fd = sys_openat2(init->procfs, path, O_WRONLY | O_CLOEXEC, 0,
					RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	struct statfs fs_info;

	if (fd < 0)
		return fail(init, "openat2", path);
	if (fstatfs(fd, &fs_info) < 0 || fs_info.f_type != PROC_SUPER_MAGIC)
		return fail_with(init, EPERM, "fstatfs", path);
	size_t size = strlen(value);

	if (write(fd, value, size) != (ssize_t)size)
		return fail(init, "write", path);
	return 0;
}

int op_write_sysctl(struct init *init, const struct write_sysctl *op)
{
	char path[512] = "sys/";

	if (strlen(op->path) >= sizeof path - 5)
		return fail_with(init, ENAMETOOLONG, "openat2", op->path);
	strcat(path, op->path);
	return write_proc(init, path, op->value);
}

int op_set_label(struct init *init, const struct set_label *op)
{
	char path[128] = "thread-self/attr/";

	if (strlen(op->attribute) >= sizeof path - 20)
		return fail_with(init, ENAMETOOLONG, "openat2", op->attribute);
	strcat(path, op->attribute);
	return write_proc(init, path, op->label);
}

int op_set_file_label(struct init *init, const struct set_file_label *op)
{
	char path[32];
	cleanup_fd int fd = open_inside(init, op->destination, O_PATH, 0);

	if (fd < 0)
		return fail(init, "openat2", op->destination);
	fd_path(fd, path);
	if (setxattr(path, "security.selinux", op->label, strlen(op->label) + 1, 0) < 0)
		return fail(init, "setxattr", op->destination);
	return 0;
}
