/* pyrunc-init BASE NAMESPACES
 *
 * BASE is the descriptor of the socket to the runtime; those below it are the program's own: stdio
 * and what is preserved for it. NAMESPACES (CLONE_NEW*) are made at once, while the runtime is
 * still busy with the plan: a network namespace takes the kernel milliseconds. Then the plan comes
 * over the socket, with the descriptors that it names. */
#include "init.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PLAN_MAGIC 0x31435950u /* "PYC1" */

int slot_fd(struct init *init, uint32_t slot)
{
	if (slot >= SLOTS_MAX || init->slots[slot] < 0)
		return fail_with(init, EBADF, "slot",
				 "the plan names a descriptor that is not there");
	return init->slots[slot];
}

int put_slot(struct init *init, uint32_t slot, int fd)
{
	if (slot >= SLOTS_MAX || init->slots[slot] >= 0) {
		close(fd);
		return fail_with(init, EBADF, "slot", "the plan fills a slot twice or none");
	}
	init->slots[slot] = fd;
	return 0;
}

static bool number(const char *text, long *value)
{
	char *end;

	*value = strtol(text, &end, 10);
	return *text && !*end && *value >= 0 && *value <= 0xffffffffL;
}

/* What the runtime had ignored or blocked is no business of the container's. */
static void reset_signals(void)
{
	/* the kernel's struct sigaction, all zero: the default action */
	const char action[64] = {0};

	for (int signal = 1; signal <= 64; signal++)
		syscall(SYS_rt_sigaction, signal, action, NULL, 8);
}

static int map_plan(struct init *init, int fd, struct reader *plan, struct arena *arena)
{
	struct stat info;

	if (fstat(fd, &info) < 0)
		return fail(init, "fstat", "plan");
	plan->at = mmap(NULL, (size_t)info.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (plan->at == MAP_FAILED)
		return fail(init, "mmap", "plan");
	plan->end = plan->at + info.st_size;
	arena->size = (size_t)info.st_size * 2 + 4096;
	arena->base =
	    mmap(NULL, arena->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena->base == MAP_FAILED)
		return fail(init, "mmap", "arena");
	plan->arena = arena;
	close(fd);
	return 0;
}

static int run_plan(struct init *init, struct reader *plan)
{
	uint32_t magic, count;

	if (!read_u32(plan, &magic) || magic != PLAN_MAGIC || !read_u32(plan, &count))
		return fail_with(init, EBADMSG, "plan", "not a plan of this version");
	for (init->index = 0; init->index < count; init->index++) {
		uint32_t opcode;
		struct blob body;
		bool known;

		plan->arena->used = 0;
		if (!read_u32(plan, &opcode) || !read_blob(plan, &body))
			return fail_with(init, EBADMSG, "plan", "cut short");
		struct reader fields = {
		    .at = body.data, .end = body.data + body.size, .arena = plan->arena};

		if (dispatch(init, opcode, &fields, &known) < 0)
			return known ? -1 : fail_with(init, EBADMSG, "plan", "malformed operation");
	}
	return fail_with(init, EBADMSG, "plan", "ends without a program to execute");
}

/* The end of the socket tells the runtime. */
int op_finish(struct init *init, const struct finish *op)
{
	(void)init;
	(void)op;
	_exit(0);
}

int main(int argc, char **argv)
{
	static struct init init = {.control = -1,
				   .rootfs = -1,
				   .procfs = -1,
				   .null = -1,
				   .empty = -1,
				   .outputs = {-1, -1}};
	static struct arena arena;
	struct reader plan = {0};
	long base, namespaces;
	int fd;

	if (argc != 3 || !number(argv[1], &base) || base < 3 || base > 1 << 20 ||
	    !number(argv[2], &namespaces))
		return EXIT_CANNOT_EXECUTE;
	init.control = (int)base;
	init.index = NO_OPERATION;
	for (int slot = 0; slot < SLOTS_MAX; slot++)
		init.slots[slot] = -1;
	/* descriptors that the caller leaked, or an embedding program did not mark */
	sys_close_range((unsigned)(base + 1), ~0U, 0);
	fcntl(init.control, F_SETFD, FD_CLOEXEC);
	reset_signals();
	if (namespaces && unshare((int)namespaces) < 0)
		fail(&init, "unshare", NULL);
	else if ((fd = receive_plan(&init)) >= 0 && map_plan(&init, fd, &plan, &arena) == 0)
		run_plan(&init, &plan);
	init.failure.operation = init.index;
	send_message(&init, &init.failure, -1);
	/* a program that could not be executed exits as a shell would have it */
	return strcmp(init.failure.call, "execve") == 0 ? (init.failure.error == ENOENT ? 127 : 126)
							: EXIT_CANNOT_EXECUTE;
}
