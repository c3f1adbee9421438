import AgentAPI
import CLinux
import Cleanup
import Glibc
import LinuxKernel
import Logging
import OCISpec
import Streams
import TestSupport
import Testing

@testable import Channel
@testable import GuestSpec
@testable import SocketForward

@Suite(
    "Sockets of the host for a guest", .serialized, .timeLimit(.minutes(5)),
    .enabled(if: geteuid() == 0, "only root can connect as another user"))
struct HostSocketTests {
    /// A directory with a socket of the host in it.
    private final class Place {
        private let scratch = Scratch()
        var path: String { scratch.path + "/s" }
        let relay: StreamRelay
        let greeter: SocketGreeter
        let lines = LogLines()
        private(set) var listener: Int32 = -1

        init(_ type: Int32 = Int32(SOCK_STREAM.rawValue), listening: Bool = true, backlog: Int32 = 128) throws {
            relay = try StreamRelay()
            let lines = lines
            greeter = try SocketGreeter(
                relay: relay, limits: LimitLog(Logger(label: "test") { _ in CollectedLog(lines: lines) }))
            // Everybody may look for it; whether they may use it is the socket's mode to say.
            chmod(scratch.path, 0o755)
            if type == Int32(SOCK_STREAM.rawValue) {
                listener = try UnixSocket.listen(path, backlog: backlog).take()
            } else {
                listener = socket(AF_UNIX, type, 0)
                var address = sockaddr_un()
                address.sun_family = sa_family_t(AF_UNIX)
                withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
                _ = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                    }
                }
            }
            if !listening {
                close(listener)
                listener = -1
            }
        }

        deinit {
            greeter.stop()
            relay.stop()
            close(listener)
        }

        /// - Parameter config: of the container that has the socket.
        func offer(_ config: String = HostSocketTests.root) throws -> (HostSocket, ContainerIdentities) {
            let spec = try Spec.decode(json: Array(config.utf8), source: "config.json")
            let identities = ContainerIdentities(IDMaps(spec))
            if let process = spec.process { identities.give("", process) }
            return (try HostSocket(path, for: identities, greeter: greeter), identities)
        }

        /// The guest's end of a stream that the host has been given.
        func stream(to socket: HostSocket, from client: SocketRelay.Client? = .init(user: 0, group: 0)) -> Int32 {
            var ends: [Int32] = [-1, -1]
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
            // A test that waits for ever tells nothing.
            var limit = timeval(tv_sec: 10, tv_usec: 0)
            setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            socket.serve(ends[1])
            if let client { _ = send(ends[0], client.bytes, 8, 0) }
            return ends[0]
        }

        /// The client's identity as the listener sees it, for a client that the guest describes; nil when it is
        /// refused.
        func seen(_ socket: HostSocket, _ user: UInt32, _ group: UInt32) -> String? {
            let guest = stream(to: socket, from: .init(user: user, group: group))
            defer { close(guest) }
            var ready = [
                pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
                pollfd(fd: guest, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&ready, 2, 10_000) > 0, ready[0].revents != 0 else { return nil }
            let served = clx_accept(listener)
            defer { close(served) }
            var (user, group): (UInt32, UInt32) = (0, 0)
            guard clx_peer_identity(served, &user, &group) == 0 else { return nil }
            var groups = [gid_t](repeating: 0, count: 16)
            var length = socklen_t(groups.count * MemoryLayout<gid_t>.size)
            guard getsockopt(served, SOL_SOCKET, SO_PEERGROUPS, &groups, &length) == 0 else { return nil }
            return "\(user):\(group) \(groups.prefix(Int(length) / MemoryLayout<gid_t>.size))"
        }
    }

    /// process with a user, more members of it, and members of linux.
    private static func config(_ user: String, _ process: String = "", _ linux: String = "") -> String {
        #"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["a"],"user":{\#(user)}\#(process)},"linux":{\#(linux)}}"#
    }
    fileprivate static let root = config(#""uid":0,"gid":0"#)

    private func text(_ socket: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 100)
        return String(decoding: bytes[..<max(0, read(socket, &bytes, 100))], as: UTF8.self)
    }

    @Test("bytes go both ways, each way ends by itself, and the process keeps its own user")
    func joined() throws {
        let place = try Place()
        let (socket, _) = try place.offer(Self.config(#""uid":1000,"gid":50"#))
        chmod(place.path, 0o666)
        #expect(socket.options == ["uid=0", "gid=0", "mode=600"])
        let guest = place.stream(to: socket, from: .init(user: 1000, group: 50))
        defer { close(guest) }
        let served = clx_accept(place.listener)
        defer { close(served) }
        var (user, group): (UInt32, UInt32) = (0, 0)
        #expect(clx_peer_identity(served, &user, &group) == 0 && user == 1000 && group == 50)
        send(guest, "question", 8, 0)
        #expect(text(served) == "question")
        shutdown(guest, Int32(SHUT_WR))
        #expect(text(served) == "")
        send(served, "answer", 6, 0)
        #expect(text(guest) == "answer")
        shutdown(served, Int32(SHUT_WR))
        #expect(text(guest) == "")
        #expect(geteuid() == 0, "the process stays root's")
    }

    @Test("a client with an identity that no process of the container has gets no rights")
    func forged() throws {
        let place = try Place()
        chmod(place.path, 0o666)
        let (socket, _) = try place.offer(Self.config(#""uid":65533,"gid":100,"additionalGids":[5,6]"#))
        #expect(place.seen(socket, 65533, 100) == "65533:100 [5, 6]")
        for (user, group): (UInt32, UInt32) in [(0, 0), (65533, 0), (0, 100), (65533, 5), (1000, 1000), (.max, .max)] {
            #expect(place.seen(socket, user, group) == "65534:65534 []")
        }
        #expect(place.lines.all.filter { $0.contains("limit=socket identity") }.count == 1)
        // A container of root may connect as root only.
        let (roots, _) = try place.offer()
        #expect(place.seen(roots, 0, 0) == "0:0 []" && place.seen(roots, 1000, 1000) == "65534:65534 []")
    }

    @Test(
        "the socket's mode counts: root's refuses a container without rights, a group's accepts a supplementary group"
    )
    func modes() throws {
        let place = try Place()
        let (nobody, _) = try place.offer(Self.config(#""uid":65534,"gid":65534"#))
        let (member, _) = try place.offer(Self.config(#""uid":1000,"gid":1000,"additionalGids":[50]"#))
        chmod(place.path, 0o600)
        #expect(place.seen(nobody, 65534, 65534) == nil && place.seen(nobody, 0, 0) == nil)
        #expect(place.seen(member, 1000, 1000) == nil)
        chown(place.path, 0, 50)
        chmod(place.path, 0o660)
        #expect(place.seen(nobody, 65534, 65534) == nil)
        #expect(place.seen(member, 1000, 1000) == "1000:1000 [50]")
        // Root is bound by a mode too, unless config.json gives it the capability not to be.
        chown(place.path, 1000, 1000)
        chmod(place.path, 0o600)
        let (bare, _) = try place.offer()
        #expect(place.seen(bare, 0, 0) == nil)
        let capability = #","capabilities":{"effective":["CAP_DAC_OVERRIDE"],"permitted":["CAP_DAC_OVERRIDE"]}"#
        let (able, _) = try place.offer(Self.config(#""uid":0,"gid":0"#, capability))
        #expect(place.seen(able, 0, 0) == "0:0 []")
        // Another user's is gone with the program's start.
        let (other, _) = try place.offer(Self.config(#""uid":1001,"gid":1001"#, capability))
        #expect(place.seen(other, 1001, 1001) == nil)
    }

    @Test(
        "in a user namespace a container's users are the mapped users of the host, and unmapped ones have no rights"
    )
    func mapped() throws {
        let place = try Place()
        chmod(place.path, 0o666)
        let maps =
            #""namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":100000,"size":1000}],"#
            + #""gidMappings":[{"containerID":0,"hostID":200000,"size":1000}]"#
        let (socket, _) = try place.offer(Self.config(#""uid":7,"gid":8,"additionalGids":[9,5000]"#, "", maps))
        #expect(place.seen(socket, 100_007, 200_008) == "100007:200008 [200009]")
        #expect(place.seen(socket, 7, 8) == "65534:65534 []" && place.seen(socket, 0, 0) == "65534:65534 []")
        let (unmapped, _) = try place.offer(Self.config(#""uid":0,"gid":0"#, "", #""namespaces":[{"type":"user"}]"#))
        #expect(place.seen(unmapped, 0, 0) == "65534:65534 []")
    }

    @Test("an exec's user is known for as long as the exec runs")
    func execs() throws {
        let place = try Place()
        chmod(place.path, 0o666)
        let (socket, identities) = try place.offer(Self.config(#""uid":1000,"gid":1000"#))
        #expect(place.seen(socket, 0, 0) == "65534:65534 []")
        var exec = OCISpec.Process(args: ["sh"])
        exec.user.additionalGids = [3]
        identities.give("e1", exec)
        #expect(place.seen(socket, 0, 0) == "0:0 [3]" && place.seen(socket, 1000, 1000) == "1000:1000 []")
        identities.withdraw("e1")
        #expect(place.seen(socket, 0, 0) == "65534:65534 []")
    }

    @Test("hundreds of clients that say nothing cost one thread for all sockets, and others are served beside them")
    func silent() throws {
        let place = try Place()
        let sockets = try (0..<4).map { _ in try place.offer().0 }
        func threads() -> Int {
            Files.list("/proc/self/task").filter {
                (try? Files.readText("/proc/self/task/\($0)/comm"))?.hasPrefix("socket") == true
            }.count
        }
        let before = threads()
        let silent = sockets.flatMap { socket in (0..<100).map { _ in place.stream(to: socket, from: nil) } }
        #expect(threads() <= before + 1)
        #expect(place.seen(sockets[0], 0, 0) == "0:0 []")
        for socket in sockets { socket.close() }
        for stream in silent {
            #expect(text(stream) == "")
            close(stream)
        }
    }

    @Test("clients beyond the limit are closed, with one line in the log")
    func tooMany() throws {
        let place = try Place()
        let (socket, _) = try place.offer()
        let streams = (0..<520).map { _ in place.stream(to: socket, from: nil) }
        for stream in streams.suffix(8) { #expect(text(stream) == "") }
        #expect(place.lines.all.filter { $0.contains("limit=socket clients") }.count == 1)
        socket.close()
        for stream in streams { close(stream) }
    }

    @Test("a service that accepts no client for a while is waited for, and delays no other client")
    func busy() throws {
        let place = try Place(backlog: 0)
        let (socket, _) = try place.offer()
        let other = try Place()
        let (free, _) = try other.offer()
        let streams = (0..<5).map { _ in place.stream(to: socket) }
        #expect(other.seen(free, 0, 0) == "0:0 []")
        for stream in streams { send(stream, "x", 1, 0) }
        for _ in streams {
            let served = clx_accept(place.listener)
            #expect(text(served) == "x")
            close(served)
        }
        for stream in streams { close(stream) }
    }

    @Test("a client is refused without a listener, without a complete greeting, or after the end")
    func refused() throws {
        let place = try Place(listening: false)
        let socket = try place.offer().0
        for client in [SocketRelay.Client(user: 0, group: 0), nil] {
            let guest = place.stream(to: socket, from: client)
            if client == nil { shutdown(guest, Int32(SHUT_WR)) }
            #expect(text(guest) == "")
            close(guest)
        }
        socket.close()
        let guest = place.stream(to: socket)
        #expect(text(guest) == "")
        close(guest)
    }

    @Test("streams of a container that goes are ended at both ends")
    func ended() throws {
        let place = try Place()
        let socket = try place.offer().0
        let guests = (0..<20).map { _ in place.stream(to: socket) }
        let served = guests.map { _ in clx_accept(place.listener) }
        for guest in guests { send(guest, "x", 1, 0) }
        for each in served { #expect(text(each) == "x") }
        socket.close()
        for end in guests + served {
            #expect(text(end) == "")
            close(end)
        }
    }

    @Test(
        "sockets that are not for streams are refused by their names",
        arguments: [(Int32(SOCK_DGRAM.rawValue), "datagrams"), (Int32(SOCK_SEQPACKET.rawValue), "packets")])
    func otherTypes(_ type: Int32, _ word: String) throws {
        let place = try Place(type)
        if word == "packets" { listen(place.listener, 5) }
        let error = #expect(throws: SocketForwardError.self) { try place.offer().0 }
        #expect(error?.description.contains("\(place.path) is a socket for \(word)") == true)
    }

    @Test("a bound socket is the agent's to stand for, below /dev too; nothing of it is shared as a file")
    func bound() throws {
        var spec = Spec.example
        for destination in ["/var/run/docker.sock", "/dev/log"] {
            spec.mounts?.append(
                Mount(destination: destination, type: "bind", source: "/run/s", options: ["rbind", "ro"]))
        }
        let first = spec.mounts!.count - 2
        let guest = try GuestSpec(
            spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), kind: { $0 == "/run/s" ? .socket : .other })
        let paths = [first, first + 1].map { "/run/kata-containers/c1/socket\($0)" }
        #expect(guest.sockets == paths.map { GuestSpec.Socket(source: "/run/s", path: $0) })
        #expect(guest.shares.isEmpty && guest.spec.mounts?.suffix(2).map(\.source) == paths)
    }

    @Test("a greeting has exactly eight bytes")
    func greeting() {
        let client = SocketRelay.Client(user: 0xfffe_fdfc, group: 7)
        #expect(client.bytes == [0xff, 0xfe, 0xfd, 0xfc, 0, 0, 0, 7])
        #expect(SocketRelay.Client(client.bytes) == client)
        #expect(SocketRelay.Client([0, 0, 0]) == nil && SocketRelay.Client(client.bytes + [0]) == nil)
    }
}
