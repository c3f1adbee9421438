#define _GNU_SOURCE
#include "device.h"
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int clx_is_typeless(int fd) {
    struct stat facts;
    if (fstat(fd, &facts) < 0) return -errno;
    return (facts.st_mode & S_IFMT) == 0;
}

int clx_take_event(int fd) {
    uint64_t counter;
    struct iovec room = {&counter, sizeof counter};
    ssize_t count = preadv2(fd, &room, 1, -1, RWF_NOWAIT);
    return count < 0 ? -errno : (int)count;
}

#if defined(__x86_64__)

// The allowed calls. None of them opens, connects, executes, traces, or starts a thread.
static const int calls[] = {
    // Streams, rings and the VMM, the most frequent first
    SYS_poll, SYS_writev, SYS_readv, SYS_write, SYS_preadv2, SYS_read, SYS_recvmsg, SYS_accept4, SYS_setsockopt,
    SYS_shutdown, SYS_close, SYS_fstat, SYS_newfstatat, SYS_fstatfs,
    // Memory, beside mmap and mprotect
    SYS_munmap, SYS_madvise, SYS_mremap, SYS_brk, SYS_getrandom, SYS_sched_getaffinity,
    // Threads and time
    SYS_futex, SYS_sched_yield, SYS_clock_gettime, SYS_gettid, SYS_getpid, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_restart_syscall, SYS_exit, SYS_exit_group,
};
static const unsigned commands[] = {F_GETFL, F_SETFL, F_GET_SEALS};

enum { CALLS = sizeof calls / sizeof *calls, COMMANDS = sizeof commands / sizeof *commands };

#define LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
// The upper half of an argument, which has 64 bits.
#define LOAD_UPPER(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
// Skips one instruction unless what was loaded is `value`.
#define IF(value) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
// Skips `count` instructions unless what was loaded is `value`.
#define OTHERWISE(value, count) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count)
// Skips one instruction if what was loaded is `value`.
#define UNLESS(value) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0)
#define ALLOW (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

int clx_confine_device(void) {
    struct sock_filter filter[2 * CALLS + 2 * COMMANDS + 40], *next = filter;
    *next++ = LOAD(arch);
    *next++ = UNLESS(AUDIT_ARCH_X86_64);
    *next++ = REFUSE;
    *next++ = LOAD(nr);
    for (int i = 0; i < CALLS; i++) {
        *next++ = IF((unsigned)calls[i]);
        *next++ = ALLOW;
    }
    // Allows sends to the peer of a connected socket, but to no address.
    *next++ = OTHERWISE(SYS_sendto, 6);
    *next++ = LOAD(args[4]);
    *next++ = OTHERWISE(0, 2);
    *next++ = LOAD_UPPER(args[4]);
    *next++ = UNLESS(0);
    *next++ = REFUSE;
    *next++ = ALLOW;
    // Allows pairs of streams, but no sockets that could send to an address.
    *next++ = OTHERWISE(SYS_socketpair, 7);
    *next++ = LOAD(args[0]);
    *next++ = OTHERWISE(AF_UNIX, 3);
    *next++ = LOAD(args[1]);
    *next++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(SOCK_CLOEXEC | SOCK_NONBLOCK));
    *next++ = UNLESS(SOCK_STREAM);
    *next++ = REFUSE;
    *next++ = ALLOW;
    // Allows signals to this process alone: abort(3) sends one.
    *next++ = OTHERWISE(SYS_tgkill, 4);
    *next++ = LOAD(args[0]);
    *next++ = UNLESS((unsigned)getpid());
    *next++ = REFUSE;
    *next++ = ALLOW;
    // Allows memory, but no executable memory.
    *next++ = UNLESS(SYS_mmap);
    *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 4);
    *next++ = LOAD(args[2]);
    *next++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
    *next++ = REFUSE;
    *next++ = ALLOW;
    *next++ = UNLESS(SYS_fcntl);
    *next++ = REFUSE;
    *next++ = LOAD(args[1]);
    for (int i = 0; i < COMMANDS; i++) {
        *next++ = IF(commands[i]);
        *next++ = ALLOW;
    }
    *next++ = REFUSE;
    // Affects this thread alone (prctl(2)): children of other threads may be setuid programs.
    int failed = clx_set_no_new_privileges();
    if (failed < 0) return failed;
    // SPEC_ALLOW: older kernels turn speculation off for filtered threads, which slows memory accesses down
    // (seccomp(2)).
    return clx_load_seccomp((const uint64_t *)filter, next - filter, SECCOMP_FILTER_FLAG_SPEC_ALLOW);
}

#else

int clx_confine_device(void) { return -ENOSYS; }

#endif
