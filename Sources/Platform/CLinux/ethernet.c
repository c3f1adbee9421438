// Gives packets without Ethernet headers one, and sends them to another link (bpf(2), tc-bpf(8)).
#include "bpf_program.h"
#include "clinux.h"

#include <linux/pkt_cls.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int clx_load_ethernet_program(int link, const unsigned char *destination, const unsigned char *source) {
    enum { ADDRESS = 6, HEADER = 14, DROP = 20 };
    // The header without its type: the program writes it in three words.
    uint32_t words[3];
    memcpy(words, destination, ADDRESS);
    memcpy((unsigned char *)words + ADDRESS, source, ADDRESS);
    struct bpf_insn program[] = {
        /* 0 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R6, R1, 0, 0),
        /* 1: ETH_P_*, in network order */
        OP(BPF_LDX | BPF_MEM | BPF_W, R7, R6, (short)offsetof(struct __sk_buff, protocol), 0),
        /* 2 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, HEADER),
        /* 3 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R3, 0, 0, 0),
        /* 4 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_change_head),
        /* 5 */ OP(BPF_JMP | BPF_JNE | BPF_K, R0, 0, DROP - 6, 0),
        /* 6 */ OP(BPF_ST | BPF_MEM | BPF_W, FRAME, 0, -16, words[0]),
        /* 7 */ OP(BPF_ST | BPF_MEM | BPF_W, FRAME, 0, -12, words[1]),
        /* 8 */ OP(BPF_ST | BPF_MEM | BPF_W, FRAME, 0, -8, words[2]),
        /* 9 */ OP(BPF_STX | BPF_MEM | BPF_H, FRAME, R7, -4, 0),
        /* 10 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R1, R6, 0, 0),
        /* 11 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, 0),
        /* 12 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R3, FRAME, 0, 0),
        /* 13 */ OP(BPF_ALU64 | BPF_ADD | BPF_K, R3, 0, 0, -16),
        /* 14 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R4, 0, 0, HEADER),
        /* 15 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R5, 0, 0, 0),
        /* 16 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_store_bytes),
        /* 17 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R1, 0, 0, link),
        /* 18 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R2, 0, 0, 0),
        /* 19 */ OP(BPF_JMP | BPF_JA, 0, 0, 2, 0),
        /* 20: DROP */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, TC_ACT_SHOT),
        /* 21 */ OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
        /* 22 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect),
        /* 23 */ OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attributes.insns = (uintptr_t)program;
    attributes.insn_cnt = sizeof program / sizeof *program;
    attributes.license = (uintptr_t)"Apache-2.0";
    return bpf_call(BPF_PROG_LOAD, &attributes);
}
