// Pieces of programs for the kernel, and the call that loads them (bpf(2)).
#ifndef BPF_PROGRAM_H
#define BPF_PROGRAM_H

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FRAME };

#define OP(opcode, destination, source, offset, value)                                                                 \
    {.code = (opcode), .dst_reg = (destination), .src_reg = (source), .off = (offset), .imm = (int)(value)}

/// Returns a descriptor or 0, or the negative errno.
static inline int bpf_call(int command, union bpf_attr *attributes) {
    int result = (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return result < 0 ? -errno : result;
}

#endif
