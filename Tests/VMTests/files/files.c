// What busybox can't do with files, for containers. Each command prints one line.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

// Seconds after which a peer is taken to be gone.
enum { patience = 120 };

static int say(const char *what) { return puts(what) < 0 ? 1 : 0; }
static int fail(void) { return say(strerror(errno)), 1; }

static struct sockaddr_un address(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return name;
}

// Serves one client after another.
static int serve(const char *path) {
    struct sockaddr_un name = address(path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (void *)&name, sizeof name) < 0 || listen(listener, 9) < 0) return fail();
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) return fail();
        dprintf(client, "served\n");
        close(client);
    }
}

static int join(const char *path) {
    struct sockaddr_un name = address(path);
    char text[64] = "";
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (void *)&name, sizeof name) < 0) return fail();
    ssize_t length = read(fd, text, sizeof text - 1);
    return length < 0 ? fail() : (printf("%s", text), 0);
}

static char *map(const char *path, int writable) {
    int fd = open(path, writable ? O_RDWR : O_RDONLY);
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

// Waits until another one writes through a mapping of its own.
static int watch(const char *path) {
    volatile char *memory = map(path, 0);
    if (!memory) return fail();
    for (int turn = 0; memory[0] != '!' && turn < patience * 100; turn++) usleep(10000);
    return say(memory[0] == '!' ? "coherent" : "another file");
}

static int poke(const char *path) {
    char *memory = map(path, 1);
    if (!memory) return fail();
    memory[0] = '!';
    sleep(patience);
    return 0;
}

// Takes the file's lock (flock(2)), and says so; or says who has it.
static int lock(const char *path, int waits) {
    int fd = open(path, O_RDWR);
    if (fd < 0) return fail();
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) return errno == EWOULDBLOCK ? say("locked") : fail();
    say("free");
    if (waits) sleep(patience);
    return 0;
}

static int get(const char *path, const char *name) {
    char value[256] = "";
    ssize_t length = getxattr(path, name, value, sizeof value - 1);
    return length < 0 ? fail() : (printf("%.*s\n", (int)length, value), 0);
}

static int set(const char *path, const char *name, const char *value) {
    return setxattr(path, name, value, strlen(value), 0) < 0 ? fail() : say("set");
}

// Lets one more user read and write (posix_acl_xattr_entry in linux/posix_acl_xattr.h).
static int allow(const char *path, uint32_t user) {
    struct { uint16_t tag, permissions; uint32_t id; } entries[] = {
        {1, 6, ~0u}, {2, 6, user}, {4, 0, ~0u}, {0x10, 6, ~0u}, {0x20, 0, ~0u}};
    char value[4 + sizeof entries] = {2};
    memcpy(value + 4, entries, sizeof entries);
    return setxattr(path, "system.posix_acl_access", value, sizeof value, 0) < 0 ? fail() : say("allowed");
}

int main(int count, char **words) {
    if (count < 3) return 2;
    const char *verb = words[1], *path = words[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(verb, "serve")) return serve(path);
    if (!strcmp(verb, "join")) return join(path);
    if (!strcmp(verb, "watch")) return watch(path);
    if (!strcmp(verb, "poke")) return poke(path);
    if (!strcmp(verb, "lock") || !strcmp(verb, "try")) return lock(path, *verb == 'l');
    if (!strcmp(verb, "get") && count > 3) return get(path, words[3]);
    if (!strcmp(verb, "set") && count > 4) return set(path, words[3], words[4]);
    if (!strcmp(verb, "allow") && count > 3) return allow(path, (uint32_t)atoi(words[3]));
    return 2;
}
