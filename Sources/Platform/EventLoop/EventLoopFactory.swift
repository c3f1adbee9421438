import LinuxKernel
import NIOCore
import NIOPosix

/// An event loop with a thread of its own.
///
/// NIO ends the program where there is no thread or no descriptor for it, without a word: both are asked for here first.
/// - Parameter descriptors: how many the program may come to need.
/// - Throws: what the host has too little of.
package func makeEventLoop(descriptors: Int) throws(SystemError) -> any EventLoop {
    try raiseDescriptorLimit(atLeast: descriptors)
    try tryThreads(1)
    return MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
}
