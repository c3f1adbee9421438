import LinuxKernel
import NIOCore
import NIOPosix

/// Makes an event loop with its own thread.
///
/// NIO ends the program without a message when it gets no thread or no descriptor, so this checks for both first.
/// - Parameter descriptors: the maximum number that the program may need.
/// - Throws: when the host's limit of threads or descriptors is too low.
package func makeEventLoop(descriptors: Int) throws(SystemError) -> any EventLoop {
    try raiseDescriptorLimit(atLeast: descriptors)
    try tryThreads(1)
    return MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
}
