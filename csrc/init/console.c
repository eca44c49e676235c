/* The container's terminal. */
#include "init.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

static int send_master(struct init *init, int socket, int master)
{
	/* the name that goes with the descriptor is what runc sends: engines may log it */
	char name[] = "/dev/ptmx";
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec data = {.iov_base = name, .iov_len = sizeof name - 1};
	struct msghdr packet = {
	    .msg_iov = &data,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof control,
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&packet);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof master);
	memcpy(CMSG_DATA(header), &master, sizeof master);
	return sendmsg(socket, &packet, MSG_NOSIGNAL) < 0 ? fail(init, "sendmsg", "console socket")
							  : 0;
}

/* The multiplexer must be the container's devpts and nothing put in its place; its slave is opened
 * from the master and not by name (CVE-2025-52565). */
static int open_master(struct init *init)
{
	static const char path[] = "/dev/pts/ptmx";
	struct stat info;
	int fd = open_inside(init, path, O_RDWR | O_NOCTTY, 0);

	if (fd < 0)
		return fail(init, "openat2", path);
	if (fstat(fd, &info) < 0 || !S_ISCHR(info.st_mode) || info.st_rdev != makedev(5, 2)) {
		close(fd);
		return fail_with(init, ENODEV, "fstat", "/dev/pts/ptmx is not a pty multiplexer");
	}
	return fd;
}

static int bind_console(struct init *init, int slave)
{
	static const char path[] = "/dev/console";
	cleanup_fd int mount =
	    sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (mount < 0)
		return fail(init, "open_tree", path);
	cleanup_fd int target = make_file(init, path);

	if (target < 0)
		return fail(init, "openat2", path);
	return attach(init, mount, target, path);
}

int op_open_console(struct init *init, const struct open_console *op)
{
	int socket = slot_fd(init, op->slot), unlock = 0;
	struct winsize size = {.ws_col = (unsigned short)op->width,
			       .ws_row = (unsigned short)op->height};

	if (socket < 0)
		return -1;
	cleanup_fd int master = open_master(init);

	if (master < 0)
		return -1;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return fail(init, "ioctl", "TIOCSPTLCK");
	cleanup_fd int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return fail(init, "ioctl", "TIOCGPTPEER");
	if (size.ws_col && size.ws_row && ioctl(slave, TIOCSWINSZ, &size) < 0)
		return fail(init, "ioctl", "TIOCSWINSZ");
	if (fchown(slave, op->uid, op->gid) < 0 && errno != EPERM)
		return fail(init, "fchown", "console");
	if (op->mount && bind_console(init, slave) < 0)
		return -1;
	if (send_master(init, socket, master) < 0)
		return -1;
	close(socket);
	init->slots[op->slot] = -1;
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(slave, fd) < 0)
			return fail(init, "dup2", "console");
	}
	if (ioctl(0, TIOCSCTTY, 0) < 0)
		return fail(init, "ioctl", "TIOCSCTTY");
	return 0;
}
