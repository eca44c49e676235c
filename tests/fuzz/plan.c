/* The fuzzer of what pyrunc-init reads: plans, packets with descriptors, replies. The operations
 * themselves are replaced by ones that look at every byte of their fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdnoreturn.h>
#include <unistd.h>

static jmp_buf exited;

static noreturn void exit_here(int code)
{
	longjmp(exited, code + 1);
}

#define _exit exit_here
#define main init_main
#include "init/main.c"
#undef main

#include "init/channel.c"
#undef _exit

#include "touch.h" /* written by fuzz.harness from the table of operations */

#include <sys/stat.h>

enum { NULL_FDS = PLAN_FDS_MAX + 2 };

static struct init fresh(int control)
{
	struct init init = {.control = control, .index = NO_OPERATION};

	for (int slot = 0; slot < SLOTS_MAX; slot++)
		init.slots[slot] = -1;
	return init;
}

static void check(bool holds)
{
	if (!holds)
		__builtin_trap();
}

/* A failure must be one that the runtime can read. */
static void check_failure(const struct init *init)
{
	check(memchr(init->failure.call, '\0', sizeof init->failure.call));
	check(memchr(init->failure.detail, '\0', sizeof init->failure.detail));
	touch_text(init->failure.call);
	touch_text(init->failure.detail);
}

static void try_plan(const uint8_t *data, size_t size)
{
	cleanup_fd int fd = memfd_create("plan", MFD_CLOEXEC);
	static struct init init;
	static struct reader plan;
	static struct arena arena;

	init = fresh(-1);

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	if (map_plan(&init, dup(fd), &plan, &arena) < 0) {
		check(size == 0);
		return;
	}
	const void *mapped = plan.at;

	if (!setjmp(exited)) {
		check(run_plan(&init, &plan) == -1 && plan.at <= plan.end);
		check_failure(&init);
	}
	munmap((void *)(uintptr_t)mapped, size);
	munmap(arena.base, arena.size);
	/* the same where not a byte lies behind it, so that the sanitizer sees each that is too
	 * many */
	cleanup_free unsigned char *exact = malloc(size);
	cleanup_free char *room = malloc(size * 2 + 4096);

	memcpy(exact, data, size);
	arena = (struct arena){.base = room, .size = size * 2 + 4096};
	plan = (struct reader){.at = exact, .end = exact + size, .arena = &arena};
	if (!setjmp(exited)) {
		run_plan(&init, &plan);
		check_failure(&init);
	}
}

/* The first byte tells how many descriptors come with the packet. */
static void try_packet(const uint8_t *data, size_t size)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * NULL_FDS)];
	} control = {0};
	int ends[2], fds[NULL_FDS];
	size_t count = size ? data[0] % (NULL_FDS + 1) : 0;
	struct iovec bytes = {.iov_base = (void *)(uintptr_t)(data + 1),
			      .iov_len = size ? size - 1 : 0};
	struct msghdr packet = {.msg_iov = &bytes, .msg_iovlen = 1};

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	int last = dup(ends[1]);

	close(last);
	for (size_t i = 0; i < count; i++)
		fds[i] = ends[0];
	if (count) {
		packet.msg_control = &control;
		packet.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		*CMSG_FIRSTHDR(&packet) =
		    (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				     .cmsg_type = SCM_RIGHTS,
				     .cmsg_len = CMSG_LEN(sizeof(int) * count)};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&packet)), fds, sizeof(int) * count);
	}
	if (sendmsg(ends[0], &packet, MSG_NOSIGNAL) >= 0) {
		static struct init init;

		init = fresh(ends[1]);
		shutdown(ends[0], SHUT_WR);
		if (!setjmp(exited)) {
			receive_plan(&init);
			check_failure(&init);
		}
	}
	close(ends[0]);
	close(ends[1]);
	sys_close_range((unsigned)last, ~0U, 0); /* what was received */
}

static void try_reply(const uint8_t *data, size_t size)
{
	int ends[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	if (send(ends[0], data, size, MSG_NOSIGNAL) >= 0) {
		static struct init init;

		init = fresh(ends[1]);
		if (!setjmp(exited)) {
			check(receive_reply(&init, ends[1]) == 0);
			check(data[0] == REPLY_GO && init.state_size == size - 1);
			for (size_t i = 0; i < init.state_size; i++)
				check(init.state[i] == (char)data[i + 1]);
		}
	}
	close(ends[0]);
	close(ends[1]);
}

static void try_failure(const uint8_t *data, size_t size)
{
	cleanup_free char *text = calloc(size + 1, 1);
	struct init init = fresh(-1);

	memcpy(text, data, size);
	fail_with(&init, EBADMSG, text, text + strlen(text) / 2);
	check_failure(&init);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const targets[])(const uint8_t *, size_t) = {try_plan, try_packet, try_reply,
								   try_failure};

	/* anything else is a plan, as that is where most of the code is */
	if (size) {
		if (data[0] < 4)
			targets[data[0]](data + 1, size - 1);
		else
			try_plan(data, size);
	}
	return 0;
}
