#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

// Swift's runtime reads /proc/self before main and aborts without it. As pid 1 of a guest nobody else has mounted it,
// so this runs before the runtime's own initialisers (priority 101 is the earliest that programs may use).
__attribute__((constructor(101))) static void mount_proc_first(void) {
    if (getpid() != 1 || access("/proc/self", F_OK) == 0) return;
    mkdir("/proc", 0555);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}
