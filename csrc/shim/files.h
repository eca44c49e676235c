/* Small files, each in one call instead of three or four: in a program of many threads each call is
 * a turn at the interpreter. */
#ifndef PYRUNC_FILES_H
#define PYRUNC_FILES_H

#include <stddef.h>
#include <sys/types.h>

/* How much was read of a file, at most `size`; or -1 with errno. */
ssize_t pyrunc_read(const char *path, char *buffer, size_t size);

/* Write a file `beside` its place, of mode 0600, and rename it there. -1 with errno when that
 * failed. */
int pyrunc_replace(const char *path, const char *beside, const char *data, size_t size);

/*
 * A descriptor of a directory, locked (flock(2)); or -1 with errno, which is EWOULDBLOCK when
 * somebody else has it and ESTALE when another directory came into its place meanwhile.
 */
int pyrunc_lock(const char *directory);

/* Remove a directory in which there are only files. -1 with errno when that failed. */
int pyrunc_clear(const char *directory);

/* The id of the mount that a path leads to; or -1 with errno. */
long long pyrunc_mount_id(const char *path);

#endif
