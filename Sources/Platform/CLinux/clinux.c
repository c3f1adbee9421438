#define _GNU_SOURCE
#include "clinux.h"
#include "container.h"
#include "idle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <linux/if_tun.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { HIGHEST_MAPPING = 16 };
// MNT_DETACH and CLOSE_RANGE_CLOEXEC, which the headers above don't define everywhere.
enum { DETACH = 2, CLOEXEC_RANGE = 1 << 2 };

struct failure {
    enum clx_spawn_step step;
    int error;
};

static void fail(int report, enum clx_spawn_step step) {
    struct failure failure = {step, errno};
    ssize_t ignored = write(report, &failure, sizeof failure);
    (void)ignored;
    _exit(127);
}

// Replaces the root by the trees.
static int enter_root(const struct clx_spawn *request) {
    // Mounts made later, here or on the host, stay on their side.
    if (syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -1;
    for (size_t i = 0; i < request->tree_count; i++) {
        int failed = clx_attach_tree(request->trees[i], request->targets[i]);
        if (failed < 0) {
            errno = -failed;
            return -1;
        }
    }
    // Stacks the old root on the new one and detaches it (pivot_root(2)).
    if (chdir(request->targets[0]) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
        syscall(SYS_umount2, ".", DETACH) < 0)
        return -1;
    return (int)syscall(SYS_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid");
}

// Makes raw system calls: the C library's functions would wait for threads that only the parent has.
static int change_user(const struct clx_spawn *request) {
    if (syscall(SYS_setgroups, request->group_count, request->groups) < 0) return -1;
    if (syscall(SYS_setresgid, request->group, request->group, request->group) < 0) return -1;
    return (int)syscall(SYS_setresuid, request->user, request->user, request->user);
}

enum { FAILED = -2, FIRST_MOVED = 64 };

// Moves each source to its target and closes all other numbers below FIRST_MOVED. Moves `*kept`, if given, above them.
// Returns the highest target, -1 for none, or FAILED.
static int arrange(const struct clx_fd_mapping *mappings, size_t count, int *kept) {
    // Sources move above every target first, so that no dup2 overwrites a source still needed.
    int moved[HIGHEST_MAPPING];
    for (size_t i = 0; i < count; i++) {
        moved[i] = fcntl(mappings[i].source, F_DUPFD_CLOEXEC, FIRST_MOVED);
        if (moved[i] < 0) return FAILED;
    }
    if (kept) {
        int kept_moved = fcntl(*kept, F_DUPFD_CLOEXEC, FIRST_MOVED);
        if (kept_moved < 0) return FAILED;
        *kept = kept_moved;
    }
    syscall(SYS_close_range, 0, FIRST_MOVED - 1, 0);
    int highest = -1;
    for (size_t i = 0; i < count; i++) {
        if (dup2(moved[i], mappings[i].target) < 0) return FAILED;
        if (mappings[i].target > highest) highest = mappings[i].target;
    }
    return highest;
}

void clx_reset_signals(void) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    // The C library's signal(3) takes a lock since glibc 2.41, which another thread may hold at the fork.
    struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } standard = {SIG_DFL, 0, NULL, 0};
    for (int number = 1; number < 32; number++) syscall(SYS_rt_sigaction, number, &standard, NULL, sizeof standard.mask);
}

int clx_keep_only(const struct clx_fd_mapping *mappings, size_t count) {
    if (count > HIGHEST_MAPPING) return -EINVAL;
    int highest = arrange(mappings, count, NULL);
    if (highest == FAILED) return -errno;
    return syscall(SYS_close_range, highest + 1, ~0U, 0) < 0 ? -errno : 0;
}

int clx_forbid_core_dumps(void) {
    // A limit of 0 still pipes a dump to a program, a limit of 1 doesn't (fs/coredump.c). Both are too small for a
    // file.
    struct rlimit limit = {1, 1};
    if (setrlimit(RLIMIT_CORE, &limit) == 0) return 0;
    // Fails when the hard limit is 0 already, which only CAP_SYS_RESOURCE can raise.
    limit = (struct rlimit){0, 0};
    return setrlimit(RLIMIT_CORE, &limit) < 0 ? -errno : 0;
}

// Runs in the child of a multithreaded process, so it makes only async-signal-safe calls.
static void child(const struct clx_spawn *request, int report, int gate) {
    char go;
    if (request->network_namespace >= 0 && setns(request->network_namespace, CLONE_NEWNET) < 0) fail(report, clx_spawn_join_network_namespace);
    if (request->new_session && setsid() < 0) fail(report, clx_spawn_start_session);
    if (request->tree_count && enter_root(request) < 0) fail(report, clx_spawn_change_root);
    if (request->directory && chdir(request->directory) < 0) fail(report, clx_spawn_change_directory);
    if (!request->may_dump_core && clx_forbid_core_dumps() < 0) fail(report, clx_spawn_limit_core_dumps);

    // The bounding set comes first: after the change of user, this process may no longer change it. At exec, no
    // program gets a capability outside of the set, not even root's (capabilities(7)).
    if (clx_bound_capabilities(request->bounding) < 0) fail(report, clx_spawn_drop_capabilities);
    if (request->without_privileges && clx_set_ambient_capabilities(0) < 0) fail(report, clx_spawn_drop_capabilities);
    if (request->user && change_user(request) < 0) fail(report, clx_spawn_change_user);
    if (request->without_privileges && (clx_set_capabilities(0, 0, 0) < 0 || clx_set_no_new_privileges() < 0))
        fail(report, clx_spawn_drop_capabilities);

    // Comes after the change of user, which clears it (prctl(2)).
    if (request->dies_with_parent) prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // Comes after PR_SET_PDEATHSIG: a parent that died before it closed the gate, and the read ends here.
    if (request->admit && read(gate, &go, 1) != 1) _exit(127);

    int kept = report, highest = arrange(request->mappings, request->mapping_count, &kept);
    if (highest == FAILED) fail(kept, clx_spawn_arrange_descriptors);
    // Closes everything above the table at exec. This project's own descriptors are close-on-exec already.
    syscall(SYS_close_range, highest + 1, ~0U, CLOEXEC_RANGE);
    if (request->idle) {
        // Ends the report: there is no program to execute.
        syscall(SYS_close_range, highest + 1, ~0U, 0);
        clx_set_thread_name(request->idle);
        clx_idle(request->idle, strlen(request->idle) + 1, request->idle_room, highest);
    }
    clx_reset_signals();
    execve(request->executable, request->arguments, request->environment);
    fail(kept, clx_spawn_execute);
}

pid_t clx_spawn(const struct clx_spawn *request, int *pidfd, enum clx_spawn_step *failed) {
    *pidfd = -1;
    *failed = clx_spawn_clone;
    if (request->mapping_count > HIGHEST_MAPPING) return -E2BIG;
    int pipes[2], gate[2];
    if (pipe2(pipes, O_CLOEXEC) < 0) return -errno;
    if (pipe2(gate, O_CLOEXEC) < 0) {
        int error = errno;
        close(pipes[0]);
        close(pipes[1]);
        return -error;
    }
    struct clone_args arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = CLONE_PIDFD | request->new_namespaces | (request->tree_count ? CLONE_NEWNS : 0);
    if (request->cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)request->cgroup;
    }
    arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    arguments.exit_signal = SIGCHLD;

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    // Managers' default filters hide clone3(2), whose flags they can't read. clone(2) enters no cgroup.
    if (pid < 0 && errno == ENOSYS && request->cgroup < 0)
        pid = (pid_t)syscall(SYS_clone, arguments.flags | arguments.exit_signal, NULL, pidfd, NULL, NULL);
    int error = errno;
    if (pid == 0) {
        close(gate[1]);
        child(request, pipes[1], gate[0]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(pipes[1]);
    if (pid < 0) {
        close(pipes[0]);
        close(gate[0]);
        close(gate[1]);
        return -error;
    }
    struct failure failure;
    int refusal = request->admit ? request->admit(request->context, pid) : 0;
    // Fails with EPIPE when the child has failed already.
    if (request->admit && refusal == 0 && write(gate[1], "", 1) != 1) refusal = -errno;
    close(gate[0]);
    close(gate[1]);
    ssize_t got;
    do got = read(pipes[0], &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    close(pipes[0]);
    if (refusal != 0) failure = (struct failure){clx_spawn_admit, -refusal};
    else if (got != sizeof failure) return pid;
    *failed = failure.step;
    siginfo_t info;
    waitid(P_PIDFD, (id_t)*pidfd, &info, WEXITED);
    close(*pidfd);
    *pidfd = -1;
    return -failure.error;
}

ssize_t clx_send_fds(int socket, const void *bytes, size_t length, const int *fds, size_t count) {
    if (count > HIGHEST_MAPPING) return -E2BIG;
    union {
        char buffer[CMSG_SPACE(sizeof(int) * HIGHEST_MAPPING)];
        struct cmsghdr alignment;
    } control;
    struct iovec vector = {(void *)bytes, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

ssize_t clx_recv_fds(int socket, void *bytes, size_t length, int *fds, size_t *count) {
    union {
        char buffer[CMSG_SPACE(sizeof(int) * HIGHEST_MAPPING)];
        struct cmsghdr alignment;
    } control;
    size_t room = *count > HIGHEST_MAPPING ? HIGHEST_MAPPING : *count;
    *count = 0;
    struct iovec vector = {bytes, length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.buffer,
                             .msg_controllen = CMSG_SPACE(sizeof(int) * room)};
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0) return -errno;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < received; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (*count < room) fds[(*count)++] = fd;
            else close(fd);
        }
    }
    return got;
}

int clx_connect_unix(const char *path, int type) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_connect_unix_as(const char *path, const struct clx_identity *identity) {
    // A change of the effective user makes the process undumpable.
    int dumpable = prctl(PR_GET_DUMPABLE);
    // Raw system calls change this thread alone; the C library's functions would change all.
    int failed = syscall(SYS_setgroups, identity->group_count, identity->groups) != 0 ||
                 syscall(SYS_setresgid, -1, identity->group, -1) != 0 ||
                 syscall(SYS_setresuid, -1, identity->user, -1) != 0;
    int result = failed ? -errno : 0;
    uint64_t kept = identity->overrides_modes ? 1ULL << CAP_DAC_OVERRIDE : 0;
    if (result == 0) result = clx_set_capabilities(kept, kept, 0);
    if (result == 0) result = clx_connect_unix(path, SOCK_STREAM);
    prctl(PR_SET_DUMPABLE, dumpable);
    return result;
}

int clx_peer_identity(int socket, uint32_t *user, uint32_t *group) {
    struct ucred peer = {0};
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -errno;
    *user = peer.uid;
    *group = peer.gid;
    return 0;
}

int clx_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clx_unshare(int flags) { return unshare(flags) < 0 ? -errno : 0; }
int clx_setns(int fd, int flags) { return setns(fd, flags) < 0 ? -errno : 0; }

int clx_pidfd_open(pid_t pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int clx_pidfd_getfd(int pidfd, int fd) {
    int result = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
    return result < 0 ? -errno : result;
}

int clx_pidfd_send_signal(int pidfd, int number) {
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

int clx_wait_pidfd(int pidfd, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
        if (errno != EINTR) return -errno;
    *code = info.si_code;
    *status = info.si_status;
    return 0;
}

int clx_set_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0; }
int clx_set_parent_death_signal(int number) { return prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) < 0 ? -errno : 0; }

int clx_get_window_size(int fd, uint16_t *rows, uint16_t *columns) {
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) < 0) return -errno;
    *rows = size.ws_row;
    *columns = size.ws_col;
    return 0;
}

int clx_set_window_size(int fd, uint16_t rows, uint16_t columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int clx_pipe(int ends[2], int flags) { return pipe2(ends, flags | O_CLOEXEC) < 0 ? -errno : 0; }

int clx_event_counter(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clx_open_tap(const char *name, int multiple) {
    struct ifreq request = {0};
    if (strlen(name) >= sizeof request.ifr_name) return -ENAMETOOLONG;
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multiple ? IFF_MULTI_QUEUE : 0);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -errno;
    if (ioctl(fd, TUNSETIFF, &request) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_namespace_kind(int fd) {
    int kind = ioctl(fd, NS_GET_NSTYPE);
    return kind < 0 ? -errno : kind;
}

int clx_seal_contents(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int clx_memory_file(const char *label) {
    int fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

int clx_seal_size(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int clx_is_lasting_memory(int fd) {
    struct statfs facts;
    int seals = fcntl(fd, F_GET_SEALS);
    // Refuses hugetlbfs: for a punched-out page there may be no huge page left, and an access raises SIGBUS.
    return seals >= 0 && seals & F_SEAL_SHRINK && fstatfs(fd, &facts) == 0 && facts.f_type == TMPFS_MAGIC;
}

char **clx_environment(void) { return environ; }

extern const char __executable_start[], etext[];

void clx_trim_memory(void) {
    malloc_trim(0);
    // Clean pages of the executable come back from the page cache when they run again.
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = ((uintptr_t)__executable_start + page - 1) & ~(page - 1);
    uintptr_t end = (uintptr_t)etext & ~(page - 1);
    if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
}

void clx_set_command_line(const char *words, size_t length, size_t room) {
    // glibc's pointer to argv[0], with which the kernel's area begins.
    if (length > room) return;
    memset(program_invocation_name, 0, room);
    memcpy(program_invocation_name, words, length);
}

void clx_set_thread_name(const char *name) {
    char kept[16];
    strncpy(kept, name, sizeof kept - 1);
    kept[sizeof kept - 1] = 0;
    prctl(PR_SET_NAME, kept, 0, 0, 0);
}

int clx_copy_tree(int mounts, const char *source, int recursive, uint64_t attributes, uint64_t propagation) {
    if (mounts >= 0 && (unshare(CLONE_FS) < 0 || setns(mounts, CLONE_NEWNS) < 0)) return -errno;
    unsigned below = recursive ? AT_RECURSIVE : 0;
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | below);
    if (fd < 0) return -errno;
    struct mount_attr wanted = {.attr_set = attributes, .propagation = propagation};
    if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &wanted, sizeof wanted) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

static int write_file(pid_t pid, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    // The kernel takes a map in one write only.
    int result = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int clx_make_user_namespace(const char *users, const char *groups) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0) return -errno;
    // A namespace needs a process to be mapped and opened: a copy of this thread, which does nothing else. It has no
    // signal for its end, so no other thread's wait finds it.
    sigset_t all, before;
    sigfillset(&all);
    // The copy must run none of this process's handlers.
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pid_t child = (pid_t)syscall(SYS_clone, (unsigned long)CLONE_NEWUSER, NULL, NULL, NULL, NULL);
    if (child != 0) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child == 0) {
        char byte;
        syscall(SYS_close, gate[1]);
        syscall(SYS_read, gate[0], &byte, 1);
        syscall(SYS_exit_group, 0);
        __builtin_unreachable();
    }
    int result = child < 0 ? -errno : 0;
    close(gate[0]);
    if (child > 0) {
        result = write_file(child, "uid_map", users);
        if (result == 0) result = write_file(child, "gid_map", groups);
        if (result == 0) {
            char path[64];
            snprintf(path, sizeof path, "/proc/%d/ns/user", child);
            result = open(path, O_RDONLY | O_CLOEXEC);
            if (result < 0) result = -errno;
        }
    }
    close(gate[1]);
    // Another thread's copy may hold the gate open.
    if (child > 0) kill(child, SIGKILL);
    while (child > 0 && waitpid(child, NULL, __WALL) < 0 && errno == EINTR) {}
    return result;
}

int clx_map_owners(int tree, int namespace, int recursive) {
    struct mount_attr wanted = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)namespace};
    int flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    return syscall(SYS_mount_setattr, tree, "", flags, &wanted, sizeof wanted) < 0 ? -errno : 0;
}

int clx_attach_tree(int tree, const char *target) {
    return syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

int clx_is_mount_root(const char *path) {
    struct statx status;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &status) < 0) return -errno;
    return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int clx_is_memory(const char *path) {
    struct statfs system;
    if (statfs(path, &system) < 0) return -errno;
    return system.f_type == TMPFS_MAGIC || system.f_type == HUGETLBFS_MAGIC;
}

int clx_is_proc(const char *path) {
    struct statfs system;
    return statfs(path, &system) < 0 ? -errno : system.f_type == PROC_SUPER_MAGIC;
}

int clx_refresh(const char *path) {
    struct statx status;
    return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT, STATX_SIZE | STATX_MTIME, &status) < 0 ? -errno : 0;
}

int clx_sync(int fd) { return syncfs(fd) < 0 ? -errno : 0; }

int clx_attach_loop(int file, int read_only, int *number) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -errno;
    struct loop_config config = {.fd = file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0)}};
    int result = -EBUSY;
    // Tries again when another program has taken the free device first.
    for (int turn = 0; turn < 64 && result == -EBUSY; turn++) {
        char path[32];
        *number = ioctl(control, LOOP_CTL_GET_FREE);
        if (*number < 0) {
            result = -errno;
            break;
        }
        snprintf(path, sizeof path, "/dev/loop%d", *number);
        int device = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
        if (device < 0) {
            result = -errno;
            break;
        }
        result = ioctl(device, LOOP_CONFIGURE, &config) < 0 ? -errno : device;
        if (result < 0) close(device);
    }
    close(control);
    return result;
}

int clx_kernel_events(void) {
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_netlink_route(int seconds, unsigned groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return -errno;
    int on = 1;
    // Ignores the failure on an old kernel, which gives no explanations.
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    struct timeval limit = {seconds, 0};
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}
