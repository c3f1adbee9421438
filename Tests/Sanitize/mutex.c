// Tells ThreadSanitizer about contended Synchronization.Mutex: their slow paths are in libswiftSynchronization, which is not
// instrumented, so every such hand-over would be reported as a race. Preloaded by scripts/sanitize; no part of the product.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

// Programs that a test starts are not to be preloaded.
__attribute__((constructor)) static void forget(void) { unsetenv("LD_PRELOAD"); }

// Of ThreadSanitizer's run time; absent in processes without it.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

// _MutexHandle._lockSlow(_:) and _MutexHandle._unlockSlow() (stdlib/public/Synchronization/Mutex/LinuxImpl.swift).
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define HANDLE __attribute__((swift_context)) void *

typedef __attribute__((swiftcall)) void lock_function(uint32_t owner, HANDLE);
typedef __attribute__((swiftcall)) void unlock_function(HANDLE);

__attribute__((swiftcall)) void lock_slow(uint32_t owner, HANDLE handle) __asm__(LOCK);
__attribute__((swiftcall)) void unlock_slow(HANDLE handle) __asm__(UNLOCK);

__attribute__((swiftcall)) void lock_slow(uint32_t owner, HANDLE handle) {
    ((lock_function *)dlsym(RTLD_NEXT, LOCK))(owner, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

__attribute__((swiftcall)) void unlock_slow(HANDLE handle) {
    if (__tsan_release) __tsan_release(handle);
    ((unlock_function *)dlsym(RTLD_NEXT, UNLOCK))(handle);
}
