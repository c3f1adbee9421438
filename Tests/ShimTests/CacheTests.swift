import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Configuration
@testable import Shim

@Suite("Cached machines")
struct CacheTests {
    private let scratch = Scratch()
    private var place: String { scratch.path }
    private var endpoint: String { place + "/cache.sock" }

    /// Asks as a manager's start does; returns what was warned of.
    private func start() throws -> (serves: Bool, warnings: [String]) {
        try Files.write(
            place + "/c.toml", "[factory]\nvm_cache_number = 1\nvm_cache_endpoint = \"\(endpoint)\"\n")
        var warnings: [String] = []
        let serves = MachineCache.start(
            try ShimFlags(["-id", "c1"]), configuration: try .load(place + "/c.toml", keys: .all),
            path: place + "/c.toml", publisher: nil,
            socket: place + "/shim.sock",
            directory: place
        ) { warnings.append($0) }
        return (serves, warnings)
    }

    /// A server that answers one request through `body`.
    private func serve(_ body: @escaping @Sendable (CacheTaker, [Int32]) -> Void) throws {
        let listener = SharedDescriptor(try UnixSocket.listen(endpoint, .messages))
        detachThread("server") {
            let client = FileDescriptor(owning: accept(listener.raw, nil, nil))
            guard let message = try? client.receive(limit: CacheRequest.longest) else { return }
            if let taker = decodeMessage(CacheRequest.self, message.bytes)?.taker { body(taker, message.descriptors) }
            for descriptor in message.descriptors { close(descriptor) }
        }
    }

    @Test("a server that is gone, or has died: one line with the cause and what to do")
    func noServer() throws {
        let reason = "start it with kata-runtime factory init, or set factory.vm_cache_number to 0"
        let none = try start()
        #expect(!none.serves && none.warnings.count == 1 && none.warnings[0].hasSuffix(reason))
        #expect(none.warnings[0].contains("\(endpoint) (no such file or directory)"))
        // The remains of a killed server.
        do { _ = try UnixSocket.listen(endpoint, .messages) }
        let dead = try start()
        #expect(!dead.serves && dead.warnings.count == 1 && dead.warnings[0].hasSuffix(reason))
        #expect(dead.warnings[0].contains("\(endpoint) (connection refused)"))
    }

    @Test(
        "a server of another user gets no machine: the warning names the user and the key",
        .enabled(if: geteuid() == 0, "only root can start a server of another user"))
    func foreign() throws {
        chmod(place, 0o777)
        let script =
            "socket(S, PF_UNIX, SOCK_SEQPACKET, 0); bind(S, pack_sockaddr_un(shift)); listen(S, 1); close(STDOUT); sleep 60"
        let server = try ChildWithOutput(
            Command(
                "/usr/bin/setpriv",
                ["--reuid", "65534", "--clear-groups", "/usr/bin/perl", "-MSocket", "-e", script, endpoint]),
            output: [1])
        defer {
            server.process.signal(SIGKILL)
            _ = server.process.wait()
        }
        // Perl closes its output when it listens.
        #expect(try server.output.readAll("the server's output", limit: 100, by: .now + .longWait).isEmpty)
        let foreign = try start()
        #expect(!foreign.serves && foreign.warnings.count == 1)
        #expect(
            foreign.warnings[0].contains("user 65534 listens at \(endpoint), not root: set factory.vm_cache_endpoint"))
    }

    @Test("a refusal is reported unchanged; so is the end of a shim during its handover")
    func refused() throws {
        try serve { _, descriptors in
            let shim = FileDescriptor(owning: dup(descriptors[0]))
            try? shim.tell(CacheAnswer(refusal: "none is ready"))
        }
        let refused = try start()
        #expect(!refused.serves && refused.warnings.count == 1 && refused.warnings[0].hasSuffix(": none is ready"))
        try serve { _, _ in }
        let ended = try start()
        #expect(!ended.serves && ended.warnings.count == 1)
        #expect(ended.warnings[0].hasSuffix("the cached machine ended while it was handed over"))
    }

    @Test("what a shim becomes goes to it whole, and it is let go only when its manager's files are there")
    func taken() throws {
        let place = place
        let pipe = try Pipe()
        let result = SharedDescriptor(try pipe.writeEnd.duplicate())
        try serve { taker, descriptors in
            let shim = FileDescriptor(owning: dup(descriptors[0]))
            var answer = CacheAnswer()
            answer.process = 4711
            try? shim.tell(answer)
            let go = try? shim.receive(limit: 1)
            let isThere =
                (try? Files.readText(place + "/shim.pid")) == "4711"
                && (try? Files.readText(place + "/address")) == "unix://\(place)/shim.sock"
            var byte: UInt8 = go?.bytes == [1] && isThere && taker.id == "c1" && taker.process == getpid() ? 1 : 0
            write(result.raw, &byte, 1)
        }
        #expect(try start() == (true, []))
        var byte: UInt8 = 0
        #expect(read(pipe.readEnd.raw, &byte, 1) == 1 && byte == 1)
    }

    @Test("only what the machine is made from counts as settings")
    func settings() throws {
        func settings(_ text: String) throws -> String {
            var configuration = Configuration()
            try configuration.merge(text: text, file: "c.toml")
            return configuration.cacheSettings
        }
        let base = "[hypervisor.qemu]\nkernel = \"/k\"\n"
        #expect(try settings(base) == settings(base + "[factory]\nvm_cache_number = 3\nenable_template = true\n"))
        #expect(try settings(base) != settings(base + "default_memory = 300\n"))
    }

    @Test("a warm VM is listed in Kata's format")
    func status() {
        #expect(CachedMachine(process: 7, vcpus: 1, memoryMiB: 256).line == "VM pid = 7 Cpu = 1 Memory = 256MiB")
    }
}

private func == (left: (serves: Bool, warnings: [String]), right: (Bool, [String])) -> Bool {
    left.serves == right.0 && left.warnings == right.1
}
