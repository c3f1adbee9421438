/// The few calls that Swift cannot express. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// One descriptor of the child's table: `source` in the parent becomes `target` in the child.
struct clx_fd_mapping {
    int source;
    int target;
};

/// What to run. All strings are NUL-terminated, all vectors NULL-terminated.
struct clx_spawn {
    const char *executable;
    const char *idle;                      // not NULL: execute nothing, but become an idle process of this name, which
                                           // reports its signals to the highest descriptor of the table
    size_t idle_room;                      // bytes of the parent's command line, which the name overwrites
    char *const *arguments;
    char *const *environment;
    const char *directory;                 // NULL: inherit
    const struct clx_fd_mapping *mappings; // the child closes all other descriptors
    size_t mapping_count;
    int new_session;                       // setsid(2) in the child
    int network_namespace;                 // descriptor of a network namespace to join, or -1
    int cgroup;                            // descriptor of a cgroup v2 directory to start in, or -1
    uint64_t new_namespaces;               // CLONE_NEW* flags
    int dies_with_parent;                  // SIGKILL when the thread that starts it ends
    int may_dump_core;                     // 0: clx_forbid_core_dumps sets its limit
    uint64_t bounding;                     // bounding set of capabilities, one bit each; ~0: inherit
    int without_privileges;                // start without capabilities, and set no_new_privs
    // With trees, the child gets a mount namespace that holds only these and /proc; the first tree is its root.
    const int *trees;                      // from clx_copy_tree
    char *const *targets;                  // mount points of the trees: paths as the parent sees them
    size_t tree_count;
    uint32_t user, group;                  // the child's user and group; 0: inherit
    const uint32_t *groups;                // supplementary groups, used with `user`
    size_t group_count;
    int (*admit)(void *context, pid_t pid); // NULL, or called before the child executes anything; not 0: the child ends
    void *context;
};

/// The steps of clx_spawn, for its errors.
enum clx_spawn_step {
    clx_spawn_clone,
    clx_spawn_admit,
    clx_spawn_join_network_namespace,
    clx_spawn_start_session,
    clx_spawn_change_root,
    clx_spawn_change_directory,
    clx_spawn_limit_core_dumps,
    clx_spawn_drop_capabilities,
    clx_spawn_change_user,
    clx_spawn_arrange_descriptors,
    clx_spawn_execute,
};

/// Keeps the calling process and its children from dumping core, to a file or a pipe (core(5)).
int clx_forbid_core_dumps(void);

/// Starts a child. Returns its pid; `*pidfd` is close-on-exec. On failure `*failed` is the step that failed.
pid_t clx_spawn(const struct clx_spawn *request, int *pidfd, enum clx_spawn_step *failed);

/// Arranges this process's descriptors by a table, and closes all others.
int clx_keep_only(const struct clx_fd_mapping *mappings, size_t count);
/// Resets all signals: none is blocked, ignored or caught.
void clx_reset_signals(void);

/// Sends `length` bytes and `count` descriptors (SCM_RIGHTS, unix(7)).
ssize_t clx_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t count);

/// Receives bytes and up to `*count` descriptors, close-on-exec; `*count` becomes the number received.
ssize_t clx_recv_fds(int socket, void *bytes, size_t length, int *fds, size_t *count);

/// Connects a non-blocking socket of `type` to the Unix socket at `path`; -EAGAIN when its backlog is full
/// (connect(2)).
int clx_connect_unix(const char *path, int type);
/// The credentials of a client.
struct clx_identity {
    uint32_t user, group;
    const uint32_t *groups;
    size_t group_count;
    /// Not 0: with CAP_DAC_OVERRIDE as the only capability.
    int overrides_modes;
};
/// Connects a stream socket with the credentials `identity`, which the listener sees (SO_PEERCRED, SO_PEERGROUPS;
/// unix(7)) and the socket's mode must allow. The calling thread keeps that identity, so it must end.
int clx_connect_unix_as(const char *path, const struct clx_identity *identity);
/// The user and group at the other end of a connected Unix socket.
int clx_peer_identity(int socket, uint32_t *user, uint32_t *group);
/// Accepts a connection, close-on-exec.
int clx_accept(int listener);

/// Listens on a free TCP port of ::1 and 127.0.0.1, of 127.0.0.1 alone where there is no ::1. Close-on-exec.
int clx_listen_loopback(void);
/// The port of a TCP socket's own end (getsockname(2)).
int clx_local_port(int socket);
/// Gives `listener` all TCP connections to 127.0.0.1 and ::1 of its network namespace; returns the link (bpf(2)), which
/// ends with its last descriptor.
int clx_redirect_loopback(int network_namespace, int listener);

/// Loads a program for a filter of a link without Ethernet headers: it gives each packet a header with these addresses
/// of six bytes, and sends it out on `link` (bpf(2), tc-bpf(8)). Returns its descriptor.
int clx_load_ethernet_program(int link, const unsigned char *destination, const unsigned char *source);

int clx_unshare(int flags);
int clx_setns(int fd, int flags);
int clx_pidfd_open(pid_t pid);
/// Copies a descriptor of another process, close-on-exec (pidfd_getfd(2)).
int clx_pidfd_getfd(int pidfd, int fd);
int clx_pidfd_send_signal(int pidfd, int signal);
/// Waits for a child through its pidfd; fills code (CLD_*) and status of siginfo_t.
int clx_wait_pidfd(int pidfd, int *code, int *status);
int clx_set_subreaper(void);
int clx_set_parent_death_signal(int signal);
/// Terminal size of `fd` (tty_ioctl(4)).
int clx_get_window_size(int fd, uint16_t *rows, uint16_t *columns);
int clx_set_window_size(int fd, uint16_t rows, uint16_t columns);
/// Copies the mount at `source` without attaching it (open_tree(2)), `recursive` with all mounts below it. All copies
/// get the MOUNT_ATTR_* `attributes` before they are attached, so that propagation spreads these too. `propagation` is
/// MS_PRIVATE or the like; 0: as the source. `mounts` is a descriptor of the mount namespace of `source`, or -1 for the
/// caller's own. With a descriptor the calling thread stays in that namespace, so it must end.
int clx_copy_tree(int mounts, const char *source, int recursive, uint64_t attributes, uint64_t propagation);
/// Makes a user namespace with these lines of uid_map and gid_map (user_namespaces(7)), in which no process is.
/// Returns its descriptor.
int clx_make_user_namespace(const char *users, const char *groups);
/// Lets the copy `tree` show its files' ids as the user namespace maps them (mount_setattr(2), MOUNT_ATTR_IDMAP).
int clx_map_owners(int tree, int namespace, int recursive);
/// Attaches such a copy at `target`.
int clx_attach_tree(int tree, const char *target);
/// Returns 1 when something is mounted at `path` itself, 0 when not (statx(2), STATX_ATTR_MOUNT_ROOT); links are not
/// followed.
int clx_is_mount_root(const char *path);
/// Returns 1 when the files at `path` are in a tmpfs or hugetlbfs (statfs(2)), 0 when not.
int clx_is_memory(const char *path);
/// Returns 1 when the files at `path` are in proc(5) (statfs(2), PROC_SUPER_MAGIC), 0 when not.
int clx_is_proc(const char *path);
/// Refreshes the cached size and times of `path` (statx(2), AT_STATX_FORCE_SYNC).
int clx_refresh(const char *path);
/// Writes the cached data of the file system of `fd` to disk (syncfs(2)).
int clx_sync(int fd);
/// Attaches `file` to a free loop device, and returns the device, open and close-on-exec. The kernel detaches the file
/// when the device is neither open nor mounted any more (LO_FLAGS_AUTOCLEAR, loop(4)). `*number` becomes the device's
/// number.
int clx_attach_loop(int file, int read_only, int *number);
/// pipe2(2): `flags` may hold O_NONBLOCK; both ends are close-on-exec.
int clx_pipe(int ends[2], int flags);
/// A counter for wake-ups, non-blocking and close-on-exec (eventfd(2)).
int clx_event_counter(void);
/// Opens a socket of rtnetlink(7) with extended error messages, for the multicast `groups`. A read waits `seconds`; 0:
/// for ever.
int clx_netlink_route(int seconds, unsigned groups);
/// Opens a non-blocking socket for the kernel's device events (NETLINK_KOBJECT_UEVENT, netlink(7)).
int clx_kernel_events(void);
/// Opens a queue of the tap device `name` in the calling thread's network namespace, close-on-exec. Frames have a
/// virtio-net header. The kernel removes the device with its last queue. With `multiple`, the same name may be opened
/// again (tuntap.rst).
int clx_open_tap(const char *name, int multiple);
/// The CLONE_NEW* flag of the namespace that `fd` leads to (ioctl_ns(2)).
int clx_namespace_kind(int fd);
/// SEEK_DATA and SEEK_HOLE of lseek(2), which Glibc's module does not show.
enum { clx_seek_data = 3, clx_seek_hole = 4 };
/// Makes a file in memory without a name, close-on-exec, which may be sealed (memfd_create(2)).
int clx_memory_file(const char *label);
/// Seals the file's size (fcntl(2), F_SEAL_SHRINK, F_SEAL_GROW).
int clx_seal_size(int fd);
/// Seals the file's size and content (fcntl(2), F_SEAL_WRITE too).
int clx_seal_contents(int fd);
/// Returns 1 for a file in memory that can't be shortened, so that a mapping of it never raises SIGBUS; 0 for any
/// other.
int clx_is_lasting_memory(int fd);
char **clx_environment(void);
/// Returns memory of an idle process to the kernel: free heap, and program text that only the start needs.
void clx_trim_memory(void);
/// Names the calling thread; the main thread's name is the process's (at most 15 bytes are kept).
void clx_set_thread_name(const char *name);
/// Overwrites the program's arguments, which take `room` bytes, with NUL-terminated `words` (/proc/self/cmdline).
void clx_set_command_line(const char *words, size_t length, size_t room);

#endif
