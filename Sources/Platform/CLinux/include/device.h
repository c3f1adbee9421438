/// Calls for the thread of a vhost-user device that Swift's C library lacks. Every function returns a value >= 0, or
/// -errno.
#ifndef CLINUX_DEVICE_H
#define CLINUX_DEVICE_H

/// Returns 1 when a descriptor can be an eventfd (eventfd(2)), which is a file without a type. Pipes, sockets and other
/// files have one.
int clx_is_typeless(int fd);
/// Reads and clears an eventfd's counter. Never blocks, whatever flags its open file has (RWF_NOWAIT, preadv2(2)).
/// Returns 8, or -EAGAIN when the counter is 0.
int clx_take_event(int fd);
/// Restricts the calling thread, and threads that it starts, to the system calls of such a device. All others fail with
/// EPERM.
int clx_confine_device(void);

#endif
