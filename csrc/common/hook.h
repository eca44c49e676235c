/* Running a hook: a program that is given the container's state on stdin. */
#ifndef PYRUNC_HOOK_H
#define PYRUNC_HOOK_H

#include <stddef.h>

#define HOOK_OUTPUT_MAX 512

struct hook_result {
	int error;  /* errno of `call`, ETIMEDOUT when it was killed after its time, else 0 */
	int status; /* wait status, when error is 0 */
	const char *call;
	char output[HOOK_OUTPUT_MAX]; /* the beginning of what it wrote to stdout and stderr */
};

struct hook_process {
	int pid;
	int pidfd;
	int output; /* read end, not blocking, of what it writes to stdout and stderr */
};

/* Start `path` with `argv` and `envp`, in a process group of its own. `outputs` become its stdout
 * and stderr; what is -1 of them goes into `output` of the process. 0, or -1 with `call` and
 * `error` of the result. */
int start_hook(const char *path, char *const argv[], char *const envp[], const char *state,
	       size_t state_size, const int outputs[2], struct hook_process *hook,
	       struct hook_result *result);

/* Run `path` with `argv` and `envp`; `timeout` in milliseconds, 0 for none. 0 when it exited with
 * status 0. */
int run_hook(const char *path, char *const argv[], char *const envp[], const char *state,
	     size_t state_size, const int outputs[2], long timeout, struct hook_result *result);

#endif
