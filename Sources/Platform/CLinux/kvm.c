#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// The guest's physical memory: page tables, code, descriptor tables, stack. All is mapped at its own address, but for
// the last page, which the guest maps itself.
enum {
    page = 0x1000,
    level_4 = 1 * page,
    level_3 = 2 * page,
    level_2 = 3 * page,
    level_1 = 4 * page,
    code = 5 * page,
    interrupts = 6 * page,
    segments = 6 * page + 0x800,
    stack_end = 8 * page,
    late_page = 8 * page,
    memory_size = 9 * page,
};
enum { turns = 20000, page_fault = 14 };

// The guest's program. It asks of the processor what a kernel asks: it works on vector registers, and writes to a page
// that is not mapped. Its own table takes the page fault: the page is mapped, and the program goes on. Then it reads
// the number back into eax: the sum of 1 to ecx. Addresses are those above. An emulator of a few instructions fails at
// one of these steps.
extern const unsigned char guest_start[], guest_fault[], guest_end[];
__asm__(".pushsection .rodata\n"
        "guest_start:\n"
        "    pxor %xmm1, %xmm1\n"
        "1:  movd %ecx, %xmm0\n"
        "    paddd %xmm0, %xmm1\n"
        "    dec %ecx\n"
        "    jnz 1b\n"
        "    movd %xmm1, 0x8000\n"
        "    mov 0x8000, %eax\n"
        "    hlt\n"
        "guest_fault:\n" // maps the page of cr2, present and writable, in the table of the last level
        "    push %rax\n"
        "    push %rbx\n"
        "    mov %cr2, %rax\n"
        "    mov %rax, %rbx\n"
        "    shr $12, %rbx\n"
        "    or $3, %rax\n"
        "    mov %rax, 0x4000(,%rbx,8)\n"
        "    pop %rbx\n"
        "    pop %rax\n"
        "    add $8, %rsp\n" // the error code
        "    iretq\n"
        "guest_end:\n"
        ".popsection\n");

static int64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fill(char *memory) {
    *(uint64_t *)(memory + level_4) = level_3 | 3;
    *(uint64_t *)(memory + level_3) = level_2 | 3;
    *(uint64_t *)(memory + level_2) = level_1 | 3;
    uint64_t *pages = (uint64_t *)(memory + level_1);
    for (int number = 0; number < late_page / page; number++) pages[number] = (uint64_t)number * page | 3;
    memcpy(memory + code, guest_start, (size_t)(guest_end - guest_start));
    // An interrupt gate (SDM 3A, 6.14.1), and segments (3.4.5): 64-bit code at selector 8, data at 16.
    uint64_t handler = code + (uint64_t)(guest_fault - guest_start);
    uint64_t *gate = (uint64_t *)(memory + interrupts) + 2 * page_fault;
    gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32;
    ((uint64_t *)(memory + segments))[1] = 0x00af9b000000ffffull;
    ((uint64_t *)(memory + segments))[2] = 0x00cf93000000ffffull;
}

// Sets the processor to 64-bit mode, as a boot loader leaves it.
static int prepare(int cpu) {
    struct kvm_sregs system;
    if (ioctl(cpu, KVM_GET_SREGS, &system) < 0) return -1;
    struct kvm_segment flat = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .l = 1, .s = 1, .g = 1};
    system.cs = flat;
    flat.l = 0, flat.db = 1, flat.type = 3, flat.selector = 16;
    system.ds = system.es = system.fs = system.gs = system.ss = flat;
    system.gdt.base = segments, system.gdt.limit = 23;
    system.idt.base = interrupts, system.idt.limit = 16 * (page_fault + 1) - 1;
    system.cr3 = level_4;
    system.cr4 = 1 << 5 | 1 << 9 | 1 << 10;    // PAE, OSFXSR, OSXMMEXCPT
    system.cr0 = 1u << 31 | 1 << 5 | 1 << 4 | 1 << 1 | 1; // PG, NE, ET, MP, PE
    system.efer = 1 << 8 | 1 << 10;            // LME, LMA
    if (ioctl(cpu, KVM_SET_SREGS, &system) < 0) return -1;
    struct kvm_regs registers = {.rip = code, .rsp = stack_end, .rcx = turns, .rflags = 2};
    return ioctl(cpu, KVM_SET_REGS, &registers);
}

// Runs the processor until it halts. A signal that is blocked but here ends it at the deadline.
static int64_t run(int cpu, struct kvm_run *state, int64_t limit) {
    int number = SIGRTMAX - 1;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
    event._sigev_un._tid = gettid();
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, number);
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) return -errno;
    pthread_sigmask(SIG_BLOCK, &ours, &before);

    // The kernel's sets have 64 bits (KVM_SET_SIGNAL_MASK).
    union {
        struct kvm_signal_mask mask;
        char bytes[sizeof(struct kvm_signal_mask) + 8];
    } blocked = {.mask = {.len = 8}};
    sigset_t but_ours = before;
    sigdelset(&but_ours, number);
    memcpy(blocked.mask.sigset, &but_ours, 8);
    struct itimerspec time = {.it_value = {.tv_sec = limit / 1000000, .tv_nsec = limit % 1000000 * 1000}};
    int64_t result, start = microseconds();
    if (ioctl(cpu, KVM_SET_SIGNAL_MASK, &blocked) < 0 || timer_settime(timer, 0, &time, NULL) < 0) result = -errno;
    else if (ioctl(cpu, KVM_RUN, 0) < 0) result = errno == EINTR ? -ETIME : -errno;
    else result = state->exit_reason == KVM_EXIT_HLT ? microseconds() - start : -ENOTSUP;

    timer_delete(timer);
    struct timespec none = {0};
    sigtimedwait(&ours, NULL, &none);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static int64_t probe(int kvm, int vm, int cpu, char *memory, int64_t limit) {
    long size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < 0) return -errno;
    struct kvm_run *state = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    if (state == MAP_FAILED) return -errno;
    struct kvm_userspace_memory_region region = {.memory_size = memory_size, .userspace_addr = (uintptr_t)memory};
    fill(memory);
    int64_t result;
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 || prepare(cpu) < 0) result = -errno;
    else result = run(cpu, state, limit);
    struct kvm_regs end;
    if (result >= 0 && ioctl(cpu, KVM_GET_REGS, &end) < 0) result = -errno;
    if (result >= 0 && (uint32_t)end.rax != turns / 2 * (turns + 1u)) result = -ENOTSUP;
    munmap(state, (size_t)size);
    return result;
}

int64_t clx_kvm_probe(const char *device, int64_t limit) {
    int kvm = open(device, O_RDWR | O_CLOEXEC);
    if (kvm < 0) return -errno;
    int64_t result;
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) {
        result = -errno;
    } else {
        int cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
        char *memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (cpu < 0 || memory == MAP_FAILED) result = -errno;
        else result = probe(kvm, vm, cpu, memory, limit);
        if (memory != MAP_FAILED) munmap(memory, memory_size);
        if (cpu >= 0) close(cpu);
        close(vm);
    }
    close(kvm);
    return result;
}
