#define _GNU_SOURCE
#include "idle.h"
#include "clinux.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// Checks of sanitizers would use memory that is gone.
#define NOT_INSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))

enum { PAGE = 4096, KEPT = 4, SIGNAL_SET_BYTES = 8 };

// The program's name and arguments, in glibc.
extern char *program_invocation_name;
// Where the kernel writes the number of the processor (rseq(2)), relative to the thread pointer; glibc 2.35 or later.
extern const ptrdiff_t __rseq_offset __attribute__((weak));

#if defined(__x86_64__)

struct area {
    uintptr_t start, end;
};

static struct area pages(uintptr_t start, uintptr_t end) {
    return (struct area){start & ~(uintptr_t)(PAGE - 1), (end + PAGE - 1) & ~(uintptr_t)(PAGE - 1)};
}

// The end of a process's memory (Documentation/arch/x86/x86_64/mm.rst), without the guard page.
static const uintptr_t memory_end = 0x7ffffffff000;

static inline __attribute__((always_inline)) long call(long number, long a, long b, long c, long d) {
    register long fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
}

// Gives back all memory but the kept areas, then reports signals until `report` has no reader. Nothing but this
// function's own page and stack can be used from there on.
NOT_INSTRUMENTED __attribute__((noinline, noreturn, aligned(4096))) static void
report_signals(const struct area *kept, int report) {
    uint64_t all = ~0ULL;
    uintptr_t start = 0;
    for (int i = 0; i < KEPT; i++) {
        if (kept[i].start > start) call(SYS_munmap, (long)start, (long)(kept[i].start - start), 0, 0);
        if (kept[i].end > start) start = kept[i].end;
    }
    call(SYS_munmap, (long)start, (long)(memory_end - start), 0, 0);
    while (1) {
        long number = call(SYS_rt_sigtimedwait, (long)&all, 0, 0, SIGNAL_SET_BYTES);
        if (number <= 0) continue;
        unsigned char byte = (unsigned char)number;
        if (call(SYS_write, report, (long)&byte, 1, 0) != 1) call(SYS_exit_group, 0, 0, 0, 0);
    }
}

static void sort(struct area *areas) {
    for (int i = 1; i < KEPT; i++)
        for (int j = i; j > 0 && areas[j].start < areas[j - 1].start; j--) {
            struct area moved = areas[j];
            areas[j] = areas[j - 1];
            areas[j - 1] = moved;
        }
}

NOT_INSTRUMENTED void clx_idle(const char *words, size_t length, size_t room, int report) {
    uint64_t all = ~0ULL;
    // The first process of a pid namespace becomes the parent of its orphans. The kernel reaps them (sigaction(2),
    // SA_NOCLDWAIT).
    signal(SIGCHLD, SIG_IGN);
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, SIGNAL_SET_BYTES);
    clx_set_command_line(words, length, room);
    uintptr_t code = (uintptr_t)&report_signals, stack = (uintptr_t)__builtin_frame_address(0);
    uintptr_t words_start = (uintptr_t)program_invocation_name;
    uintptr_t thread;
    __asm__("mov %%fs:0, %0" : "=r"(thread));
    uintptr_t processor = thread + (uintptr_t)(&__rseq_offset ? __rseq_offset : 0);
    struct area kept[KEPT] = {
        pages(code, code + PAGE), pages(stack - PAGE, stack + PAGE), pages(words_start, words_start + room),
        pages(processor, processor + sizeof(uint64_t) * 4),
    };
    sort(kept);
    report_signals(kept, report);
}

#else

void clx_idle(const char *words, size_t length, size_t room, int report) {
    sigset_t all;
    signal(SIGCHLD, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    clx_set_command_line(words, length, room);
    while (1) {
        int number = 0;
        if (sigwait(&all, &number) != 0) continue;
        unsigned char byte = (unsigned char)number;
        if (write(report, &byte, 1) != 1) _exit(0);
    }
}

#endif
