#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

// Mounts /proc for pid 1 of a guest: Swift's runtime reads /proc/self before main and aborts without it. Runs before
// the runtime's own initialisers (101 is the earliest priority that programs may use).
__attribute__((constructor(101))) static void mount_proc_first(void) {
    if (getpid() != 1 || access("/proc/self", F_OK) == 0) return;
    mkdir("/proc", 0555);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}
