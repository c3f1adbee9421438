import Glibc

/// The end of a measurement that is in a guest: connects to its driver (Benchmarks/drive) and does what it is told, a line at a time,
/// until it is told to end. Usage: bench-peer ADDRESS PORT
@main
struct Peer {
    private static let block = 1 << 20

    let stream: Int32
    let buffer: UnsafeMutableRawPointer

    static func main() {
        guard CommandLine.arguments.count == 3, let port = UInt16(CommandLine.arguments[2]) else {
            fail("usage: bench-peer ADDRESS PORT")
        }
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: block, alignment: 4096)
        memset(buffer, 1, block)
        let peer = Peer(stream: connected(CommandLine.arguments[1], port), buffer: buffer)
        while let words = peer.line(), peer.perform(words) {}
    }

    private static func fail(_ what: String) -> Never {
        perror("bench-peer: " + what)
        exit(1)
    }

    /// The link may need a moment until it carries frames.
    private static func connected(_ host: String, _ port: UInt16) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, host, &address.sin_addr)
        for _ in 0..<100 {
            let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(stream, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result == 0 {
                var on: Int32 = 1
                setsockopt(stream, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
                return stream
            }
            close(stream)
            usleep(50_000)
        }
        fail("connect")
    }

    private func line() -> [String]? {
        var text = ""
        var byte: UInt8 = 0
        while read(stream, &byte, 1) == 1 {
            if byte == 10 { return text.split(separator: " ").map(String.init) }
            text.append(Character(Unicode.Scalar(byte)))
        }
        return nil
    }

    /// - Returns: false at the end.
    private func perform(_ words: [String]) -> Bool {
        let number = words.last.flatMap { Int($0) } ?? 0
        switch words.first {
        case "send":
            transmit(number)
            return true
        case "echo":
            for _ in 0..<number {
                receive(1)
                transmit(1)
            }
            return true
        case "take": receive(number)
        case "write":
            file(words[1], O_WRONLY | O_CREAT | O_TRUNC) { file in
                move(number) { write(file, buffer, $0) }
                fsync(file)
            }
        case "read":
            file(words[1], O_RDONLY) { file in
                // Past the guest's own cache: the device is measured.
                posix_fadvise(file, 0, 0, Int32(POSIX_FADV_DONTNEED))
                move(number) { read(file, buffer, $0) }
            }
        case "small": small(words[1], number)
        default: return false
        }
        transmit(1)
        return true
    }

    /// Moves `count` bytes by `call`, at most a block at a time.
    private func move(_ count: Int, _ call: (Int) -> Int) {
        var rest = count
        while rest > 0 {
            let moved = call(min(rest, Self.block))
            if moved <= 0 { Self.fail("transfer") }
            rest -= moved
        }
    }

    private func receive(_ count: Int) { move(count) { read(stream, buffer, $0) } }
    private func transmit(_ count: Int) { move(count) { write(stream, buffer, $0) } }

    private func file(_ path: String, _ flags: Int32, _ body: (Int32) -> Void) {
        let file = open(path, flags, 0o600)
        if file < 0 { Self.fail(path) }
        body(file)
        close(file)
    }

    /// Makes small files, reads them and takes them away.
    private func small(_ directory: String, _ count: Int) {
        let paths = (0..<count).map { "\(directory)/\($0)" }
        for path in paths {
            file(path, O_WRONLY | O_CREAT | O_EXCL) { file in move(4096) { write(file, buffer, $0) } }
        }
        for path in paths { file(path, O_RDONLY) { file in move(4096) { read(file, buffer, $0) } } }
        for path in paths where unlink(path) != 0 { Self.fail(path) }
    }
}
