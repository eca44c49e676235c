/* keyring offer NAME: make a keyring of that name, open to all of the same user, with a key in it.
 * keyring find: print the payload of the key, if the session keyring leads to it. */
#include <err.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char payload[] = "treasure";

static void offer(const char *name)
{
	long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);

	if (ring < 0)
		err(1, "join");
	if (syscall(SYS_keyctl, KEYCTL_SETPERM, ring, 0x3f3f0000) < 0)
		err(1, "setperm");
	if (syscall(SYS_add_key, "user", "bait", payload, sizeof payload, ring) < 0)
		err(1, "add_key");
	puts("offered");
	fflush(stdout);
	pause();
}

static void find(void)
{
	char buffer[64] = "";
	long key = syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "bait", 0);

	if (key >= 0)
		syscall(SYS_keyctl, KEYCTL_READ, key, buffer, sizeof buffer - 1);
	printf("found: %s\n", buffer);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "offer") == 0)
		offer(argv[2]);
	else
		find();
}
