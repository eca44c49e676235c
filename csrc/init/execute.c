/* The end of a plan: waiting for start, hooks, the program. */
#include "init.h"

#include "../common/hook.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool ends_process(const struct signalfd_siginfo *info)
{
	switch (info->ssi_signo) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	case SIGXCPU: /* from the kernel it is about what the set-up has used
			 (SCHED_FLAG_DL_OVERRUN) */
		return info->ssi_code != SI_KERNEL;
	default:
		return true;
	}
}

/* Wait for the connection that starts the container. The first process of a pid namespace ignores
 * signals it has no handler for; here it takes those that would end any other program, so that
 * `kill` works before `start`. */
static int accept_start(struct init *init, int listener)
{
	sigset_t all;
	struct signalfd_siginfo info;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	cleanup_fd int signals = signalfd(-1, &all, SFD_CLOEXEC);

	if (signals < 0)
		return fail(init, "signalfd", NULL);
	for (;;) {
		struct pollfd fds[2] = {{.fd = listener, .events = POLLIN},
					{.fd = signals, .events = POLLIN}};

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return fail(init, "poll", NULL);
		if (fds[1].revents && read(signals, &info, sizeof info) == sizeof info &&
		    ends_process(&info))
			_exit(128 + (int)info.ssi_signo);
		if (!fds[0].revents)
			continue;
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno != EINTR && errno != ECONNABORTED)
			return fail(init, "accept4", NULL);
	}
}

int op_wait_for_start(struct init *init, const struct wait_for_start *op)
{
	int listener = slot_fd(init, op->slot);

	if (listener < 0 || sync_with_runtime(init, MESSAGE_READY, 0, -1) < 0)
		return -1;
	int peer = accept_start(init, listener);

	if (peer < 0)
		return -1;
	close(listener);
	init->slots[op->slot] = -1;
	close(init->control);
	init->control = peer;
	return receive_reply(init, peer);
}

static int open_output(struct init *init, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_CLOEXEC, 0644);

	return fd < 0 ? fail(init, "open", path) : fd;
}

int op_open_hook_outputs(struct init *init, const struct open_hook_outputs *op)
{
	if (*op->standard_output)
		init->outputs[0] = open_output(init, op->standard_output);
	if (*op->standard_error)
		init->outputs[1] = open_output(init, op->standard_error);
	return (*op->standard_output && init->outputs[0] < 0) ||
		       (*op->standard_error && init->outputs[1] < 0)
		   ? -1
		   : 0;
}

int op_run_hook(struct init *init, const struct run_hook *op)
{
	struct hook_result result;
	char detail[DETAIL_MAX];

	if (run_hook(op->path, op->args.items, op->env.items, init->state, init->state_size,
		     init->outputs, (long)op->timeout * 1000, &result) == 0)
		return 0;
	/* the call that failed, and what the hook had to say */
	snprintf(detail, sizeof detail, "%.400s\n%s\n%s", op->path, result.error ? result.call : "",
		 result.output);
	fail_with(init, result.error, "hook", detail);
	init->failure.value = (uint32_t)result.status;
	return -1;
}

/* HOME of `uid` by the container's /etc/passwd, which may be anything: "/" where it does not say.
 */
static void find_home(uint32_t uid, char *home, size_t room)
{
	enum { SIZE = 1 << 20 };
	struct stat info;
	cleanup_fd int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	strcpy(home, "/");
	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size == 0)
		return;
	size_t size = info.st_size < SIZE ? (size_t)info.st_size : SIZE;
	char *text =
	    mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (text == MAP_FAILED)
		return;
	ssize_t got = read(fd, text, size);

	if (got <= 0)
		return;
	text[got] = '\0';
	char *rest = text, *line;

	/* name:password:uid:gid:gecos:home:shell */
	while ((line = strsep(&rest, "\n"))) {
		char *fields[7], *end;
		int count = 0;

		while (count < 7 && line)
			fields[count++] = strsep(&line, ":");
		if (count < 6)
			continue;
		unsigned long found = strtoul(fields[2], &end, 10);

		if (end == fields[2] || *end || found != uid)
			continue;
		if (*fields[5] && strlen(fields[5]) < room)
			strcpy(home, fields[5]);
		break;
	}
	munmap(text, size + 1);
}

static const char *lookup(const struct texts *env, const char *name)
{
	size_t length = strlen(name);

	for (uint32_t i = 0; i < env->count; i++) {
		if (strncmp(env->items[i], name, length) == 0 && env->items[i][length] == '=')
			return env->items[i] + length + 1;
	}
	return NULL;
}

int op_prepare_program(struct init *init, const struct prepare_program *op)
{
	sigset_t none;
	unsigned first = 3 + op->keep_fds, control = (unsigned)init->control;

	/* All is closed now, and not only when the program is executed: its path may lead through
	 * /proc/self/fd (CVE-2024-21626). Only the socket stays, for what may fail yet. */
	if ((control > first && sys_close_range(first, control - 1, 0) < 0) ||
	    sys_close_range(control < first ? first : control + 1, ~0U, 0) < 0)
		return fail(init, "close_range", NULL);
	init->rootfs = init->procfs = init->null = init->empty = -1;
	init->outputs[0] = init->outputs[1] = -1;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (op->find_home) {
		strcpy(init->home, "HOME=");
		find_home(op->uid, init->home + 5, sizeof init->home - 5);
	}
	return 0;
}

/* As a shell does: what may not be executed is passed over, and remembered in case nothing else is
 * found. */
static void execute_in_path(char *const argv[], char *const envp[], const char *search)
{
	char path[PATH_MAX];
	size_t name_size = strlen(argv[0]) + 1;
	int error = ENOENT;

	while (search) {
		size_t size = strcspn(search, ":");

		if (size + 2 + name_size < sizeof path) {
			memcpy(path, size ? search : ".", size ? size : 1);
			path[size ? size : 1] = '/';
			memcpy(path + (size ? size : 1) + 1, argv[0], name_size);
			execve(path, argv, envp);
			if (errno == EACCES)
				error = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return;
		}
		search = search[size] ? search + size + 1 : NULL;
	}
	errno = error;
}

/* Nothing but execve is called here, unless it fails: a seccomp filter may be in force. */
int op_execute(struct init *init, const struct execute *op)
{
	static const char default_path[] =
	    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char **argv = op->args.items, **envp = op->env.items;

	if (op->args.count == 0)
		return fail_with(init, EINVAL, "execve", "no arguments");
	if (*init->home) {
		/* an empty HOME counts as none: it is replaced where it stands */
		uint32_t at = 0;

		while (at < op->env.count && strcmp(envp[at], "HOME=") != 0)
			at++;
		envp[at] = init->home;
		if (at == op->env.count)
			envp[at + 1] = NULL;
	}
	if (strchr(argv[0], '/')) {
		execve(argv[0], argv, envp);
	} else {
		const char *search = lookup(&op->env, "PATH");

		execute_in_path(argv, envp, search ? search : default_path);
	}
	return fail(init, "execve", argv[0]);
}
