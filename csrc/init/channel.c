/* The init's side of the conversation with the runtime. */
#include "init.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

int fail_with(struct init *init, int error, const char *call, const char *detail)
{
	struct message *failure = &init->failure;

	failure->type = MESSAGE_ERROR;
	failure->operation = init->index;
	failure->error = error;
	failure->value = 0;
	strncpy(failure->call, call, sizeof failure->call - 1);
	strncpy(failure->detail, detail ? detail : "", sizeof failure->detail - 1);
	return -1;
}

int fail(struct init *init, const char *call, const char *detail)
{
	return fail_with(init, errno, call, detail);
}

/* Send a message, with a descriptor when fd >= 0. */
int send_message(struct init *init, struct message *message, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {
	    .iov_base = message,
	    .iov_len = offsetof(struct message, detail) + strlen(message->detail),
	};
	struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1};

	if (fd >= 0) {
		packet.msg_control = &control;
		packet.msg_controllen = sizeof control;
		struct cmsghdr *header = CMSG_FIRSTHDR(&packet);

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	ssize_t sent;

	do
		sent = sendmsg(init->control, &packet, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

/* Receive the go-ahead and the state that comes with it. Without a go-ahead, the runtime has died
 * or given up: there is nobody to report to, and the init must not go on alone. */
int receive_reply(struct init *init, int socket)
{
	static char *buffer;

	if (!buffer) {
		buffer = mmap(NULL, REPLY_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
		if (buffer == MAP_FAILED)
			return fail(init, "mmap", NULL);
	}
	ssize_t size;

	do
		size = recv(socket, buffer, REPLY_MAX, 0);
	while (size < 0 && errno == EINTR);
	if (size < 1 || buffer[0] != REPLY_GO)
		_exit(EXIT_ABORTED);
	if (size > 1) {
		init->state = buffer + 1;
		init->state_size = (size_t)size - 1;
	}
	return 0;
}

/* Receive the plan and fill the slots that come with it. Returns the descriptor of the plan;
 * without one, there is nothing to do and nobody to report to. */
int receive_plan(struct init *init)
{
	unsigned char kinds[1 + PLAN_FDS_MAX];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * PLAN_FDS_MAX)];
	} control;
	struct iovec data = {.iov_base = kinds, .iov_len = sizeof kinds};
	struct msghdr packet = {.msg_iov = &data,
				.msg_iovlen = 1,
				.msg_control = &control,
				.msg_controllen = sizeof control};
	ssize_t size;
	int plan = -1;

	do
		size = recvmsg(init->control, &packet, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&packet) : NULL;

	if (!header || kinds[0] != PLAN_HEAD || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(int) * (size_t)(size - 1)))
		_exit(EXIT_ABORTED);
	for (ssize_t i = 1; i < size; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(header) + sizeof fd * (size_t)(i - 1), sizeof fd);
		if (kinds[i] == PLAN_ITSELF)
			plan = fd;
		else if (put_slot(init, kinds[i], fd) < 0)
			return -1;
	}
	return plan;
}

int sync_with_runtime(struct init *init, uint32_t type, uint32_t value, int fd)
{
	struct message message = {.type = type, .operation = init->index, .value = value};

	if (send_message(init, &message, fd) < 0)
		return fail(init, "sendmsg", NULL);
	return receive_reply(init, init->control);
}

int op_sync(struct init *init, const struct sync *op)
{
	(void)op;
	return sync_with_runtime(init, MESSAGE_SYNC, 0, -1);
}
