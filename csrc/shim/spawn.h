/* Starting pyrunc-init from a program of any size and any number of threads. */
#ifndef PYRUNC_SPAWN_H
#define PYRUNC_SPAWN_H

#include <stdint.h>

struct pyrunc_spawn {
	int executable;	  /* the init, as a descriptor for execveat */
	uint64_t flags;	  /* CLONE_NEW* for clone3 */
	unsigned unshare; /* CLONE_NEW* that the init makes itself while the caller goes on */
	int cgroup;	  /* a cgroup v2 directory to start in, or -1 */
	const int *kept;  /* what becomes the program's stdin, stdout, stderr and so on */
	int kept_count;	  /* at least 3 */
	int control;	  /* the init's end of the conversation, which it finds behind these */
	int pidfd;	  /* out */
	int error;	  /* out: errno of the child before it executed */
};

/* The pid of the init, or -1 with errno. */
int pyrunc_spawn(struct pyrunc_spawn *spawn);

#endif
