#define _GNU_SOURCE
#include "bpf_program.h"
#include "clinux.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int clx_listen_loopback(void) {
    enum { backlog = 128 };
    // ::ffff:127.0.0.1: bound to ::1, a socket would be for IPv6 alone (inet6_bind in the kernel).
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    six.sin6_addr.s6_addr32[2] = htonl(0xffff);
    six.sin6_addr.s6_addr32[3] = htonl(INADDR_LOOPBACK);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int off = 0;
    int made = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // A socket for IPv4 too takes redirected connections of both kinds (ipv6(7), IPV6_V6ONLY).
    if (made < 0 || setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0 ||
        bind(made, (struct sockaddr *)&six, sizeof six) < 0) {
        if (made >= 0) close(made);
        made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (made < 0) return -errno;
        if (bind(made, (struct sockaddr *)&four, sizeof four) < 0) goto failed;
    }
    if (listen(made, backlog) == 0) return made;
failed:;
    int error = errno;
    close(made);
    return -error;
}

int clx_local_port(int socket) {
    // IPv4 has its port at the same place.
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    if (getsockname(socket, (struct sockaddr *)&name, &length) < 0) return -errno;
    if (name.sin6_family != AF_INET && name.sin6_family != AF_INET6) return -EAFNOSUPPORT;
    return ntohs(name.sin6_port);
}

/// A map whose one element is the listener: programs reach sockets through maps.
static int make_map(int listener) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_SOCKMAP;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = sizeof(uint64_t);
    attributes.max_entries = 1;
    int map = bpf_call(BPF_MAP_CREATE, &attributes);
    if (map < 0) return map;
    uint32_t key = 0;
    uint64_t value = (uint64_t)listener;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)&key;
    attributes.value = (uintptr_t)&value;
    int failed = bpf_call(BPF_MAP_UPDATE_ELEM, &attributes);
    if (failed < 0) {
        close(map);
        return failed;
    }
    return map;
}

#define FIELD(name) (short)offsetof(struct bpf_sk_lookup, name)
#define WORD(index) (short)(offsetof(struct bpf_sk_lookup, local_ip6) + 4 * (index))

static int load_program(int map) {
    enum { END = 31 };
#define LOAD(offset) OP(BPF_LDX | BPF_MEM | BPF_W, R2, R6, offset, 0)
#define UNLESS(here, value) OP(BPF_JMP32 | BPF_JNE | BPF_K, R2, 0, END - (here)-1, value)
    struct bpf_insn program[] = {
        /* 0 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R6, R1, 0, 0),
        /* 1 */ OP(BPF_ST | BPF_MEM | BPF_W, FRAME, 0, -4, 0),
        /* 2 */ LOAD(FIELD(protocol)),
        /* 3 */ UNLESS(3, IPPROTO_TCP),
        /* 4 */ LOAD(FIELD(family)),
        /* 5 */ OP(BPF_JMP32 | BPF_JNE | BPF_K, R2, 0, 3, AF_INET),
        /* 6 */ LOAD(FIELD(local_ip4)),
        /* 7 */ UNLESS(7, htonl(INADDR_LOOPBACK)),
        /* 8 */ OP(BPF_JMP | BPF_JA, 0, 0, 8, 0),
        /* 9: IPv6 */ LOAD(WORD(0)),
        /* 10 */ UNLESS(10, 0),
        /* 11 */ LOAD(WORD(1)),
        /* 12 */ UNLESS(12, 0),
        /* 13 */ LOAD(WORD(2)),
        /* 14 */ UNLESS(14, 0),
        /* 15 */ LOAD(WORD(3)),
        /* 16 */ UNLESS(16, htonl(1)),
        /* 17: the address is a loopback address */ OP(BPF_LD | BPF_DW | BPF_IMM, R1, BPF_PSEUDO_MAP_FD, 0, map),
        /* 18 */ OP(0, 0, 0, 0, 0),
        /* 19 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R2, FRAME, 0, 0),
        /* 20 */ OP(BPF_ALU64 | BPF_ADD | BPF_K, R2, 0, 0, -4),
        /* 21 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
        /* 22 */ OP(BPF_JMP | BPF_JEQ | BPF_K, R0, 0, END - 23, 0),
        /* 23 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R7, R0, 0, 0),
        /* 24 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R1, R6, 0, 0),
        /* 25 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R2, R0, 0, 0),
        /* 26 */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R3, 0, 0, 0),
        /* 27 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_assign),
        /* 28 */ OP(BPF_ALU64 | BPF_MOV | BPF_X, R1, R7, 0, 0),
        /* 29 */ OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_release),
        /* 30 */ OP(BPF_JMP | BPF_JA, 0, 0, 0, 0),
        /* 31: END */ OP(BPF_ALU64 | BPF_MOV | BPF_K, R0, 0, 0, SK_PASS),
        /* 32 */ OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    };
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_SK_LOOKUP;
    attributes.expected_attach_type = BPF_SK_LOOKUP;
    attributes.insns = (uintptr_t)program;
    attributes.insn_cnt = sizeof program / sizeof *program;
    attributes.license = (uintptr_t)"Apache-2.0";
    return bpf_call(BPF_PROG_LOAD, &attributes);
}

int clx_redirect_loopback(int network_namespace, int listener) {
    int map = make_map(listener);
    if (map < 0) return map;
    int program = load_program(map);
    // The program keeps the map, and the link the program.
    close(map);
    if (program < 0) return program;
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.target_fd = (uint32_t)network_namespace;
    attributes.link_create.attach_type = BPF_SK_LOOKUP;
    int link = bpf_call(BPF_LINK_CREATE, &attributes);
    close(program);
    return link;
}
