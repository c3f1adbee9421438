// snoop SECONDS [write]: looks for processes of its pid namespace whose program is not the image's, for so long, or once with 0.
// Without "write" it tries on each what a tracer would, prints a line for all that succeeded, and says whether it saw any.
// With "write" it opens the program of the first for writing, and prints what came of it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>
#include <unistd.h>

static char target[256];

static const char *file_of(const char *pid, const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    return path;
}

static int follow(const char *pid, const char *name) {
    ssize_t length = readlink(file_of(pid, name), target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    return length > 0;
}

// Neither the image's program nor ended; the program's path is in `target`, if it can be told. A process that ends has no memory any
// more, and its files below /proc are open to all.
static int is_strange(const char *pid) {
    if (follow(pid, "exe") && strncmp(target, "/bin/", 5) == 0) return 0;
    char size = '0';
    int fd = open(file_of(pid, "statm"), O_RDONLY);
    if (fd < 0) return 0;
    ssize_t length = read(fd, &size, 1);
    close(fd);
    return length == 1 && size != '0';
}

static void try_tracing(const char *pid) {
    static const char *const files[] = {"exe", "mem", "environ", "maps"}, *const links[] = {"exe", "cwd", "root", "fd/3"};
    // By the second look it may run its program, which others may look at, or have ended.
    for (int i = 0; i < 4; i++) {
        int fd = open(file_of(pid, files[i]), O_RDONLY);
        if (fd >= 0 && is_strange(pid)) printf("opened %s\n", files[i]);
        if (fd >= 0) close(fd);
        if (follow(pid, links[i]) && is_strange(pid)) printf("followed %s\n", links[i]);
    }
    if (ptrace(PTRACE_SEIZE, atoi(pid), 0, 0) == 0) {
        if (is_strange(pid)) printf("traced\n");
        ptrace(PTRACE_DETACH, atoi(pid), 0, 0);
    }
}

int main(int count, char **words) {
    time_t end = time(NULL) + atoi(words[1]);
    int seen = 0;
    do {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while ((entry = readdir(proc))) {
            const char *pid = entry->d_name;
            if (*pid < '0' || *pid > '9' || !is_strange(pid)) continue;
            seen = 1;
            if (count < 3) {
                try_tracing(pid);
            } else if (*target) {
                int fd = open(file_of(pid, "exe"), O_WRONLY | O_TRUNC);
                if (fd < 0 && (errno == ENOENT || errno == ESRCH)) continue;
                printf("write: %s\n", fd < 0 ? strerror(errno) : "succeeded");
                return 0;
            }
        }
        closedir(proc);
    } while (time(NULL) < end);
    printf("stages %s\n", seen ? "seen" : "missed");
}
