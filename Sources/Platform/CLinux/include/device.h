/// What the thread of a vhost-user device needs beyond Swift's C library. Every function returns a value >= 0, or -errno.
#ifndef CLINUX_DEVICE_H
#define CLINUX_DEVICE_H

/// 1 when a descriptor can be an eventfd (eventfd(2)): a file without a type. Pipes, sockets and files of any file system have one.
int clx_is_typeless(int fd);
/// Reads an eventfd's counter, which becomes 0, and never waits, whatever flags its open file has (RWF_NOWAIT, preadv2(2)).
/// Returns 8, or -EAGAIN when the counter is 0.
int clx_take_event(int fd);
/// Leaves the calling thread, and the threads that it starts, the system calls that such a device makes: all others fail with EPERM.
int clx_confine_device(void);

#endif
