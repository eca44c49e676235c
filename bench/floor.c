// SPDX-License-Identifier: Apache-2.0
//
// What the kernel itself takes for a container, and no runtime can do without: `floor ROOTFS NAME
// PROGRAM` makes a cgroup in each hierarchy, a process in new namespaces, the usual mounts, a new
// root, runs the program there, and takes the cgroups away. There is no configuration, no check and
// no state.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_HIERARCHIES 24

static char cgroups[MAX_HIERARCHIES][PATH_MAX];
static int cgroup_count;

static void check(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(1);
}

// An empty cpuset takes no processes: give it what its parent has.
static void fill_cpuset(const char *path)
{
	static const char *const names[] = {"cpuset.cpus", "cpuset.mems"};
	int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int parent = openat(directory, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char value[256];
	ssize_t length;
	int from, into;

	for (int i = 0; i < 2; i++) {
		from = openat(parent, names[i], O_RDONLY | O_CLOEXEC);
		if (from < 0)
			continue;
		into = openat(directory, names[i], O_WRONLY | O_CLOEXEC);
		length = read(from, value, sizeof(value));
		check(length > 0 && write(into, value, (size_t)length) == length, path);
		close(into);
		close(from);
	}
	close(parent);
	close(directory);
}

// A directory `name` in each hierarchy below /sys/fs/cgroup, or in that one itself where it is
// cgroup v2.
static void make_cgroups(const char *name)
{
	DIR *parent;
	struct dirent *entry;
	char *path;

	if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0) {
		snprintf(cgroups[cgroup_count++], PATH_MAX, "/sys/fs/cgroup/%s", name);
	} else {
		parent = opendir("/sys/fs/cgroup");
		check(parent != NULL, "/sys/fs/cgroup");
		while (cgroup_count < MAX_HIERARCHIES && (entry = readdir(parent))) {
			path = cgroups[cgroup_count];
			snprintf(path, PATH_MAX, "/sys/fs/cgroup/%s/cgroup.procs", entry->d_name);
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
			    access(path, F_OK) != 0)
				continue;
			snprintf(path, PATH_MAX, "/sys/fs/cgroup/%s/%s", entry->d_name, name);
			cgroup_count++;
		}
		closedir(parent);
	}
	for (int i = 0; i < cgroup_count; i++) {
		check(mkdir(cgroups[i], 0755) == 0, cgroups[i]);
		if (strstr(cgroups[i], "/cpuset/"))
			fill_cpuset(cgroups[i]);
	}
}

static void join_cgroups(void)
{
	int directory, file;

	for (int i = 0; i < cgroup_count; i++) {
		directory = open(cgroups[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		file = openat(directory, "tasks", O_WRONLY | O_CLOEXEC);
		if (file < 0) // the kernel moves a process to another cgroup v2 by this one only
			file = openat(directory, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		check(file >= 0 && write(file, "0", 1) == 1, cgroups[i]);
		close(file);
		close(directory);
	}
}

static void mount_all(void)
{
	static const struct {
		const char *type, *target, *data;
		unsigned long flags;
	} mounts[] = {
	    {"proc", "proc", "", 0},
	    {"tmpfs", "dev", "mode=755,size=65536k", MS_NOSUID | MS_STRICTATIME},
	    {"devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620", MS_NOSUID | MS_NOEXEC},
	    {"tmpfs", "dev/shm", "mode=1777,size=65536k", MS_NOSUID | MS_NOEXEC | MS_NODEV},
	    {"mqueue", "dev/mqueue", "", MS_NOSUID | MS_NOEXEC | MS_NODEV},
	    {"sysfs", "sys", "", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		if (!strncmp(mounts[i].target, "dev/", 4))
			check(mkdir(mounts[i].target, 0755) == 0, mounts[i].target);
		check(mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
			    mounts[i].data) == 0,
		      mounts[i].target);
	}
}

__attribute__((noreturn)) static void become(const char *rootfs, char **program)
{
	join_cgroups();
	check(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0, "/");
	check(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL) == 0 && chdir(rootfs) == 0,
	      rootfs);
	mount_all();
	check(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
		  chdir("/") == 0,
	      "pivot_root");
	check(sethostname("floor", 5) == 0, "sethostname");
	execv(program[0], program);
	check(false, program[0]);
	_exit(1);
}

int main(int argc, char **argv)
{
	struct clone_args args = {
	    .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
		     CLONE_VFORK,
	    .exit_signal = SIGCHLD,
	};
	int status = 0;
	pid_t pid;

	check(argc >= 4, "usage: floor ROOTFS NAME PROGRAM [ARGUMENT...]");
	make_cgroups(argv[2]);
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	check(pid >= 0, "clone3");
	if (pid == 0)
		become(argv[1], argv + 3);
	check(waitpid(pid, &status, 0) == pid, "waitpid");
	for (int i = 0; i < cgroup_count; i++)
		while (rmdir(cgroups[i]) != 0)
			check(errno == EBUSY, cgroups[i]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
