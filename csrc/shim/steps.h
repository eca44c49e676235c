/* Many small system calls in one call: in a program of many threads each takes a turn at the
 * interpreter. */
#ifndef PYRUNC_STEPS_H
#define PYRUNC_STEPS_H

#include <stddef.h>

/*
 * Do the same with `count` paths, each ended by NUL, until it fails with one; with how many it was
 * done, and errno of the one with which it was not. 'd' makes the directory, with mode 0755; 'r'
 * removes the directory; 's' sees that something is there; 'w' writes to the file, in one write(2),
 * what follows the path and is ended by NUL too.
 */
size_t pyrunc_steps(char kind, const char *paths, size_t count);

#endif
