/* All that a process in a container can reach, a line each. Run as the container's program, and by
 * exec. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat info;

	while (directory && (entry = readdir(directory))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(directory) || fstat(fd, &info) < 0)
			continue;
		printf("fd %d type %o flags %o close-on-exec %d\n", fd, info.st_mode & S_IFMT,
		       fcntl(fd, F_GETFL) & O_ACCMODE, fcntl(fd, F_GETFD));
	}
	closedir(directory);
}

static void environment(void)
{
	for (char **entry = environ; *entry; entry++)
		printf("environ %s\n", *entry);
}

/* A mount that only hides or protects what is there anyway. */
static bool is_shield(const char *point, const char *type)
{
	bool kernel = !strncmp(point, "/proc/", 6) || !strncmp(point, "/sys/", 5);
	struct stat info;

	if (!kernel || !strcmp(type, "proc") || !strcmp(type, "sysfs"))
		return kernel;
	if (lstat(point, &info) == 0 && S_ISCHR(info.st_mode))
		return info.st_rdev == (dev_t)(1 << 8 | 3);
	DIR *directory = opendir(point);
	int entries = 0;

	while (directory && readdir(directory))
		entries++;
	if (directory)
		closedir(directory);
	return directory && entries <= 2;
}

/* Which mounts there are, and what each allows. */
static void mounts(void)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} limits[] = {{ST_RDONLY, "writing"},
		      {ST_NOSUID, "set-user-id"},
		      {ST_NODEV, "devices"},
		      {ST_NOEXEC, "execution"}};
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096], point[1024], type[64];

	while (file && fgets(line, sizeof line, file)) {
		char *rest = strstr(line, " - ");
		struct statvfs info;

		if (!rest || sscanf(line, "%*s %*s %*s %*s %1023s", point) != 1 ||
		    sscanf(rest, " - %63s", type) != 1)
			continue;
		if (strstr(line, " shared:"))
			printf("mount %s is a peer of others\n", point);
		if (strstr(line, " master:"))
			printf("mount %s receives those of the host\n", point);
		if (is_shield(point, type))
			continue;
		printf("mount %s %s\n", point, type);
		if (statvfs(point, &info) < 0)
			continue;
		for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++)
			if (!(info.f_flag & limits[i].flag))
				printf("mount %s allows %s\n", point, limits[i].name);
	}
	if (file)
		fclose(file);
}

/* Those of the host are given as "TYPE=LINK" arguments. */
static void namespaces(int count, char **host)
{
	char path[64], link[64];

	for (int i = 0; i < count; i++) {
		char *equals = strchr(host[i], '=');
		ssize_t size;

		if (!equals)
			continue;
		snprintf(path, sizeof path, "/proc/self/ns/%.*s", (int)(equals - host[i]), host[i]);
		size = readlink(path, link, sizeof link - 1);
		link[size < 0 ? 0 : size] = '\0';
		if (!strcmp(link, equals + 1))
			printf("namespace of the host: %.*s\n", (int)(equals - host[i]), host[i]);
	}
}

static void privileges(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[4096];

	while (file && fgets(line, sizeof line, file)) {
		static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd",
						   "CapAmb"};
		unsigned long long bits;

		for (unsigned i = 0; i < sizeof sets / sizeof *sets; i++)
			if (!strncmp(line, sets[i], 6) && sscanf(line + 7, "%llx", &bits) == 1)
				for (int bit = 0; bit < 64; bit++)
					if (bits >> bit & 1)
						printf("capability %s %d\n", sets[i], bit);
		static const char *const ids[] = {"Uid:", "Gid:", "Groups:"};

		for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++)
			if (!strncmp(line, ids[i], strlen(ids[i])))
				printf("ids %s", line);
		static const char *const signals[] = {"SigBlk", "SigIgn"};

		for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
			if (!strncmp(line, signals[i], 6) && strtoull(line + 7, NULL, 16))
				printf("signals %s", line);
	}
	if (file)
		fclose(file);
	if (!prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))
		printf("may gain privileges\n");
	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) <= 0)
		printf("no seccomp\n");
	if (!prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
		printf("the program is not dumpable\n");
	printf("securebits %x\n", (unsigned)prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit limit;

		getrlimit((__rlimit_resource_t)i, &limit);
		printf("rlimit %d %llu %llu\n", i, (unsigned long long)limit.rlim_cur,
		       (unsigned long long)limit.rlim_max);
	}
}

static const char *below;

static int look(const char *path, const struct stat *info, int type, struct FTW *where)
{
	/* processes are looked at apart */
	if (!strncmp(path, "/proc/", 6) && (path[6] >= '0' && path[6] <= '9') && where->level > 0)
		return FTW_SKIP_SUBTREE;
	if (!strncmp(path, "/proc/self", 10) || !strncmp(path, "/proc/thread-self", 17))
		return FTW_SKIP_SUBTREE;
	if (type == FTW_SL)
		return FTW_CONTINUE;
	if (S_ISREG(info->st_mode)) {
		int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0) {
			printf("writable %s\n", path);
			close(fd);
		}
	} else if (S_ISDIR(info->st_mode) && access(path, W_OK) == 0) {
		/* the cgroups have the container's own names */
		if (strncmp(path, "/sys/fs/cgroup", 14) || where->level < 2)
			printf("writable directory %s\n", path);
	}
	return FTW_CONTINUE;
}

static void kernel_files(void)
{
	static const char *const trees[] = {"/proc", "/sys"};

	for (unsigned i = 0; i < 2; i++) {
		below = trees[i];
		nftw(below, look, 32, FTW_PHYS | FTW_ACTIONRETVAL);
	}
	static const char *const secrets[] = {
	    "/proc/kcore",	    "/proc/keys",	   "/proc/key-users",	"/proc/timer_list",
	    "/proc/sched_debug",    "/proc/latency_stats", "/proc/interrupts",	"/proc/kmsg",
	    "/proc/kallsyms",	    "/proc/slabinfo",	   "/proc/vmallocinfo", "/proc/config.gz",
	    "/sys/kernel/security", "/sys/kernel/debug",   "/sys/firmware",	"/sys/fs/bpf"};
	char byte;

	for (unsigned i = 0; i < sizeof secrets / sizeof *secrets; i++) {
		int fd = open(secrets[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0 && read(fd, &byte, 1) == 1)
			printf("readable %s\n", secrets[i]);
		close(fd);
		DIR *directory = opendir(secrets[i]);
		struct dirent *entry;

		while (directory && (entry = readdir(directory)))
			if (entry->d_name[0] != '.')
				printf("entry %s/%s\n", secrets[i], entry->d_name);
		if (directory)
			closedir(directory);
	}
}

static void keyrings(void)
{
	static const int rings[] = {KEY_SPEC_THREAD_KEYRING, KEY_SPEC_PROCESS_KEYRING,
				    KEY_SPEC_SESSION_KEYRING, KEY_SPEC_USER_KEYRING,
				    KEY_SPEC_USER_SESSION_KEYRING};
	int keys[256];

	for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++) {
		long size = syscall(SYS_keyctl, KEYCTL_READ, rings[i], keys, sizeof keys);

		if (size >= 0)
			printf("keyring %d readable\n", rings[i]);
		for (long key = 0; key < size / 4; key++)
			printf("keyring %d holds key %ld\n", rings[i], key);
	}
}

static void processes(void)
{
	DIR *directory = opendir("/proc");
	struct dirent *entry;
	static const char *const files[] = {"exe", "root", "cwd", "fd/0", "ns/mnt"};

	while (directory && (entry = readdir(directory))) {
		int pid = atoi(entry->d_name);
		char path[64], link[4096];

		if (pid <= 0 || pid == getpid())
			continue;
		printf("process %s\n", pid == 1 ? "1" : "other");
		for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
			snprintf(path, sizeof path, "/proc/%d/%s", pid, files[i]);
			if (readlink(path, link, sizeof link) >= 0)
				printf("process %s %s\n", pid == 1 ? "1" : "other", files[i]);
		}
		if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0) {
			printf("ptrace %s\n", pid == 1 ? "1" : "other");
			ptrace(PTRACE_DETACH, pid, NULL, NULL);
		}
	}
	closedir(directory);
	int fd = open("/proc/self/exe", O_WRONLY | O_CLOEXEC);
	char link[4096];
	ssize_t size = readlink("/proc/self/exe", link, sizeof link - 1);

	if (fd >= 0)
		printf("own program is writable\n");
	if (size > 0)
		printf("own program %.*s\n", (int)size, link);
}

static void cgroups(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[4096];

	/* the path, if any is seen, begins with what the host calls it */
	while (file && fgets(line, sizeof line, file)) {
		char *path = strchr(strchr(line, ':') + 1, ':') + 1;

		if (strcmp(path, "/\n"))
			printf("cgroup path of the host in %.*s\n", (int)(path - line - 1),
			       strchr(line, ':') + 1);
	}
	if (file)
		fclose(file);
}

static int look_at_device(const char *path, const struct stat *info, int type, struct FTW *where)
{
	(void)type;
	(void)where;
	if (S_ISCHR(info->st_mode) || S_ISBLK(info->st_mode)) {
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		printf("device %s %s %lu:%lu mode %o\n", path, fd >= 0 ? "opens" : "is there",
		       (unsigned long)(info->st_rdev >> 8 & 0xfff),
		       (unsigned long)(info->st_rdev & 0xff), info->st_mode & 07777);
		if (fd >= 0)
			close(fd);
	}
	return FTW_CONTINUE;
}

/* What can be made and opened though nobody offers it. */
static void new_devices(void)
{
	static const struct {
		mode_t kind;
		unsigned major, minor;
	} devices[] = {{S_IFCHR, 1, 1}, {S_IFCHR, 1, 2}, {S_IFCHR, 1, 11},  {S_IFCHR, 10, 229},
		       {S_IFBLK, 8, 0}, {S_IFBLK, 7, 0}, {S_IFBLK, 254, 0}, {S_IFCHR, 5, 1}};

	for (unsigned i = 0; i < sizeof devices / sizeof *devices; i++) {
		dev_t device = (dev_t)devices[i].major << 8 | devices[i].minor;

		unlink("/tmp/node");
		if (mknod("/tmp/node", devices[i].kind | 0600, device) == 0) {
			int fd = open("/tmp/node", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

			printf("made node %u:%u%s\n", devices[i].major, devices[i].minor,
			       fd >= 0 || errno != EPERM ? ", and may open it" : "");
			if (fd >= 0)
				close(fd);
		}
	}
	unlink("/tmp/node");
}

int main(int argc, char **argv)
{
	descriptors();
	environment();
	namespaces(argc - 1, argv + 1);
	privileges();
	mounts();
	kernel_files();
	keyrings();
	processes();
	cgroups();
	nftw("/dev", look_at_device, 16, FTW_PHYS | FTW_ACTIONRETVAL);
	new_devices();
	printf("umask %o\n", umask(0));
	printf("done\n");
}
