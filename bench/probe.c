// SPDX-License-Identifier: Apache-2.0
//
// Runs a program and measures it: `probe FD PROGRAM ARGUMENT...` writes one line to FD:
//
//     NANOSECONDS USER_MICROSECONDS SYSTEM_MICROSECONDS PEAK_KIB FAULTS STATUS
//
// A program of its own, as the kernel counts what a process had before execve(2) as its peak
// memory: this one has next to nothing.

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long microseconds(struct timeval time)
{
	return time.tv_sec * 1000000LL + time.tv_usec;
}

int main(int argc, char **argv)
{
	struct rusage used;
	long long begin, end;
	int status;
	pid_t pid;

	if (argc < 3)
		return 2;
	begin = nanoseconds();
	if (posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0) {
		perror(argv[2]);
		return 127;
	}
	if (wait4(pid, &status, 0, &used) < 0)
		return 1;
	end = nanoseconds();
	dprintf(atoi(argv[1]), "%lld %lld %lld %ld %ld %d\n", end - begin,
		microseconds(used.ru_utime), microseconds(used.ru_stime), used.ru_maxrss,
		used.ru_minflt + used.ru_majflt,
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}
