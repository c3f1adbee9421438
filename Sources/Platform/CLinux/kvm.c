#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// Real mode at 0x1000: 1: dec ecx; jnz 1b; hlt
static const unsigned char loop_code[] = {0x66, 0x49, 0x75, 0xfc, 0xf4};

static int64_t run_loop(int kvm, int vm, int cpu, char *memory, uint32_t turns) {
    long size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < 0) return -errno;
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED) return -errno;
    struct kvm_userspace_memory_region region = {.guest_phys_addr = 0x1000, .memory_size = 0x1000, .userspace_addr = (uintptr_t)memory};
    struct kvm_sregs segments;
    memcpy(memory, loop_code, sizeof loop_code);
    int64_t result;
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 || ioctl(cpu, KVM_GET_SREGS, &segments) < 0) {
        result = -errno;
    } else {
        segments.cs.base = 0;
        segments.cs.selector = 0;
        struct kvm_regs registers = {.rip = 0x1000, .rcx = turns, .rflags = 2};
        if (ioctl(cpu, KVM_SET_SREGS, &segments) < 0 || ioctl(cpu, KVM_SET_REGS, &registers) < 0) {
            result = -errno;
        } else {
            int64_t start = microseconds();
            if (ioctl(cpu, KVM_RUN, 0) < 0) result = -errno;
            else if (run->exit_reason != KVM_EXIT_HLT) result = -ENOTSUP;
            else result = microseconds() - start;
        }
    }
    munmap(run, (size_t)size);
    return result;
}

int64_t clx_kvm_loop_microseconds(const char *device, uint32_t turns) {
    int kvm = open(device, O_RDWR | O_CLOEXEC);
    if (kvm < 0) return -errno;
    int64_t result;
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) {
        result = -errno;
    } else {
        int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
        char *memory = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (cpu < 0 || memory == MAP_FAILED) result = -errno;
        else result = run_loop(kvm, vm, cpu, memory, turns);
        if (memory != MAP_FAILED) munmap(memory, 0x1000);
        if (cpu >= 0) close(cpu);
        close(vm);
    }
    close(kvm);
    return result;
}
