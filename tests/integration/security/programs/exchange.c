/* Exchange two paths for ever: exchange ONE OTHER. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: exchange ONE OTHER");
	for (;;)
		if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) < 0)
			err(1, "renameat2");
}
