import AgentAPI
import CLinux
import Glibc
import Linux
import OCISpec
import Testing

@testable import Sandbox

@Suite("Sockets of the host for a guest")
struct HostSocketTests {
    /// A directory with a socket of the host in it.
    private final class Place {
        let path: String
        let relay: StreamRelay
        var listener: Int32 = -1

        init(_ type: Int32 = Int32(SOCK_STREAM.rawValue), listening: Bool = true) throws {
            var template = Array("/tmp/kata-socket-XXXXXX".utf8CString)
            path = String(cString: mkdtemp(&template)) + "/s"
            relay = try StreamRelay()
            if type == Int32(SOCK_STREAM.rawValue) {
                listener = try UnixSocket.listen(path).take()
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
            if !listening { close(listener) }
        }

        deinit {
            relay.stop()
            close(listener)
            unlink(path)
            rmdir(String(path.dropLast(2)))
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
    }

    private func text(_ socket: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 100)
        return String(decoding: bytes[..<max(0, read(socket, &bytes, 100))], as: UTF8.self)
    }

    @Test("bytes go both ways, each way ends by itself, and the listener sees who the guest says is there")
    func joined() throws {
        let place = try Place()
        let socket = try HostSocket(place.path, relay: place.relay)
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

    @Test("a user namespace's guest is nobody outside it")
    func mapped() throws {
        let place = try Place()
        let map = [IDMapping(containerID: 0, hostID: 100000, size: 1000)]
        let socket = try HostSocket(place.path, users: map, groups: map, relay: place.relay)
        for (user, group, isServed) in [
            (0, 100000, false), (100000, 0, false), (101000, 100000, false), (100999, 100000, true),
        ] {
            let guest = place.stream(to: socket, from: .init(user: UInt32(user), group: UInt32(group)))
            defer { close(guest) }
            if isServed { close(clx_accept(place.listener)) }
            #expect(text(guest) == "")
        }
    }

    @Test("who finds nobody, goes before he has said who he is, or comes when it is over, is sent away")
    func refused() throws {
        let place = try Place(listening: false)
        let socket = try HostSocket(place.path, relay: place.relay)
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
        let socket = try HostSocket(place.path, relay: place.relay)
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
        let error = #expect(throws: SandboxError.self) { try HostSocket(place.path, relay: place.relay) }
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

    @Test("who is there is eight bytes, no more and no less")
    func greeting() {
        let client = SocketRelay.Client(user: 0xfffe_fdfc, group: 7)
        #expect(client.bytes == [0xff, 0xfe, 0xfd, 0xfc, 0, 0, 0, 7])
        #expect(SocketRelay.Client(client.bytes) == client)
        #expect(SocketRelay.Client([0, 0, 0]) == nil && SocketRelay.Client(client.bytes + [0]) == nil)
    }
}
