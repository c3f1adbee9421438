import CLinux
import Glibc

/// A program of the kernel that gives each packet of a link an Ethernet header and sends it out on another link. It is
/// for links without such headers: tun devices, WireGuard, IP tunnels. Its type is BPF_PROG_TYPE_SCHED_CLS
/// (bpf-helpers(7): bpf_skb_change_head, bpf_redirect).
package enum EthernetProgram {
    /// The length of an Ethernet address.
    private static let addressLength = 6

    /// - Parameters:
    ///   - link: the index of the link to send to.
    ///   - destination: the six bytes of the receiver's address.
    ///   - source: the six bytes of the sender's.
    /// - Returns: a descriptor of the program, for a filter. The filter keeps the program.
    /// - Throws: `SystemError` when the kernel refuses the program, such as EPERM (bpf(2)).
    package static func load(to link: Int32, destination: [UInt8], source: [UInt8]) throws(SystemError)
        -> SharedDescriptor
    {
        guard destination.count == addressLength, source.count == addressLength else {
            throw SystemError("load a program for packets to link", "\(link)", errno: EINVAL)
        }
        // SAFETY: the call reads six bytes of each address, which have that length.
        let raw = unsafe clx_load_ethernet_program(link, destination, source)
        return SharedDescriptor(
            FileDescriptor(owning: try checkNegativeErrno("load a program for packets to link", "\(link)", raw)))
    }
}
