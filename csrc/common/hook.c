#include "hook.h"
#include "sys.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

static int failed(struct hook_result *result, const char *call, int error)
{
	result->call = call;
	result->error = error;
	return -1;
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The state is written before the hook starts: the pipe holds it all, so a hook that does not read
 * blocks nobody, and no SIGPIPE can come while we hold the reading end. */
static int state_pipe(const char *state, size_t size, struct hook_result *result)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return failed(result, "pipe2", errno);
	cleanup_fd int reader = ends[0], writer = ends[1];

	if (size > 65536 && fcntl(writer, F_SETPIPE_SZ, (int)size) < 0)
		return failed(result, "fcntl", errno);
	if (size && write(writer, state, size) != (ssize_t)size)
		return failed(result, "write", errno);
	return take_fd(&reader);
}

static int start(const char *path, char *const argv[], char *const envp[], int in, int out, int err,
		 pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						  POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	posix_spawn_file_actions_adddup2(&actions, err, 2);
	error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return error;
}

static void keep_output(int fd, struct hook_result *result, size_t *used)
{
	char waste[4096];
	bool keep = *used < HOOK_OUTPUT_MAX - 1;
	ssize_t size = read(fd, keep ? result->output + *used : waste,
			    keep ? HOOK_OUTPUT_MAX - 1 - *used : sizeof waste);

	if (size > 0 && keep)
		*used += (size_t)size;
}

/* Until the hook itself ends: a descendant that keeps the pipe open is not waited for. */
static bool watch(int pidfd, int output, long timeout, struct hook_result *result)
{
	long end = now_ms() + timeout;
	size_t used = 0;

	for (;;) {
		struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN},
					{.fd = output, .events = POLLIN}};
		long left = timeout ? end - now_ms() : -1;
		int wait = left < INT_MAX ? (int)left : INT_MAX;

		if (timeout && left <= 0)
			return false;
		if (poll(fds, 2, wait) < 0 && errno != EINTR)
			return true;
		if (fds[1].revents & POLLIN)
			keep_output(output, result, &used);
		else if (fds[1].revents)
			output = -1;
		/* asked always: a descendant may write without end */
		if (fds[0].revents)
			return true;
	}
}

int start_hook(const char *path, char *const argv[], char *const envp[], const char *state,
	       size_t state_size, const int outputs[2], struct hook_process *hook,
	       struct hook_result *result)
{
	int ends[2];

	memset(result, 0, sizeof *result);
	cleanup_fd int in = state_pipe(state, state_size, result);

	if (in < 0)
		return -1;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return failed(result, "pipe2", errno);
	cleanup_fd int reader = ends[0];
	cleanup_fd int writer = ends[1];
	/* the hook's end must block as any program expects of its stdout */
	fcntl(writer, F_SETFL, 0);
	int error = start(path, argv, envp, in, outputs[0] < 0 ? writer : outputs[0],
			  outputs[1] < 0 ? writer : outputs[1], &hook->pid);

	if (error)
		return failed(result, "execve", error);
	/* a child not yet waited for keeps its pid, so this is our hook */
	hook->pidfd = sys_pidfd_open(hook->pid, 0);
	if (hook->pidfd < 0) {
		error = errno;
		kill(hook->pid, SIGKILL);
		while (waitpid(hook->pid, NULL, 0) < 0 && errno == EINTR)
			;
		return failed(result, "pidfd_open", error);
	}
	hook->output = take_fd(&reader);
	return 0;
}

int run_hook(const char *path, char *const argv[], char *const envp[], const char *state,
	     size_t state_size, const int outputs[2], long timeout, struct hook_result *result)
{
	struct hook_process hook;

	if (start_hook(path, argv, envp, state, state_size, outputs, &hook, result) < 0)
		return -1;
	cleanup_fd int pidfd = hook.pidfd;
	cleanup_fd int output = hook.output;
	bool ended = watch(pidfd, output, timeout, result);

	if (!ended) {
		kill(-hook.pid, SIGKILL);
		/* it may have left the process group that it was given */
		kill(hook.pid, SIGKILL);
	}
	while (waitpid(hook.pid, &result->status, 0) < 0) {
		if (errno != EINTR)
			return failed(result, "waitpid", errno);
	}
	if (!ended)
		return failed(result, "execve", ETIMEDOUT);
	return result->status == 0 ? 0 : -1;
}
