/// Atomic access to memory that a guest writes at the same time.
#ifndef CLINUX_VRING_H
#define CLINUX_VRING_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t clx_load16(const void *address) {
    return atomic_load_explicit((const _Atomic uint16_t *)address, memory_order_acquire);
}
static inline uint32_t clx_load32(const void *address) {
    return atomic_load_explicit((const _Atomic uint32_t *)address, memory_order_relaxed);
}
static inline uint64_t clx_load64(const void *address) {
    return atomic_load_explicit((const _Atomic uint64_t *)address, memory_order_relaxed);
}
static inline void clx_store16(void *address, uint16_t value) {
    atomic_store_explicit((_Atomic uint16_t *)address, value, memory_order_release);
}
static inline void clx_store32(void *address, uint32_t value) {
    atomic_store_explicit((_Atomic uint32_t *)address, value, memory_order_relaxed);
}
/// Orders writes of an index before reads of the guest's flags (virtio 1.2, 2.7.13.4.1).
static inline void clx_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

#endif
