#include "files.h"

#include "../common/sys.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

ssize_t pyrunc_read(const char *path, char *buffer, size_t size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t read_so_far = 0;
	ssize_t count = 1;

	if (fd < 0)
		return -1;
	while (count > 0 && read_so_far < size) {
		count = read(fd, buffer + read_so_far, size - read_so_far);
		if (count < 0)
			return -1;
		read_so_far += (size_t)count;
	}
	return (ssize_t)read_so_far;
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t count = write(fd, data, size);

		if (count < 0)
			return -1;
		data += count;
		size -= (size_t)count;
	}
	return 0;
}

int pyrunc_replace(const char *path, const char *beside, const char *data, size_t size)
{
	cleanup_fd int fd =
	    open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	return fd < 0 || write_all(fd, data, size) < 0 ? -1 : rename(beside, path);
}

int pyrunc_lock(const char *directory)
{
	cleanup_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat locked, there;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &locked) < 0 ||
	    stat(directory, &there) < 0)
		return -1;
	if (locked.st_dev != there.st_dev || locked.st_ino != there.st_ino) {
		errno = ESTALE;
		return -1;
	}
	return take_fd(&fd);
}

static void close_directory(DIR **directory)
{
	if (*directory != NULL) {
		int saved = errno;

		closedir(*directory);
		errno = saved;
	}
}

int pyrunc_clear(const char *path)
{
	__attribute__((cleanup(close_directory))) DIR *directory = opendir(path);
	const struct dirent *entry;

	if (directory == NULL)
		return -1;
	while (errno = 0, (entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(directory), entry->d_name, 0) < 0)
			return -1;
	}
	return errno != 0 ? -1 : rmdir(path);
}

long long pyrunc_mount_id(const char *path)
{
	struct statx info;

	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &info) < 0)
		return -1;
	return (long long)info.stx_mnt_id;
}
