/* A runtime without any defence: naive PID PROGRAM executes PROGRAM in the namespaces of PID. What
 * is executed again by "#!/proc/self/exe" stays for a moment, as a program does that has to load
 * its libraries first. */
#include <err.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3 || strcmp(argv[0], "/proc/self/exe") == 0) {
		sleep(1);
		return 0;
	}
	int pidfd = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);

	if (setns(pidfd, CLONE_NEWPID | CLONE_NEWNS) < 0)
		err(1, "setns");
	pid_t child = fork();

	if (child == 0) {
		execv(argv[2], argv + 2);
		err(127, "execv");
	}
	waitpid(child, NULL, 0);
}
