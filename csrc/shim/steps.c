#include "steps.h"

#include "../common/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *next(const char *text)
{
	return text + strlen(text) + 1;
}

static int write_file(const char *path, const char *value)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -1 : 0;
}

static int step(char kind, const char *path)
{
	struct stat info;

	switch (kind) {
	case 'd':
		return mkdir(path, 0755);
	case 'r':
		return rmdir(path);
	case 's':
		return stat(path, &info);
	case 'w':
		return write_file(path, next(path));
	default:
		errno = EINVAL;
		return -1;
	}
}

size_t pyrunc_steps(char kind, const char *paths, size_t count)
{
	for (size_t done = 0; done < count; done++) {
		if (step(kind, paths) < 0)
			return done;
		paths = next(kind == 'w' ? next(paths) : paths);
	}
	return count;
}
