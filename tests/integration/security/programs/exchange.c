/* Exchange two paths for ever, with a pause in between: exchange ONE OTHER MICROSECONDS. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: exchange ONE OTHER MICROSECONDS");
	for (;;) {
		if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0)
			err(1, "renameat2");
		if (atoi(argv[3]) > 0)
			usleep((useconds_t)atoi(argv[3]));
	}
}
