"""cffi builder of `pyrunc.host._seccomp`, the binding of libseccomp (out-of-line API mode).

Only what 2.5.0 has is bound, so that the module builds and runs with every libseccomp in use.
Architectures that newer releases know are found by name at run time (`seccomp_arch_resolve_name`),
so no constant is needed for them.
"""

from __future__ import annotations

import cffi

CDEF = """
typedef void *scmp_filter_ctx;

struct scmp_version {
    unsigned int major, minor, micro;
};

struct scmp_arg_cmp {
    unsigned int arg;
    int op;
    uint64_t datum_a, datum_b;
};

#define SCMP_FLTATR_CTL_OPTIMIZE ...
#define PYRUNC_NR_ERROR ...

const struct scmp_version *seccomp_version(void);
int seccomp_api_set(unsigned int level);

uint32_t seccomp_arch_native(void);
uint32_t seccomp_arch_resolve_name(const char *arch_name);
int seccomp_syscall_resolve_name(const char *name);
int seccomp_syscall_resolve_name_arch(uint32_t arch_token, const char *name);
int seccomp_syscall_resolve_name_rewrite(uint32_t arch_token, const char *name);
char *seccomp_syscall_resolve_num_arch(uint32_t arch_token, int num);
void free(void *memory);

scmp_filter_ctx seccomp_init(uint32_t def_action);
void seccomp_release(scmp_filter_ctx ctx);
int seccomp_attr_set(scmp_filter_ctx ctx, int attr, uint32_t value);
int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);

const char *pyrunc_library_path(void);
int pyrunc_filter_flags_available(unsigned int flags);
int pyrunc_rules_add(scmp_filter_ctx ctx, uint32_t action, const int *syscalls, size_t count,
                     unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array, size_t *done);
"""

SOURCE = r"""
#include <dlfcn.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PYRUNC_NR_ERROR __NR_SCMP_ERROR

/* The file from which the dynamic linker loaded libseccomp, or NULL. */
static const char *pyrunc_library_path(void)
{
	Dl_info info;

	return dladdr((void *)seccomp_version, &info) ? info.dli_fname : NULL;
}
 /* seccomp(2) refuses flags that it does not know with EINVAL before it reads the program, and
then says
   EFAULT of the program that is not there: nothing is ever installed by this call. */
static int pyrunc_filter_flags_available(unsigned int flags)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT;
}

/* One rule for each of many system calls, in one go: the interpreter is free meanwhile. */
static int pyrunc_rules_add(
	scmp_filter_ctx ctx, uint32_t action, const int *syscalls, size_t count,
	unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array, size_t *done)
{
	int result = 0;

	for (*done = 0; *done < count; ++*done) {
		result = seccomp_rule_add_array(ctx, action, syscalls[*done], arg_cnt, arg_array);
		if (result < 0)
			break;
	}
	return result;
}
"""

ffibuilder = cffi.FFI()
ffibuilder.cdef(CDEF)
ffibuilder.set_source(
    "pyrunc.host._seccomp",
    SOURCE,
    libraries=["seccomp"],
    extra_compile_args=["-Wall", "-Wextra", "-Werror=implicit-function-declaration"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
