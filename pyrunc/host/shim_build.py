"""Builds `pyrunc.host._shim`: the system calls that Python cannot make, or not without running Python in a child."""

from __future__ import annotations

from glob import glob

from cffi import FFI

ffi = FFI()

ffi.cdef("""
struct pyrunc_spawn {
    int executable;
    uint64_t flags;
    unsigned unshare;
    int cgroup;
    const int *kept;
    int kept_count;
    int control;
    int pidfd;
    int error;
};
int pyrunc_spawn(struct pyrunc_spawn *spawn);

struct hook_result {
    int error;
    int status;
    const char *call;
    char output[512];
};
struct hook_process {
    int pid;
    int pidfd;
    int output;
};
int start_hook(const char *path, char *const argv[], char *const envp[], const char *state, size_t state_size,
               const int outputs[2], struct hook_process *hook, struct hook_result *result);

int pyrunc_bpf_load(const void *instructions, uint32_t count, char *log, uint32_t log_size);
int pyrunc_bpf_attach(int cgroup, int program, int replaced);
int pyrunc_bpf_detach(int cgroup, int program);
int pyrunc_bpf_query(int cgroup, uint32_t *ids, uint32_t capacity);
int pyrunc_bpf_open(uint32_t id);

ssize_t pyrunc_read(const char *path, char *buffer, size_t size);
int pyrunc_replace(const char *path, const char *beside, const char *data, size_t size);
int pyrunc_lock(const char *directory);
int pyrunc_clear(const char *directory);
long long pyrunc_mount_id(const char *path);
char *realpath(const char *path, char *resolved);

size_t pyrunc_steps(char kind, const char *paths, size_t count);

int umount2(const char *target, int flags);
int setns(int fd, int nstype);
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
long syscall(long number, ...);
struct open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5);
""")

ffi.set_source(
    "pyrunc.host._shim",
    """
#include <linux/openat2.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "csrc/common/hook.h"
#include "csrc/shim/bpf.h"
#include "csrc/shim/files.h"
#include "csrc/shim/spawn.h"
#include "csrc/shim/steps.h"
""",
    sources=["csrc/common/hook.c", *sorted(glob("csrc/shim/*.c"))],
    include_dirs=["."],
    extra_compile_args=["-D_GNU_SOURCE", "-std=gnu11", "-Wall", "-Wextra"],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
