#include "spawn.h"

#include "../common/sys.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

enum { STACK_SIZE = 64 * 1024 };

/* Move a descriptor above the places that will be taken. */
static int lift(int fd, int above)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, above);
}

struct job {
	struct pyrunc_spawn *spawn;
	int *lifted; /* room for all descriptors */
};

/* Runs in the child, which shares the parent's memory: nothing but system calls, and only this
 * stack. */
static int child(void *argument)
{
	const struct job *job = argument;
	struct pyrunc_spawn *spawn = job->spawn;
	int base = spawn->kept_count, *lifted = job->lifted;
	char base_text[12], unshare_text[12];
	char *argv[] = {(char[]){"pyrunc-init"}, base_text, unshare_text, NULL};
	char *envp[] = {NULL};
	int executable = lift(spawn->executable, base + 1);

	for (int i = 0; i <= base; i++) {
		lifted[i] = lift(i < base ? spawn->kept[i] : spawn->control, base + 1);
		if (lifted[i] < 0)
			goto failed;
	}
	for (int i = 0; i <= base; i++) {
		if (dup2(lifted[i], i) < 0)
			goto failed;
	}
	snprintf(base_text, sizeof base_text, "%d", base);
	snprintf(unshare_text, sizeof unshare_text, "%u", spawn->unshare);
	syscall(SYS_execveat, executable, "", argv, envp, AT_EMPTY_PATH);
failed:
	spawn->error = errno;
	return 127;
}

/* clone3 onto another stack. The child never returns from `run`, so the parent's frames are safe
 * although the memory is shared; CLONE_VFORK holds the parent until the child has executed or died.
 */
static long clone_onto(struct clone_args *args, int (*run)(void *), void *argument)
{
	long result;

#if defined __x86_64__
	register int (*function)(void *) __asm__("r12") = run;
	register void *parameter __asm__("r13") = argument;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov %[exit], %%eax\n\t"
			 "syscall\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(function),
			   "r"(parameter), [exit] "i"(SYS_exit)
			 : "rcx", "rdx", "r8", "r9", "r10", "r11", "cc", "memory");
	if (result < 0) {
		errno = (int)-result;
		result = -1;
	}
#elif defined __aarch64__
	register long number __asm__("x8") = SYS_clone3;
	register long first __asm__("x0") = (long)args;
	register long second __asm__("x1") = sizeof *args;
	register int (*function)(void *) __asm__("x19") = run;
	register void *parameter __asm__("x20") = argument;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "mov x8, %[exit]\n\t"
			 "svc #0\n"
			 "1:"
			 : "+r"(first)
			 : "r"(number), "r"(second), "r"(function),
			   "r"(parameter), [exit] "i"(SYS_exit)
			 : "memory", "cc", "x30");
	result = first;
	if (result < 0) {
		errno = (int)-result;
		result = -1;
	}
#else
	/* no assembly for this machine: a plain fork, whose failure shows as the end of the control
	 * socket */
	args->flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK);
	args->stack = args->stack_size = 0;
	result = syscall(SYS_clone3, args, sizeof *args);
	if (result == 0)
		_exit(run(argument));
#endif
	return result;
}

int pyrunc_spawn(struct pyrunc_spawn *spawn)
{
	sigset_t all, before;
	void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	struct clone_args args = {
	    .flags = spawn->flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
	    .pidfd = (uint64_t)(uintptr_t)&spawn->pidfd,
	    .exit_signal = SIGCHLD,
	    .stack = (uint64_t)(uintptr_t)stack,
	    .stack_size = STACK_SIZE,
	};

	cleanup_free int *lifted = calloc((size_t)spawn->kept_count + 1, sizeof *lifted);
	struct job job = {.spawn = spawn, .lifted = lifted};

	if (stack == MAP_FAILED)
		return -1;
	if (!lifted) {
		munmap(stack, STACK_SIZE);
		return -1;
	}
	if (spawn->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)spawn->cgroup;
	}
	spawn->error = 0;
	spawn->pidfd = -1;
	/* a handler of the parent's must not run in the child, on memory they share */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	long pid = clone_onto(&args, child, &job);
	int saved = errno;

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	munmap(stack, STACK_SIZE);
	if (pid > 0 && spawn->error) {
		/* it died before it was a container: take it away */
		siginfo_t info;

		while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 && errno == EINTR)
			;
		close(spawn->pidfd);
		spawn->pidfd = -1;
		saved = spawn->error;
		pid = -1;
	}
	errno = saved;
	return (int)pid;
}
