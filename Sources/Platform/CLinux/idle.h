#pragma once

#include <stddef.h>

/// Turns the calling process, a fresh copy of its parent, into one that executes no program. It has a few pages of
/// memory. It writes the number of each signal that it gets to `report`, a byte each. It ends when that fails.
///
/// A program would need a file, which is a file in memory or one more to install; and a copy would keep its parent's
/// memory.
/// - words, length, room: as for clx_set_command_line.
_Noreturn void clx_idle(const char *words, size_t length, size_t room, int report);
