/* tmpcopyup: what lies under the destination is copied into the new tmpfs before that is attached
 * over it. */
#include "init.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define DEPTH_MAX 128

static int copy_xattrs(int from, int to)
{
	char names[4096], value[4096], source[32], target[32];

	fd_path(from, source);
	fd_path(to, target);
	ssize_t size = listxattr(source, names, sizeof names);

	if (size <= 0)
		return 0; /* none, or a filesystem without them */
	for (char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t length = getxattr(source, name, value, sizeof value);

		if (length >= 0 && setxattr(target, name, value, (size_t)length, 0) < 0 &&
		    errno != ENOTSUP && errno != EPERM)
			return -1;
	}
	return 0;
}

static int copy_attributes(int from, int to, const struct stat *info)
{
	char path[32];
	const struct timespec times[2] = {info->st_atim, info->st_mtim};

	fd_path(to, path);
	if (fchownat(to, "", info->st_uid, info->st_gid, AT_EMPTY_PATH) < 0 ||
	    chmod(path, info->st_mode & 07777) < 0)
		return -1;
	if (copy_xattrs(from, to) < 0)
		return -1;
	return utimensat(AT_FDCWD, path, times, 0);
}

static int copy_data(int from, int to)
{
	char buffer[16384];
	ssize_t got;

	while ((got = read(from, buffer, sizeof buffer)) > 0) {
		for (ssize_t done = 0; done < got;) {
			ssize_t put = write(to, buffer + done, (size_t)(got - done));

			if (put < 0)
				return -1;
			done += put;
		}
	}
	return got < 0 ? -1 : 0;
}

static int copy_directory(int from, int to, int depth);

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat info;
	char link[PATH_MAX];

	if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	switch (info.st_mode & S_IFMT) {
	case S_IFDIR: {
		cleanup_fd int source =
		    openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (source < 0 || mkdirat(to, name, 0700) < 0)
			return -1;
		cleanup_fd int target =
		    openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (target < 0 || copy_directory(source, target, depth + 1) < 0)
			return -1;
		return copy_attributes(source, target, &info);
	}
	case S_IFREG: {
		/* O_NONBLOCK: should a fifo have been put in its place, this must not hang */
		cleanup_fd int source =
		    openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		cleanup_fd int target =
		    openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

		/* nor may a device that was put there be read */
		if (source < 0 || fstat(source, &info) < 0 || !S_ISREG(info.st_mode) ||
		    target < 0 || copy_data(source, target) < 0)
			return -1;
		return copy_attributes(source, target, &info);
	}
	case S_IFLNK: {
		ssize_t size = readlinkat(from, name, link, sizeof link - 1);

		if (size < 0)
			return -1;
		link[size] = '\0';
		if (symlinkat(link, to, name) < 0)
			return -1;
		return fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW);
	}
	default:
		if (mknodat(to, name, info.st_mode, info.st_rdev) < 0)
			return -1;
		return fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW);
	}
}

static int copy_directory(int from, int to, int depth)
{
	struct dirent *entry;
	int again = dup(from), result = 0;
	DIR *directory = again < 0 ? NULL : fdopendir(again);

	if (!directory) {
		close_fd(&again);
		return -1;
	}
	if (depth > DEPTH_MAX) {
		errno = ELOOP;
		result = -1;
	}
	while (result == 0 && (entry = readdir(directory))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		result = copy_entry(from, to, entry->d_name, depth);
	}
	int saved = errno;

	closedir(directory);
	errno = saved;
	return result;
}

/* Copy what is in the directory `from` (O_PATH) into the mount `to`, and the directory's own
 * attributes. */
int copy_tree(struct init *init, int from, int to)
{
	struct stat info;
	cleanup_fd int source = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int target = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (source < 0 || target < 0 || fstat(source, &info) < 0 ||
	    copy_directory(source, target, 0) < 0)
		return fail(init, "tmpcopyup", NULL);
	return copy_attributes(source, target, &info) < 0 ? fail(init, "tmpcopyup", NULL) : 0;
}
