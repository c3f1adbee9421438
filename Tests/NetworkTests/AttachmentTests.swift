import Glibc
import LinuxKernel
import Netlink
import TestSupport
import Testing

@testable import Network

/// Uses new network namespaces: the machine's network is not touched.
@Suite("Links that are made ready for a guest", .enabled(if: getuid() == 0, "network namespaces need root"))
struct AttachmentTests {
    /// A veth `eth0` with an address whose other end is `peer`, both up; its endpoint.
    private static func endpoint(_ model: InternetworkingModel) throws -> NetworkPlan.Endpoint {
        let socket = try NetlinkSocket()
        try socket.create("eth0", kind: "veth", peer: "peer")
        var up = NetlinkSocket.Change()
        up.isUp = true
        for name in ["eth0", "peer"] { try socket.change(try socket.link(named: name).index, up) }
        try socket.add(LinkAddress(link: try socket.link(named: "eth0").index, prefix: Prefix("10.1.0.2/24")!))
        try socket.add(LinkAddress(link: try socket.link(named: "peer").index, prefix: Prefix("10.2.0.1/24")!))
        let plan = NetworkPlan(try NetworkView(socket), model: model)
        return try #require(plan.endpoints.first { $0.name == "eth0" })
    }

    private static func make(_ endpoint: NetworkPlan.Endpoint, number: Int, queues: Int, resolver: Bool) throws
        -> Network.Attachment
    {
        let record = try Attachment.Record(endpoint, number: number)
        return try Attachment.make(endpoint, record, queues: queues, resolver: resolver)
    }

    /// Whether a frame arrives in a queue: without its virtio-net header of ten bytes.
    private static func frame(from queue: SharedDescriptor, where fits: ([UInt8]) -> Bool) -> Bool {
        let deadline = ContinuousClock.now + .longWait
        while .now < deadline {
            var ready = pollfd(fd: queue.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 100) > 0 else { continue }
            var bytes = [UInt8](repeating: 0, count: 2048)
            let count = read(queue.raw, &bytes, bytes.count)
            if count > 10, fits(Array(bytes[10..<count])) { return true }
        }
        return false
    }

    /// The machine behind the peer sends an ARP broadcast.
    private static func ask() throws {
        let socket = try InternetSocket.connect(.datagrams, "10.2.0.9", 9)
        let byte: UInt8 = 1
        _ = withUnsafeBytes(of: byte) { send(socket.raw, $0.baseAddress, 1, 0) }
    }

    /// Whether a link goes in time.
    private static func isGone(_ link: String) throws -> Bool {
        let socket = try NetlinkSocket()
        let deadline = ContinuousClock.now + .longWait
        while (try? socket.link(named: link)) != nil {
            guard .now < deadline else { return false }
            usleep(10_000)
        }
        return true
    }

    private static func isQuestion(_ frame: [UInt8]) -> Bool {
        frame.count >= 42 && frame[12...13].elementsEqual([0x08, 0x06]) && frame[38..<42].elementsEqual([10, 2, 0, 9])
    }

    @Test("filters lead a veth's frames to the guest's tap; a second sandbox is refused; undone, the link is as before")
    func redirected() throws {
        try inOwnNetwork {
            let endpoint = try Self.endpoint(.tcfilter)
            do {
                let attachment = try Self.make(endpoint, number: 0, queues: 1, resolver: true)
                try Self.ask()
                #expect(Self.frame(from: attachment.queues[0], where: Self.isQuestion))
                let refusal = #expect(throws: NetworkError.self) {
                    try Self.make(endpoint, number: 1, queues: 1, resolver: false)
                }
                #expect(refusal?.description.contains("eth0") == true)
                attachment.undo()
            }
            // The ingress discipline goes with the undo, the tap with its queue: a child that another test has just
            // forked holds that until it has closed or executed what it will.
            #expect(try Self.isGone("tap0_kata"))
            let again = try Self.make(endpoint, number: 0, queues: 2, resolver: false)
            #expect(again.queues.count == 2)
            again.undo()
        }
    }

    @Test(
        "what others have put on a link is used beside the filters, and is there afterwards",
        arguments: ["clsact", "ingress"])
    func othersFilters(_ discipline: String) throws {
        let scratch = Scratch()
        try inOwnNetwork {
            let before = scratch.path + "/filters"
            let endpoint = try Self.endpoint(.tcfilter)
            let own = try NetworkNamespace.open("/proc/thread-self/ns/net")
            try own.shell(
                """
                tc qdisc add dev eth0 \(discipline)
                tc filter add dev eth0 ingress protocol ip prio 49152 u32 match ip dst 10.1.0.77 flowid :1
                """)
            let look = "tc qdisc show dev eth0; tc filter show dev eth0 ingress"
            try own.shell("(\(look)) > \(before)")
            let attachment = try Self.make(endpoint, number: 0, queues: 1, resolver: true)
            try Self.ask()
            #expect(Self.frame(from: attachment.queues[0], where: Self.isQuestion))
            try own.shell("tc filter show dev eth0 ingress | grep -A3 'pref 49152' | grep 0a01004d")
            attachment.undo()
            try own.shell("(\(look)) | cmp - \(before)")
        }
    }

    @Test("a discipline that others have begun to use meanwhile stays")
    func sharedDiscipline() throws {
        try inOwnNetwork {
            let endpoint = try Self.endpoint(.tcfilter)
            let own = try NetworkNamespace.open("/proc/thread-self/ns/net")
            let attachment = try Self.make(endpoint, number: 0, queues: 1, resolver: false)
            try own.shell("tc filter add dev eth0 ingress protocol ip u32 match ip dst 10.1.0.77 flowid :1")
            attachment.undo()
            let socket = try NetlinkSocket()
            #expect(try socket.ingressDiscipline(of: endpoint.link) == "ingress")
            let filters = try socket.ingressFilters(of: endpoint.link)
            #expect(!filters.isEmpty && filters.allSatisfy { $0.priority < 0xffff })
        }
    }

    @Test("after a crash the link can be used at once; a late cleanup of the dead sandbox changes nothing of the next")
    func leftovers() throws {
        try inOwnNetwork {
            let endpoint = try Self.endpoint(.tcfilter)
            let socket = try NetlinkSocket()
            let dead = try Self.make(endpoint, number: 0, queues: 1, resolver: true).record
            // The tap goes with its queue, the filters stay.
            #expect(try Self.isGone("tap0_kata"))
            #expect(try !socket.ingressFilters(of: endpoint.link).isEmpty)
            let next = try Self.make(endpoint, number: 0, queues: 1, resolver: false)
            try Self.ask()
            #expect(Self.frame(from: next.queues[0], where: Self.isQuestion))
            dead.undo()
            try Self.ask()
            #expect(Self.frame(from: next.queues[0], where: Self.isQuestion))
            next.undo()
            #expect(try socket.ingressDiscipline(of: endpoint.link) == nil)
        }
    }

    /// An open tun device `tun0`, whose packets have no headers before IP's.
    private static func openTun() throws -> FileDescriptor {
        let file = try FileDescriptor.open("/dev/net/tun", O_RDWR | O_NONBLOCK)
        // struct ifreq: the name, then IFF_TUN and IFF_NO_PI (linux/if_tun.h). The request is TUNSETIFF.
        var request = Array("tun0".utf8) + [UInt8](repeating: 0, count: 36)
        (request[16], request[17]) = (0x01, 0x10)
        try #require(ioctl(file.raw, UInt(0x4004_54ca), &request) == 0)
        return file
    }

    /// A UDP packet over IPv4 or IPv6 without checksums, from one address of 10.3.0.0/24 or fd00::/64 to another.
    private static func packet(isIPv6: Bool) -> [UInt8] {
        let datagram: [UInt8] = [0, 9, 0, 9, 0, 12, 0, 0] + Array("data".utf8)
        if isIPv6 {
            let address: [UInt8] = [0xfd] + [UInt8](repeating: 0, count: 14)
            return [0x60, 0, 0, 0, 0, UInt8(datagram.count), 17, 64] + address + [1] + address + [2] + datagram
        }
        return [0x45, 0, 0, UInt8(20 + datagram.count), 0, 0, 0, 0, 64, 17, 0, 0, 10, 3, 0, 1, 10, 3, 0, 2] + datagram
    }

    @Test("packets of a link without Ethernet headers get them on the way to the guest, and lose them on the way back")
    func wrapped() throws {
        try inOwnNetwork {
            let tun = try Self.openTun()
            let own = try NetworkNamespace.open("/proc/thread-self/ns/net")
            try own.shell(
                "ip addr add 10.3.0.2/24 dev tun0; ip addr add fd00::2/64 dev tun0 nodad; ip link set tun0 up")
            let socket = try NetlinkSocket()
            let plan = NetworkPlan(try NetworkView(socket), model: .tcfilter)
            let endpoint = try #require(plan.endpoints.first { $0.name == "tun0" })
            let attachment = try Self.make(endpoint, number: 0, queues: 1, resolver: false)
            let address = endpoint.hardwareAddress.bytes
            for (isIPv6, type) in [(false, [UInt8]([0x08, 0x00])), (true, [0x86, 0xdd])] {
                let packet = Self.packet(isIPv6: isIPv6)
                #expect(write(tun.raw, packet, packet.count) == packet.count)
                let frame = address + address + type + packet
                #expect(Self.frame(from: attachment.queues[0]) { $0 == frame })
                let sent = [UInt8](repeating: 0, count: 10) + frame
                #expect(write(attachment.queues[0].raw, sent, sent.count) == sent.count)
                #expect(Self.packet(packet, isReadFrom: tun.raw))
            }
            let refusal = #expect(throws: NetworkError.self) {
                try Self.make(endpoint, number: 1, queues: 1, resolver: false)
            }
            #expect(refusal?.description.contains("tun0") == true)
            attachment.undo()
            #expect(try socket.ingressDiscipline(of: endpoint.link) == nil)
        }
    }

    /// Whether a packet comes out of a tun device, among others that the kernel sends by itself.
    private static func packet(_ packet: [UInt8], isReadFrom tun: Int32) -> Bool {
        let deadline = ContinuousClock.now + .longWait
        while .now < deadline {
            var ready = pollfd(fd: tun, events: Int16(POLLIN), revents: 0)
            guard poll(&ready, 1, 100) > 0 else { continue }
            var bytes = [UInt8](repeating: 0, count: 2048)
            let count = read(tun, &bytes, bytes.count)
            if count > 0, bytes.prefix(count).elementsEqual(packet) { return true }
        }
        return false
    }

    @Test("a macvtap takes the veth's address, and gives it back")
    func stacked() throws {
        try inOwnNetwork {
            let endpoint = try Self.endpoint(.macvtap)
            let socket = try NetlinkSocket()
            let neighbor = Neighbor(
                link: endpoint.link, address: InternetAddress("10.1.0.9")!,
                hardwareAddress: HardwareAddress("02:00:00:00:00:09")!)
            try socket.add(neighbor)
            let attachment = try Self.make(endpoint, number: 0, queues: 1, resolver: false)
            #expect(try NetworkView(socket).neighbors == [neighbor])
            #expect(try socket.link(named: "tap0_kata").hardwareAddress == endpoint.hardwareAddress)
            #expect(try socket.link(named: "eth0").hardwareAddress == attachment.temporaryAddress)
            // Looked at again, nothing has changed for the guest.
            let again = NetworkPlan(try NetworkView(socket).without([attachment]), model: .macvtap)
            #expect(again.endpoints.first { $0.name == "eth0" } == endpoint)
            try Self.ask()
            #expect(Self.frame(from: attachment.queues[0], where: Self.isQuestion))
            attachment.undo()
            #expect(try socket.link(named: "eth0").hardwareAddress == endpoint.hardwareAddress)
            #expect(try Self.isGone("tap0_kata"))
        }
    }
}
