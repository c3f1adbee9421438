#define _GNU_SOURCE
#include "bpf_program.h"
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define OR_ERRNO(call)                 \
    do {                               \
        long result_ = (call);         \
        return result_ < 0 ? -errno : (int)result_; \
    } while (0)

int clx_pivot_root(const char *new_root, const char *put_old) { OR_ERRNO(syscall(SYS_pivot_root, new_root, put_old)); }

static int open_below(int root, const char *path, struct open_how how) {
    int fd;
    how.flags |= O_CLOEXEC;
    how.resolve |= RESOLVE_IN_ROOT;
    // EAGAIN: something on the way was renamed meanwhile, and ".." can't be trusted (openat2(2)).
    for (int turn = 0; turn < 64; turn++) {
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN) break;
    }
    return fd < 0 ? -errno : fd;
}

int clx_open_in_root(int root, const char *path, int flags, mode_t mode) {
    return open_below(root, path, (struct open_how){.flags = (uint64_t)flags, .mode = flags & O_CREAT ? mode : 0});
}

int clx_open_plainly(int root, const char *path, int flags) {
    return open_below(root, path, (struct open_how){.flags = (uint64_t)flags, .resolve = RESOLVE_NO_SYMLINKS});
}

int clx_open_on_mount(int root, const char *path, int flags) {
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    OR_ERRNO(syscall(SYS_openat2, root, path, &how, sizeof how));
}

int clx_copy_mount(int place, int recursive) {
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    OR_ERRNO(syscall(SYS_open_tree, place, "", flags));
}

int clx_move_mount(int mount, int place) {
    OR_ERRNO(syscall(SYS_move_mount, mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int clx_is_kernel_file(int place) {
    struct statfs system;
    if (fstatfs(place, &system) < 0) return -errno;
    return system.f_type == PROC_SUPER_MAGIC || system.f_type == SYSFS_MAGIC;
}

int clx_open_without_links(const char *path, int flags) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_NO_SYMLINKS};
    OR_ERRNO(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
}

int clx_shrink_cache(const char *path) {
    int context = (int)syscall(SYS_fspick, AT_FDCWD, path, FSPICK_CLOEXEC);
    if (context < 0) return -errno;
    int result = syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0 ? -errno : 0;
    close(context);
    return result;
}

int clx_mount_setattr(const char *path, uint64_t set, uint64_t clear, int recursive) {
    struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};
    OR_ERRNO(syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attributes, sizeof attributes));
}

int clx_mount_setattr_in(int mounts, const char *path, uint64_t set, uint64_t clear) {
    if (unshare(CLONE_FS) < 0 || setns(mounts, CLONE_NEWNS) < 0) return -errno;
    return clx_mount_setattr(path, set, clear, 0);
}

int clx_make_device(int directory, const char *name, mode_t mode, unsigned major, unsigned minor) {
    OR_ERRNO(mknodat(directory, name, mode, makedev(major, minor)));
}

int clx_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
        {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
    };
    OR_ERRNO(syscall(SYS_capset, &header, data));
}

int clx_bound_capabilities(uint64_t keep) {
    for (int capability = 0; capability < 64; capability++) {
        if (keep & (1ULL << capability)) continue;
        // EINVAL: the kernel has fewer capabilities than that.
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return errno == EINVAL ? 0 : -errno;
    }
    return 0;
}

int clx_set_ambient_capabilities(uint64_t ambient) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    for (int capability = 0; capability < 64; capability++)
        if (ambient & (1ULL << capability) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) return -errno;
    return 0;
}

int clx_set_keep_capabilities(int keep) { OR_ERRNO(prctl(PR_SET_KEEPCAPS, keep, 0, 0, 0)); }
int clx_set_no_new_privileges(void) { OR_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)); }

int clx_set_dumpable(int dumpable) { OR_ERRNO(prctl(PR_SET_DUMPABLE, dumpable, 0, 0, 0)); }

int clx_set_rlimit(pid_t process, int resource, uint64_t soft, uint64_t hard) {
    struct rlimit limit = {soft, hard};
    OR_ERRNO(prlimit(process, (__rlimit_resource_t)resource, &limit, NULL));
}

pid_t clx_fork(void) { OR_ERRNO(fork()); }

pid_t clx_fork_sibling(uint64_t new_namespaces, int cgroup) {
    struct clone_args arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = CLONE_PARENT | new_namespaces;
    if (cgroup >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
    }
    OR_ERRNO(syscall(SYS_clone3, &arguments, sizeof arguments));
}

int clx_open_slave(int master) {
    int unlock = 0;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return -errno;
    OR_ERRNO(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
}

int clx_terminal_number(int master) {
    unsigned number;
    if (ioctl(master, TIOCGPTN, &number) < 0) return -errno;
    return (int)number;
}

int clx_set_controlling_terminal(int fd) { OR_ERRNO(ioctl(fd, TIOCSCTTY, 0)); }

pid_t clx_wait_any(int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_ALL, 0, &info, WEXITED | __WALL) < 0) return -errno;
    *status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    return info.si_pid;
}

int clx_connect_vsock(uint32_t cid, uint32_t port) {
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = cid};
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_listen_vsock(uint32_t port) {
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = VMADDR_CID_ANY};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 128) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_accept_vsock(int listener, uint32_t *cid) {
    struct sockaddr_vm address = {0};
    socklen_t length = sizeof address;
    int fd = accept4(listener, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    *cid = address.svm_family == AF_VSOCK ? address.svm_cid : 0;
    return fd;
}

int clx_vhost_vsock(uint32_t cid) {
    int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    uint64_t number = cid;
    if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &number) == 0) return fd;
    int error = errno;
    close(fd);
    return -error;
}

int clx_load_module(int fd, const char *parameters, int compressed) {
    OR_ERRNO(syscall(SYS_finit_module, fd, parameters, compressed ? MODULE_INIT_COMPRESSED_FILE : 0));
}

int clx_power_off(void) {
    sync();
    OR_ERRNO(reboot(RB_POWER_OFF));
}

int clx_set_clock(int64_t seconds, int64_t microseconds) {
    struct timeval now = {seconds, microseconds};
    OR_ERRNO(settimeofday(&now, NULL));
}

int clx_add_entropy(const void *bytes, size_t length) {
    if (length > 4096) length = 4096;
    int fd = open("/dev/random", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct {
        int bits;
        int size;
        unsigned char bytes[4096];
    } pool = {(int)length * 8, (int)length, {0}};
    memcpy(pool.bytes, bytes, length);
    int failed = ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0;
    int error = errno;
    close(fd);
    return failed ? -error : 0;
}

int clx_loopback_up(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    int failed = ioctl(fd, SIOCSIFFLAGS, &request) < 0;
    int error = errno;
    close(fd);
    return failed ? -error : 0;
}

int clx_set_scheduler(const struct clx_scheduler *wanted) {
    // struct sched_attr of linux/sched/types.h, first version; glibc has no call for it before 2.41.
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes = {48, wanted->policy, wanted->flags, wanted->nice, wanted->priority, wanted->runtime, wanted->deadline, wanted->period};
    OR_ERRNO(syscall(SYS_sched_setattr, 0, &attributes, 0));
}

int clx_set_io_priority(int class, int level) {
    OR_ERRNO(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(class, level)));
}

int clx_set_affinity(const int *processors, size_t count) {
    size_t size = CPU_ALLOC_SIZE(8192);
    cpu_set_t *set = CPU_ALLOC(8192);
    if (!set) return -ENOMEM;
    CPU_ZERO_S(size, set);
    for (size_t i = 0; i < count; i++) CPU_SET_S(processors[i], size, set);
    int failed = sched_setaffinity(0, size, set) < 0;
    int error = errno;
    CPU_FREE(set);
    return failed ? -error : 0;
}

int clx_set_personality(unsigned long domain) { OR_ERRNO(personality(domain)); }

int clx_attach_device_filter(int cgroup, const uint64_t *instructions, size_t count) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.insn_cnt = (uint32_t)count;
    attributes.license = (uint64_t)(uintptr_t)"GPL";
    int program = bpf_call(BPF_PROG_LOAD, &attributes);
    if (program < 0) return program;
    memset(&attributes, 0, sizeof attributes);
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.target_fd = (uint32_t)cgroup;
    attributes.attach_bpf_fd = (uint32_t)program;
    attributes.attach_flags = BPF_F_ALLOW_MULTI;
    // The cgroup keeps the program.
    int attached = bpf_call(BPF_PROG_ATTACH, &attributes);
    close(program);
    return attached < 0 ? attached : 0;
}

int clx_load_seccomp(const uint64_t *instructions, size_t count, unsigned flags) {
    if (count > BPF_MAXINSNS) return -E2BIG;
    struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)(uintptr_t)instructions};
    OR_ERRNO(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}
