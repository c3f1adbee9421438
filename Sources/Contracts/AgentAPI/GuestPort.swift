/// Vsock ports with a fixed number, beside those of `NameRelay` and `PortRelay`. Other streams use ports that the host chooses.
package enum GuestPort {
    /// The agent's ttrpc services. The agent also connects to this port on the host to announce that it listens.
    package static let agent: UInt32 = 1024
    /// The debug console, unless the kernel command line names another port.
    package static let debugConsole: UInt32 = 1026
}
