import AgentAPI
import LinuxKernel
import VhostUser

import protocol NIOCore.EventLoop

/// Streams between host and guest, by vsock port numbers.
package protocol GuestChannel: Sendable {
    /// A connected stream socket to `port` in the guest, which the caller owns. Only that of our own device is
    /// non-blocking.
    /// - Throws: `VsockError` or `ChannelError` when the guest does not answer within `timeout`, or the channel is
    ///   closed.
    func dial(port: UInt32, timeout: Duration) async throws -> Int32
    /// Hands every connection that the guest makes to `port` of the host to `accept`, which owns it.
    /// - Throws: `SystemError` when the socket or thread of a listener can't be made. A channel that needs neither
    ///   throws nothing.
    func listen(port: UInt32, _ accept: @escaping @Sendable (Int32) -> Void) throws
    func stopListening(port: UInt32)
    /// Ends waiting dials and all listeners.
    func close()
}

/// A kind of channel, not open yet.
package protocol GuestChannelKind: Sendable {
    /// Opens the host's side, before the machine starts.
    /// - Parameter limits: where limits on the guest's streams are logged.
    /// - Throws: `SystemError` when the socket can't be made, or the host lacks the device.
    func open(on loop: any EventLoop, limits: LimitLog) throws -> any GuestChannel
}

/// Our own vhost-user device: the guest's traffic stays out of the host's kernel.
package struct VhostUserVsock: GuestChannelKind, Equatable {
    /// Unix socket on which the hypervisor finds the device.
    let socketPath: String
    package init(socketPath: String) { self.socketPath = socketPath }

    package func open(on loop: any EventLoop, limits: LimitLog) throws -> any GuestChannel {
        try VsockDevice(socketPath: socketPath) { [socketPath] in limits.reached(GuestLimit($0), socketPath) }
    }
}

/// The host kernel's vhost-vsock.
package struct VhostVsock: GuestChannelKind, Equatable {
    /// The guest's number.
    let cid: UInt32
    package init(cid: UInt32) { self.cid = cid }

    package func open(on loop: any EventLoop, limits: LimitLog) throws -> any GuestChannel {
        try VhostVsockChannel(guest: cid, loop: loop)
    }
}

extension VsockDevice: GuestChannel {}

extension GuestLimit {
    package init(_ limit: VsockDevice.Limit) {
        self =
            switch limit {
            case .streams: .streams
            case .newStreams: .newStreams
            case .answers: .streamAnswers
            }
    }
}

/// The reason why a channel could not be used.
package struct ChannelError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
