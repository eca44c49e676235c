/* Written by `python -m pyrunc.plan.header` from pyrunc/plan/operations.py: change that file. */
#ifndef PYRUNC_PLAN_FORMAT_H
#define PYRUNC_PLAN_FORMAT_H

#include "decode.h"

/* clang-format off */
#define NO_SLOT 0xffffffffu
#define SYNC_START 0x0u
#define SYNC_MAP_IDS 0x1u
#define SYNC_HOOKS 0x2u
#define SYNC_TIME 0x3u
#define SYNC_NETWORK 0x4u
#define SYNC_SECCOMP 0x5u
#define BIND_RECURSIVE 0x1u
#define BIND_NO_SYMLINK_SOURCE 0x2u
#define FS_NO_SYMLINK 0x1u
#define FS_COPY_UP 0x2u
#define FS_KEEP_MODE 0x4u
#define LINK_KEEP 0x0u
#define LINK_REPLACE 0x1u
#define LINK_REFUSE 0x2u

struct sync {
	uint32_t kind;
};
struct join_cgroups {
	struct texts files;
};
struct join_namespaces {
	struct texts paths;
	struct u32s types;
};
struct join_container {
	uint32_t slot;
	uint32_t flags;
};
struct unshare {
	uint32_t flags;
};
struct clone {
	uint32_t flags;
};
struct set_identity {
	uint32_t uid;
	uint32_t gid;
};
struct set_dumpable {
	uint32_t value;
};
struct loopback_up {
	char none;
};
struct set_hostname {
	const char *name;
};
struct set_domainname {
	const char *name;
};
struct set_propagation {
	const char *path;
	uint32_t flags;
};
struct open_rootfs {
	const char *path;
	uint32_t private;
};
struct enter_rootfs {
	const char *path;
};
struct open_tree {
	uint32_t slot;
	const char *source;
	uint32_t flags;
	uint32_t idmap_slot;
	uint32_t idmap_recursive;
	uint32_t propagation;
};
struct make_idmap {
	uint32_t slot;
	struct u32s uids;
	struct u32s gids;
};
struct mount_filesystem {
	const char *fstype;
	const char *source;
	const char *destination;
	struct texts options;
	uint64_t attrs;
	uint32_t ms_flags;
	uint32_t propagation;
	uint32_t flags;
};
struct mount_bind {
	const char *source;
	uint32_t source_slot;
	const char *destination;
	uint32_t flags;
	uint64_t attrs_set;
	uint64_t attrs_clear;
	uint64_t tree_set;
	uint64_t tree_clear;
	uint32_t propagation;
};
struct change_mount {
	const char *destination;
	struct texts options;
	uint64_t attrs_set;
	uint64_t attrs_clear;
	uint64_t tree_set;
	uint64_t tree_clear;
	uint32_t propagation;
};
struct make_directory {
	const char *destination;
	uint32_t mode;
};
struct make_symlink {
	const char *target;
	const char *destination;
	uint32_t existing;
};
struct make_node {
	const char *destination;
	uint32_t mode;
	uint32_t major;
	uint32_t minor;
	uint32_t uid;
	uint32_t gid;
};
struct bind_device {
	const char *source;
	const char *destination;
	uint32_t mode;
	uint32_t major;
	uint32_t minor;
};
struct open_console {
	uint32_t slot;
	uint32_t width;
	uint32_t height;
	uint32_t mount;
	uint32_t uid;
	uint32_t gid;
};
struct pivot_root {
	char none;
};
struct move_root {
	char none;
};
struct change_root {
	char none;
};
struct mask_path {
	const char *destination;
	const char *label;
};
struct readonly_path {
	const char *destination;
};
struct unmount {
	const char *destination;
};
struct finish {
	char none;
};
struct write_sysctl {
	const char *path;
	const char *value;
};
struct set_label {
	const char *attribute;
	const char *label;
};
struct set_file_label {
	const char *destination;
	const char *label;
};
struct new_session_keyring {
	char none;
};
struct new_session {
	char none;
};
struct set_rlimit {
	uint32_t resource;
	uint64_t soft;
	uint64_t hard;
};
struct set_scheduler {
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime;
	uint64_t deadline;
	uint64_t period;
};
struct set_io_priority {
	uint32_t value;
};
struct set_affinity {
	struct blob mask;
};
struct set_memory_policy {
	uint32_t mode;
	struct blob nodes;
};
struct set_personality {
	uint32_t persona;
};
struct set_umask {
	uint32_t mask;
};
struct set_no_new_privileges {
	char none;
};
struct own_stdio {
	uint32_t uid;
};
struct drop_bounding {
	uint64_t keep;
};
struct set_user {
	uint32_t uid;
	uint32_t gid;
	struct u32s groups;
	uint32_t set_groups;
};
struct set_capabilities {
	uint64_t effective;
	uint64_t permitted;
	uint64_t inheritable;
	uint64_t ambient;
};
struct load_seccomp {
	struct blob program;
	uint32_t flags;
	uint32_t listener;
};
struct change_directory {
	const char *path;
};
struct wait_for_start {
	uint32_t slot;
};
struct open_hook_outputs {
	const char *standard_output;
	const char *standard_error;
};
struct run_hook {
	const char *path;
	struct texts args;
	struct texts env;
	uint32_t timeout;
};
struct prepare_program {
	uint32_t keep_fds;
	uint32_t find_home;
	uint32_t uid;
};
struct execute {
	struct texts args;
	struct texts env;
};

struct init;

int op_sync(struct init *init, const struct sync *op);
int op_join_cgroups(struct init *init, const struct join_cgroups *op);
int op_join_namespaces(struct init *init, const struct join_namespaces *op);
int op_join_container(struct init *init, const struct join_container *op);
int op_unshare(struct init *init, const struct unshare *op);
int op_clone(struct init *init, const struct clone *op);
int op_set_identity(struct init *init, const struct set_identity *op);
int op_set_dumpable(struct init *init, const struct set_dumpable *op);
int op_loopback_up(struct init *init, const struct loopback_up *op);
int op_set_hostname(struct init *init, const struct set_hostname *op);
int op_set_domainname(struct init *init, const struct set_domainname *op);
int op_set_propagation(struct init *init, const struct set_propagation *op);
int op_open_rootfs(struct init *init, const struct open_rootfs *op);
int op_enter_rootfs(struct init *init, const struct enter_rootfs *op);
int op_open_tree(struct init *init, const struct open_tree *op);
int op_make_idmap(struct init *init, const struct make_idmap *op);
int op_mount_filesystem(struct init *init, const struct mount_filesystem *op);
int op_mount_bind(struct init *init, const struct mount_bind *op);
int op_change_mount(struct init *init, const struct change_mount *op);
int op_make_directory(struct init *init, const struct make_directory *op);
int op_make_symlink(struct init *init, const struct make_symlink *op);
int op_make_node(struct init *init, const struct make_node *op);
int op_bind_device(struct init *init, const struct bind_device *op);
int op_open_console(struct init *init, const struct open_console *op);
int op_pivot_root(struct init *init, const struct pivot_root *op);
int op_move_root(struct init *init, const struct move_root *op);
int op_change_root(struct init *init, const struct change_root *op);
int op_mask_path(struct init *init, const struct mask_path *op);
int op_readonly_path(struct init *init, const struct readonly_path *op);
int op_unmount(struct init *init, const struct unmount *op);
int op_finish(struct init *init, const struct finish *op);
int op_write_sysctl(struct init *init, const struct write_sysctl *op);
int op_set_label(struct init *init, const struct set_label *op);
int op_set_file_label(struct init *init, const struct set_file_label *op);
int op_new_session_keyring(struct init *init, const struct new_session_keyring *op);
int op_new_session(struct init *init, const struct new_session *op);
int op_set_rlimit(struct init *init, const struct set_rlimit *op);
int op_set_scheduler(struct init *init, const struct set_scheduler *op);
int op_set_io_priority(struct init *init, const struct set_io_priority *op);
int op_set_affinity(struct init *init, const struct set_affinity *op);
int op_set_memory_policy(struct init *init, const struct set_memory_policy *op);
int op_set_personality(struct init *init, const struct set_personality *op);
int op_set_umask(struct init *init, const struct set_umask *op);
int op_set_no_new_privileges(struct init *init, const struct set_no_new_privileges *op);
int op_own_stdio(struct init *init, const struct own_stdio *op);
int op_drop_bounding(struct init *init, const struct drop_bounding *op);
int op_set_user(struct init *init, const struct set_user *op);
int op_set_capabilities(struct init *init, const struct set_capabilities *op);
int op_load_seccomp(struct init *init, const struct load_seccomp *op);
int op_change_directory(struct init *init, const struct change_directory *op);
int op_wait_for_start(struct init *init, const struct wait_for_start *op);
int op_open_hook_outputs(struct init *init, const struct open_hook_outputs *op);
int op_run_hook(struct init *init, const struct run_hook *op);
int op_prepare_program(struct init *init, const struct prepare_program *op);
int op_execute(struct init *init, const struct execute *op);

/* Decode the operation `opcode` from `in` and execute it. False in *known: no such operation,
 * or its fields do not fill the record exactly. */
static inline int dispatch(struct init *init, uint32_t opcode, struct reader *in, bool *known)
{
	*known = true;
	switch (opcode) {
	case 0: {
		struct sync op = {0};
		if (read_u32(in, &op.kind) &&
		    read_end(in))
			return op_sync(init, &op);
		break;
	}
	case 1: {
		struct join_cgroups op = {0};
		if (read_texts(in, &op.files) &&
		    read_end(in))
			return op_join_cgroups(init, &op);
		break;
	}
	case 2: {
		struct join_namespaces op = {0};
		if (read_texts(in, &op.paths) &&
		    read_u32s(in, &op.types) &&
		    read_end(in))
			return op_join_namespaces(init, &op);
		break;
	}
	case 3: {
		struct join_container op = {0};
		if (read_u32(in, &op.slot) &&
		    read_u32(in, &op.flags) &&
		    read_end(in))
			return op_join_container(init, &op);
		break;
	}
	case 4: {
		struct unshare op = {0};
		if (read_u32(in, &op.flags) &&
		    read_end(in))
			return op_unshare(init, &op);
		break;
	}
	case 5: {
		struct clone op = {0};
		if (read_u32(in, &op.flags) &&
		    read_end(in))
			return op_clone(init, &op);
		break;
	}
	case 6: {
		struct set_identity op = {0};
		if (read_u32(in, &op.uid) &&
		    read_u32(in, &op.gid) &&
		    read_end(in))
			return op_set_identity(init, &op);
		break;
	}
	case 7: {
		struct set_dumpable op = {0};
		if (read_u32(in, &op.value) &&
		    read_end(in))
			return op_set_dumpable(init, &op);
		break;
	}
	case 8: {
		struct loopback_up op = {0};
		if (read_end(in))
			return op_loopback_up(init, &op);
		break;
	}
	case 9: {
		struct set_hostname op = {0};
		if (read_text(in, &op.name) &&
		    read_end(in))
			return op_set_hostname(init, &op);
		break;
	}
	case 10: {
		struct set_domainname op = {0};
		if (read_text(in, &op.name) &&
		    read_end(in))
			return op_set_domainname(init, &op);
		break;
	}
	case 11: {
		struct set_propagation op = {0};
		if (read_text(in, &op.path) &&
		    read_u32(in, &op.flags) &&
		    read_end(in))
			return op_set_propagation(init, &op);
		break;
	}
	case 12: {
		struct open_rootfs op = {0};
		if (read_text(in, &op.path) &&
		    read_u32(in, &op.private) &&
		    read_end(in))
			return op_open_rootfs(init, &op);
		break;
	}
	case 13: {
		struct enter_rootfs op = {0};
		if (read_text(in, &op.path) &&
		    read_end(in))
			return op_enter_rootfs(init, &op);
		break;
	}
	case 14: {
		struct open_tree op = {0};
		if (read_u32(in, &op.slot) &&
		    read_text(in, &op.source) &&
		    read_u32(in, &op.flags) &&
		    read_u32(in, &op.idmap_slot) &&
		    read_u32(in, &op.idmap_recursive) &&
		    read_u32(in, &op.propagation) &&
		    read_end(in))
			return op_open_tree(init, &op);
		break;
	}
	case 15: {
		struct make_idmap op = {0};
		if (read_u32(in, &op.slot) &&
		    read_u32s(in, &op.uids) &&
		    read_u32s(in, &op.gids) &&
		    read_end(in))
			return op_make_idmap(init, &op);
		break;
	}
	case 16: {
		struct mount_filesystem op = {0};
		if (read_text(in, &op.fstype) &&
		    read_text(in, &op.source) &&
		    read_text(in, &op.destination) &&
		    read_texts(in, &op.options) &&
		    read_u64(in, &op.attrs) &&
		    read_u32(in, &op.ms_flags) &&
		    read_u32(in, &op.propagation) &&
		    read_u32(in, &op.flags) &&
		    read_end(in))
			return op_mount_filesystem(init, &op);
		break;
	}
	case 17: {
		struct mount_bind op = {0};
		if (read_text(in, &op.source) &&
		    read_u32(in, &op.source_slot) &&
		    read_text(in, &op.destination) &&
		    read_u32(in, &op.flags) &&
		    read_u64(in, &op.attrs_set) &&
		    read_u64(in, &op.attrs_clear) &&
		    read_u64(in, &op.tree_set) &&
		    read_u64(in, &op.tree_clear) &&
		    read_u32(in, &op.propagation) &&
		    read_end(in))
			return op_mount_bind(init, &op);
		break;
	}
	case 18: {
		struct change_mount op = {0};
		if (read_text(in, &op.destination) &&
		    read_texts(in, &op.options) &&
		    read_u64(in, &op.attrs_set) &&
		    read_u64(in, &op.attrs_clear) &&
		    read_u64(in, &op.tree_set) &&
		    read_u64(in, &op.tree_clear) &&
		    read_u32(in, &op.propagation) &&
		    read_end(in))
			return op_change_mount(init, &op);
		break;
	}
	case 19: {
		struct make_directory op = {0};
		if (read_text(in, &op.destination) &&
		    read_u32(in, &op.mode) &&
		    read_end(in))
			return op_make_directory(init, &op);
		break;
	}
	case 20: {
		struct make_symlink op = {0};
		if (read_text(in, &op.target) &&
		    read_text(in, &op.destination) &&
		    read_u32(in, &op.existing) &&
		    read_end(in))
			return op_make_symlink(init, &op);
		break;
	}
	case 21: {
		struct make_node op = {0};
		if (read_text(in, &op.destination) &&
		    read_u32(in, &op.mode) &&
		    read_u32(in, &op.major) &&
		    read_u32(in, &op.minor) &&
		    read_u32(in, &op.uid) &&
		    read_u32(in, &op.gid) &&
		    read_end(in))
			return op_make_node(init, &op);
		break;
	}
	case 22: {
		struct bind_device op = {0};
		if (read_text(in, &op.source) &&
		    read_text(in, &op.destination) &&
		    read_u32(in, &op.mode) &&
		    read_u32(in, &op.major) &&
		    read_u32(in, &op.minor) &&
		    read_end(in))
			return op_bind_device(init, &op);
		break;
	}
	case 23: {
		struct open_console op = {0};
		if (read_u32(in, &op.slot) &&
		    read_u32(in, &op.width) &&
		    read_u32(in, &op.height) &&
		    read_u32(in, &op.mount) &&
		    read_u32(in, &op.uid) &&
		    read_u32(in, &op.gid) &&
		    read_end(in))
			return op_open_console(init, &op);
		break;
	}
	case 24: {
		struct pivot_root op = {0};
		if (read_end(in))
			return op_pivot_root(init, &op);
		break;
	}
	case 25: {
		struct move_root op = {0};
		if (read_end(in))
			return op_move_root(init, &op);
		break;
	}
	case 26: {
		struct change_root op = {0};
		if (read_end(in))
			return op_change_root(init, &op);
		break;
	}
	case 27: {
		struct mask_path op = {0};
		if (read_text(in, &op.destination) &&
		    read_text(in, &op.label) &&
		    read_end(in))
			return op_mask_path(init, &op);
		break;
	}
	case 28: {
		struct readonly_path op = {0};
		if (read_text(in, &op.destination) &&
		    read_end(in))
			return op_readonly_path(init, &op);
		break;
	}
	case 29: {
		struct unmount op = {0};
		if (read_text(in, &op.destination) &&
		    read_end(in))
			return op_unmount(init, &op);
		break;
	}
	case 30: {
		struct finish op = {0};
		if (read_end(in))
			return op_finish(init, &op);
		break;
	}
	case 31: {
		struct write_sysctl op = {0};
		if (read_text(in, &op.path) &&
		    read_text(in, &op.value) &&
		    read_end(in))
			return op_write_sysctl(init, &op);
		break;
	}
	case 32: {
		struct set_label op = {0};
		if (read_text(in, &op.attribute) &&
		    read_text(in, &op.label) &&
		    read_end(in))
			return op_set_label(init, &op);
		break;
	}
	case 33: {
		struct set_file_label op = {0};
		if (read_text(in, &op.destination) &&
		    read_text(in, &op.label) &&
		    read_end(in))
			return op_set_file_label(init, &op);
		break;
	}
	case 34: {
		struct new_session_keyring op = {0};
		if (read_end(in))
			return op_new_session_keyring(init, &op);
		break;
	}
	case 35: {
		struct new_session op = {0};
		if (read_end(in))
			return op_new_session(init, &op);
		break;
	}
	case 36: {
		struct set_rlimit op = {0};
		if (read_u32(in, &op.resource) &&
		    read_u64(in, &op.soft) &&
		    read_u64(in, &op.hard) &&
		    read_end(in))
			return op_set_rlimit(init, &op);
		break;
	}
	case 37: {
		struct set_scheduler op = {0};
		if (read_u32(in, &op.policy) &&
		    read_u64(in, &op.flags) &&
		    read_i32(in, &op.nice) &&
		    read_u32(in, &op.priority) &&
		    read_u64(in, &op.runtime) &&
		    read_u64(in, &op.deadline) &&
		    read_u64(in, &op.period) &&
		    read_end(in))
			return op_set_scheduler(init, &op);
		break;
	}
	case 38: {
		struct set_io_priority op = {0};
		if (read_u32(in, &op.value) &&
		    read_end(in))
			return op_set_io_priority(init, &op);
		break;
	}
	case 39: {
		struct set_affinity op = {0};
		if (read_blob(in, &op.mask) &&
		    read_end(in))
			return op_set_affinity(init, &op);
		break;
	}
	case 40: {
		struct set_memory_policy op = {0};
		if (read_u32(in, &op.mode) &&
		    read_blob(in, &op.nodes) &&
		    read_end(in))
			return op_set_memory_policy(init, &op);
		break;
	}
	case 41: {
		struct set_personality op = {0};
		if (read_u32(in, &op.persona) &&
		    read_end(in))
			return op_set_personality(init, &op);
		break;
	}
	case 42: {
		struct set_umask op = {0};
		if (read_u32(in, &op.mask) &&
		    read_end(in))
			return op_set_umask(init, &op);
		break;
	}
	case 43: {
		struct set_no_new_privileges op = {0};
		if (read_end(in))
			return op_set_no_new_privileges(init, &op);
		break;
	}
	case 44: {
		struct own_stdio op = {0};
		if (read_u32(in, &op.uid) &&
		    read_end(in))
			return op_own_stdio(init, &op);
		break;
	}
	case 45: {
		struct drop_bounding op = {0};
		if (read_u64(in, &op.keep) &&
		    read_end(in))
			return op_drop_bounding(init, &op);
		break;
	}
	case 46: {
		struct set_user op = {0};
		if (read_u32(in, &op.uid) &&
		    read_u32(in, &op.gid) &&
		    read_u32s(in, &op.groups) &&
		    read_u32(in, &op.set_groups) &&
		    read_end(in))
			return op_set_user(init, &op);
		break;
	}
	case 47: {
		struct set_capabilities op = {0};
		if (read_u64(in, &op.effective) &&
		    read_u64(in, &op.permitted) &&
		    read_u64(in, &op.inheritable) &&
		    read_u64(in, &op.ambient) &&
		    read_end(in))
			return op_set_capabilities(init, &op);
		break;
	}
	case 48: {
		struct load_seccomp op = {0};
		if (read_blob(in, &op.program) &&
		    read_u32(in, &op.flags) &&
		    read_u32(in, &op.listener) &&
		    read_end(in))
			return op_load_seccomp(init, &op);
		break;
	}
	case 49: {
		struct change_directory op = {0};
		if (read_text(in, &op.path) &&
		    read_end(in))
			return op_change_directory(init, &op);
		break;
	}
	case 50: {
		struct wait_for_start op = {0};
		if (read_u32(in, &op.slot) &&
		    read_end(in))
			return op_wait_for_start(init, &op);
		break;
	}
	case 51: {
		struct open_hook_outputs op = {0};
		if (read_text(in, &op.standard_output) &&
		    read_text(in, &op.standard_error) &&
		    read_end(in))
			return op_open_hook_outputs(init, &op);
		break;
	}
	case 52: {
		struct run_hook op = {0};
		if (read_text(in, &op.path) &&
		    read_texts(in, &op.args) &&
		    read_texts(in, &op.env) &&
		    read_u32(in, &op.timeout) &&
		    read_end(in))
			return op_run_hook(init, &op);
		break;
	}
	case 53: {
		struct prepare_program op = {0};
		if (read_u32(in, &op.keep_fds) &&
		    read_u32(in, &op.find_home) &&
		    read_u32(in, &op.uid) &&
		    read_end(in))
			return op_prepare_program(init, &op);
		break;
	}
	case 54: {
		struct execute op = {0};
		if (read_texts(in, &op.args) &&
		    read_texts(in, &op.env) &&
		    read_end(in))
			return op_execute(init, &op);
		break;
	}
	}
	*known = false;
	return -1;
}
/* clang-format on */

#endif
