/// Calls for the start of containers and for pid 1 of a guest. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_CONTAINER_H
#define CLINUX_CONTAINER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum clx_namespaces {
    clx_new_cgroup = 0x02000000,
    clx_new_uts = 0x04000000,
    clx_new_ipc = 0x08000000,
    clx_new_user = 0x10000000,
    clx_new_pid = 0x20000000,
    clx_new_net = 0x40000000,
    clx_new_mount = 0x00020000,
    clx_new_time = 0x00000080,
};

/// O_PATH of open(2) and AT_EMPTY_PATH of openat(2), which Glibc's module does not show.
enum { clx_open_path = 010000000, clx_empty_path = 0x1000 };

int clx_pivot_root(const char *new_root, const char *put_old);
/// Opens with RESOLVE_IN_ROOT (openat2(2)): no link and no ".." leads out of `root`.
int clx_open_in_root(int root, const char *path, int flags, mode_t mode);
/// The same without links: a link on the way is ELOOP (RESOLVE_NO_SYMLINKS).
int clx_open_plainly(int root, const char *path, int flags);
/// The same below `root` and on its mount: ".." above it and another mount on the way are EXDEV.
int clx_open_on_mount(int root, const char *path, int flags);
/// Copies the mount that the descriptor `place` leads to, from there on, without attaching it (open_tree(2)).
int clx_copy_mount(int place, int recursive);
/// Attaches a copied mount, or moves an attached one, to where the descriptor `place` leads (move_mount(2)).
int clx_move_mount(int mount, int place);
/// Returns 1 when `place` is a file of proc(5) or sysfs(5), 0 when not (statfs(2)).
int clx_is_kernel_file(int place);
/// openat2(2) with RESOLVE_NO_SYMLINKS: fails with ELOOP if any name of `path` is a link.
int clx_open_without_links(const char *path, int flags);
/// Drops the names and inodes of the file system at `path` that the kernel has cached and nothing uses. It is what a
/// reconfiguration does first (reconfigure_super in fs/super.c); nothing is reconfigured.
int clx_shrink_cache(const char *path);
/// mount_setattr(2) on a mounted path; `recursive` for the whole tree.
int clx_mount_setattr(const char *path, uint64_t set, uint64_t clear, int recursive);
/// The same for one mount in the mount namespace `mounts`. The calling thread stays in that namespace, so it must end.
int clx_mount_setattr_in(int mounts, const char *path, uint64_t set, uint64_t clear);
int clx_make_device(int directory, const char *name, mode_t mode, unsigned major, unsigned minor);

/// capset(2): sets of this thread, one bit a capability.
int clx_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);
/// Drops every capability from the bounding set that is not in `keep`.
int clx_bound_capabilities(uint64_t keep);
int clx_set_ambient_capabilities(uint64_t ambient);
int clx_set_keep_capabilities(int keep);
int clx_set_no_new_privileges(void);
/// Sets PR_SET_DUMPABLE. 0: other processes with the same credentials can neither trace the process nor open its files below
/// /proc, and it dumps no core. Children inherit it; execve(2) resets it.
int clx_set_dumpable(int dumpable);
/// Sets a limit of a process; 0: of the caller (prlimit(2)).
int clx_set_rlimit(pid_t process, int resource, uint64_t soft, uint64_t hard);

/// sched_setattr(2); times in nanoseconds.
struct clx_scheduler {
    uint32_t policy, priority;
    int32_t nice;
    uint64_t flags, runtime, deadline, period;
};
int clx_set_scheduler(const struct clx_scheduler *wanted);
/// ioprio_set(2) for this thread.
int clx_set_io_priority(int class, int level);
/// sched_setaffinity(2); processors are below 8192.
int clx_set_affinity(const int *processors, size_t count);
/// personality(2).
int clx_set_personality(unsigned long domain);

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE and attaches it to a cgroup, beside what is attached there
/// (bpf(2)).
int clx_attach_device_filter(int cgroup, const uint64_t *instructions, size_t count);

/// Loads instructions of classic BPF as a filter of system calls; `flags` are seccomp(2)'s.
int clx_load_seccomp(const uint64_t *instructions, size_t count, unsigned flags);

/// Forks a single-threaded process. Returns the child's pid, 0 in the child.
pid_t clx_fork(void);
/// Forks a single-threaded process; the child's parent is the caller's (CLONE_PARENT). Returns its pid, 0 in the child.
/// - `new_namespaces`: CLONE_NEW* flags; `cgroup`: descriptor of a cgroup v2 directory to begin in, or -1.
pid_t clx_fork_sibling(uint64_t new_namespaces, int cgroup);

/// Opens the slave of the terminal whose master is `master` (pts(4)).
int clx_open_slave(int master);
/// The number of the terminal in /dev/pts.
int clx_terminal_number(int master);
int clx_set_controlling_terminal(int fd);

/// Waits for any child. Returns its pid; `*status` is the exit status, 128+n for signal n.
pid_t clx_wait_any(int *status);

int clx_connect_vsock(uint32_t cid, uint32_t port);
/// Listens for streams from any peer (vsock(7)).
int clx_listen_vsock(uint32_t port);
/// Accepts a connection, close-on-exec. `*cid` is the vsock address of its peer, 0 on sockets of another family.
int clx_accept_vsock(int listener, uint32_t *cid);
/// Opens the host's side of the guest `cid` (/dev/vhost-vsock). -EADDRINUSE: another guest has that number.
int clx_vhost_vsock(uint32_t cid);
/// Loads a module's file. `compressed`: the kernel decompresses it first.
int clx_load_module(int fd, const char *parameters, int compressed);
int clx_power_off(void);
int clx_set_clock(int64_t seconds, int64_t microseconds);
/// Mixes bytes into the kernel's pool, credits them, and reseeds (random(4)).
int clx_add_entropy(const void *bytes, size_t length);
int clx_loopback_up(void);

/// Runs 64-bit code with paging, a page fault and vector registers on a virtual CPU of `device` (/dev/kvm).
/// Returns microseconds, or -ENOTSUP when the code came to another end, -ETIME after `limit` microseconds, -errno.
int64_t clx_kvm_probe(const char *device, int64_t limit);

#endif
