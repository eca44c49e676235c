/* Programs that decide on access to devices, for cgroup v2. */
#ifndef PYRUNC_BPF_H
#define PYRUNC_BPF_H

#include <stdint.h>

/* Each gives -1 with errno on failure. */

/* Load a program of `count` instructions; a descriptor of it. The verifier's words go to `log`. */
int pyrunc_bpf_load(const void *instructions, uint32_t count, char *log, uint32_t log_size);

/* Attach a program to a cgroup beside those there, or in place of `replaced` unless that is -1. */
int pyrunc_bpf_attach(int cgroup, int program, int replaced);

int pyrunc_bpf_detach(int cgroup, int program);

/* The ids of the programs attached to a cgroup; how many there are. */
int pyrunc_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity);

/* A descriptor of the program with this id. */
int pyrunc_bpf_open(uint32_t id);

#endif
