/* Paths inside the rootfs. The rootfs belongs to an attacker, and another container sharing a
 * volume may change it while we look at it: so a path is never used as text twice, never followed
 * out of the root, and no magic link is followed. */
#include "init.h"

#include <limits.h>
#include <sys/stat.h>

int fd_path(int fd, char buffer[32])
{
	static const char prefix[] = "/proc/self/fd/";
	char digits[12];
	int count = 0, at = sizeof prefix - 1;

	memcpy(buffer, prefix, sizeof prefix - 1);
	do
		digits[count++] = (char)('0' + fd % 10);
	while ((fd /= 10) > 0);
	while (count > 0)
		buffer[at++] = digits[--count];
	buffer[at] = '\0';
	return 0;
}

/* openat2 below the rootfs; EAGAIN means that a rename elsewhere raced with a "..", so try again.
 */
int open_inside(struct init *init, const char *path, uint64_t flags, uint64_t resolve)
{
	int fd;

	for (int tries = 0; tries < 128; tries++) {
		fd =
		    sys_openat2(init->rootfs, path, flags | O_CLOEXEC, 0, RESOLVE_INSIDE | resolve);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd;
}

/* Put into `out` the path that results when the component path[start..end) is the symlink `link`.
 */
static int splice_link(const char *path, size_t start, size_t end, const char *link,
		       char out[PATH_MAX])
{
	size_t prefix = link[0] == '/' ? 0 : start;
	size_t link_size = strlen(link), rest = strlen(path + end);

	if (prefix + link_size + rest >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memmove(out + prefix + link_size, path + end, rest + 1);
	memmove(out, path, prefix);
	memcpy(out + prefix, link, link_size);
	return 0;
}

/* The longest part of `path` that exists, as a descriptor; *done tells how long that part is. */
static int open_existing(struct init *init, const char *path, size_t *done)
{
	char prefix[PATH_MAX];
	int fd;

	memcpy(prefix, path, *done);
	prefix[*done] = '\0';
	while ((fd = open_inside(init, *done ? prefix : "/", O_PATH | O_DIRECTORY, 0)) < 0) {
		if (errno != ENOENT || *done == 0)
			return -1;
		while (*done > 0 && prefix[*done - 1] == '/')
			--*done;
		while (*done > 0 && prefix[*done - 1] != '/')
			--*done;
		prefix[*done] = '\0';
	}
	return fd;
}

/* Open the directory path[0..length), making what is missing. The kernel resolves the part that
 * exists inside the root; the rest is made one component at a time, each relative to the descriptor
 * of the last. A dangling symlink among them is followed as the container would see it. */
static int open_directories(struct init *init, const char *given, size_t length, mode_t mode)
{
	char path[PATH_MAX];

	if (length >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(path, given, length);
	path[length] = '\0';

	size_t done = length;
	int links = 0, fd = open_existing(init, path, &done);

	while (fd >= 0) {
		char name[256], link[PATH_MAX];
		size_t start = done, end;

		while (path[start] == '/')
			start++;
		for (end = start; path[end] && path[end] != '/';)
			end++;
		if (end == start)
			return fd;
		if (end - start >= sizeof name) {
			errno = ENAMETOOLONG;
			break;
		}
		memcpy(name, path + start, end - start);
		name[end - start] = '\0';
		/* a ".." below a directory that does not exist has no meaning to the kernel either
		 */
		if (strcmp(name, "..") == 0) {
			errno = ENOENT;
			break;
		}
		if (mkdirat(fd, name, mode) < 0 && errno != EEXIST)
			break;
		ssize_t size = readlinkat(fd, name, link, sizeof link - 1);

		if (size > 0) {
			link[size] = '\0';
			if (++links > 40) {
				errno = ELOOP;
				break;
			}
			if (splice_link(path, start, end, link, path) < 0)
				break;
			close(fd);
			done = strlen(path);
			fd = open_existing(init, path, &done);
			continue;
		}
		int next = sys_openat2(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
				       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);

		close_fd(&fd);
		fd = next;
		done = end;
	}
	close_fd(&fd);
	return -1;
}

/* Open (O_PATH) the directory `path` inside the rootfs, making it with its parents if need be. */
int make_directory(struct init *init, const char *path, mode_t mode)
{
	return open_directories(init, path, strlen(path), mode);
}

static size_t last_component(const char *path, size_t *end)
{
	*end = strlen(path);
	while (*end > 0 && path[*end - 1] == '/')
		--*end;
	size_t start = *end;

	while (start > 0 && path[start - 1] != '/')
		start--;
	return start;
}

/* The last component of `path` in `name`; where it starts, or -1. */
static ssize_t split_path(const char *path, char name[256])
{
	size_t end, start = last_component(path, &end);

	if (end - start >= 256 || end == start) {
		errno = end == start ? EISDIR : ENAMETOOLONG;
		return -1;
	}
	memcpy(name, path + start, end - start);
	name[end - start] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		errno = EISDIR;
		return -1;
	}
	return (ssize_t)start;
}

/* Open the directory that holds `path`, making it if need be, and return the last component in
 * `name`. */
int make_parent(struct init *init, const char *path, char name[256])
{
	ssize_t start = split_path(path, name);

	return start < 0 ? -1 : open_directories(init, path, (size_t)start, 0755);
}

/* Open the directory that holds `path`, by way of no symbolic link. */
int open_parent(struct init *init, const char *path, char name[256])
{
	char directory[PATH_MAX];
	ssize_t start = split_path(path, name);

	if (start < 0)
		return -1;
	if ((size_t)start >= sizeof directory) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(directory, path, (size_t)start);
	directory[start] = '\0';
	return open_inside(init, start ? directory : "/", O_PATH | O_DIRECTORY,
			   RESOLVE_NO_SYMLINKS);
}

/* Open (O_PATH) the file `path` inside the rootfs to be mounted over, making an empty one if need
 * be. */
int make_file(struct init *init, const char *given)
{
	char path[PATH_MAX], name[256], link[PATH_MAX];

	if (strlen(given) >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(path, given);
	for (int links = 0; links <= 40; links++) {
		int fd = open_inside(init, path, O_PATH, 0);

		if (fd >= 0 || errno != ENOENT)
			return fd;
		cleanup_fd int parent = make_parent(init, path, name);

		if (parent < 0)
			return -1;
		/* O_EXCL: a symlink put here meanwhile is not followed */
		fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
			    0644);
		if (fd >= 0) {
			close(fd);
			return sys_openat2(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
					   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		}
		if (errno != EEXIST)
			return -1;
		/* a dangling symlink: what it points to is made, inside the root */
		ssize_t size = readlinkat(parent, name, link, sizeof link - 1);

		if (size <= 0)
			return -1;
		link[size] = '\0';
		size_t end, start = last_component(path, &end);

		path[end] = '\0';
		if (splice_link(path, start, end, link, path) < 0)
			return -1;
	}
	errno = ELOOP;
	return -1;
}
