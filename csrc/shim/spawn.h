/* Starting pyrunc-init from a program of any size and any number of threads. */
#ifndef PYRUNC_SPAWN_H
#define PYRUNC_SPAWN_H

#include <stdint.h>

struct pyrunc_spawn {
	int executable;	  /* the init, as a descriptor for execveat */
	uint64_t flags;	  /* CLONE_NEW* for clone3 */
	unsigned unshare; /* CLONE_NEW* that the init makes itself while the caller goes on */
	int cgroup;	  /* a cgroup v2 directory to start in, or -1 */
	int stdio[3];	  /* what becomes stdin, stdout and stderr */
	int preserve;	  /* descriptors from 3 on that are kept for the program */
	int control;	  /* the init's end of the conversation, which it finds at 3 + preserve */
	int pidfd;	  /* out */
	int error;	  /* out: errno of the child before it executed */
};

/* The pid of the init, or -1 with errno. */
int pyrunc_spawn(struct pyrunc_spawn *spawn);

#endif
