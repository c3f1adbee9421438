/// The values of `guest_channel`.
enum GuestChannelName {
    static let vhostUserVsock = "vhost-user-vsock"
    static let vhostVsock = "vhost-vsock"
    static let all = [vhostUserVsock, vhostVsock]
}

extension Configuration {
    /// Whether guests are reached through the host kernel's vsock, each by a number of its own.
    package var usesHostVsock: Bool { self[Keys.guestChannel] == GuestChannelName.vhostVsock }
}
