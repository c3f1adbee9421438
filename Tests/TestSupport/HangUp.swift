import Glibc

/// Ends a connection for its other side, at once. A close alone would not do: a child that another test has just forked
/// may still hold the socket.
package func hangUp(_ socket: Int32) { shutdown(socket, Int32(SHUT_RDWR)) }
