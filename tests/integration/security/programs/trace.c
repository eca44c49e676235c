/* What this process can reach of another one: trace PID. */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char *const files[] = {"exe", "cwd", "root", "ns/mnt"};
	char path[64], target[256];
	int pid = argc > 1 ? atoi(argv[1]) : 1;

	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
		if (readlink(path, target, sizeof target) >= 0)
			printf("link %s\n", files[i]);
	}
	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	DIR *fds = opendir(path);
	struct dirent *entry;

	while (fds && (entry = readdir(fds)))
		if (readlinkat(dirfd(fds), entry->d_name, target, sizeof target) >= 0)
			printf("fd %s\n", entry->d_name);
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	if (open(path, O_RDWR) >= 0)
		printf("mem\n");
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0)
		printf("ptrace\n");
	printf("done\n");
}
