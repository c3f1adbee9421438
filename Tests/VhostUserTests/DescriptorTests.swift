import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import VhostUser

extension VsockDeviceTests {
    @Suite("Descriptors of the VMM")
    struct Descriptors {
        @Test("kicks that come together with resets take no byte of what else this process opens")
        func kicksAndResets() async throws {
            try await withDevice { device, guest in
                var random = Seeded(17)
                let isOver = Mutex(false)
                let lost = Mutex(0)
                try startThread("strangers") {
                    while !isOver.withLock({ $0 }) {
                        // Eight bytes, as a kick has.
                        guard let pair = try? SocketPair() else { continue }
                        var bytes: UInt64 = 1
                        _ = Glibc.send(pair.theirs.raw, &bytes, 8, 0)
                        sched_yield()
                        let left = recv(pair.ours.raw, &bytes, 8, Int32(MSG_DONTWAIT))
                        if left != 8 { lost.withLock { $0 += 1 } }
                    }
                    isOver.withLock { $0 = false }
                }
                for _ in 0..<Fuzz.rounds(150, of: "kicks together with resets") {
                    for _ in 0..<4 { guest.kick(Int.random(in: 0...1, using: &random)) }
                    try guest.stop()
                    try guest.setUp()
                }
                isOver.withLock { $0 = true }
                try await eventually { isOver.withLock { !$0 } }
                #expect(lost.withLock { $0 } == 0)
                let (socket, _) = try await guest.open(device)
                close(socket)
            }
        }

        enum Kind: CaseIterable { case file, pipe, endedPipe, socket, directory, device }

        private func descriptor(_ kind: Kind, _ scratch: Scratch) throws -> SharedDescriptor {
            switch kind {
            case .file:
                let file = try FileDescriptor.open(scratch.path + "/file", O_RDWR | O_CREAT)
                try file.writeAll([UInt8](repeating: 1, count: 64), to: "file")
                lseek(file.raw, 0, SEEK_SET)
                return SharedDescriptor(file)
            case .pipe: return SharedDescriptor(try Pipe().keepingReadEnd())
            case .endedPipe: return SharedDescriptor(try Pipe().keepingWriteEnd())
            case .socket: return SharedDescriptor(try SocketPair().keepingOurs())
            case .directory: return SharedDescriptor(try FileDescriptor.open(scratch.path, O_RDONLY))
            case .device: return SharedDescriptor(try FileDescriptor.open("/dev/zero", O_RDWR))
            }
        }

        @Test("that are no eventfds are refused as kicks and calls, and left alone", arguments: Kind.allCases)
        func otherTypes(kind: Kind) async throws {
            try await withDevice { device, guest in
                let scratch = Scratch()
                let other = try descriptor(kind, scratch)
                let flags = fcntl(other.raw, F_GETFL)
                for request in [12, 13] as [UInt32] {
                    #expect(try guest.ask(request, u64(0), [other.raw]) == 1)
                    #expect(try guest.ask(request, u64(1), [other.raw]) == 1)
                }
                guest.offer(0, head: 0)
                guest.transmit(packet(.request, from: 1, to: 1))
                #expect(fcntl(other.raw, F_GETFL) == flags)
                if kind == .file { #expect(lseek(other.raw, 0, SEEK_CUR) == 0) }
                try guest.stop()
                try guest.setUp()
                let (socket, _) = try await guest.open(device)
                close(socket)
            }
        }

        @Test("a counter that another made blocking is read without waiting")
        func blockingKick() async throws {
            try await withDevice { device, guest in
                // Several readers of one counter: the second one finds nothing.
                let kick = try eventDescriptor(0)
                #expect(try guest.ask(12, u64(1), [kick.raw]) == 0)
                for _ in 0..<200 {
                    var one: UInt64 = 1
                    _ = Glibc.write(kick.raw, &one, 8)
                    _ = fcntl(kick.raw, F_SETFL, O_NONBLOCK)
                    _ = Glibc.read(kick.raw, &one, 8)
                    _ = fcntl(kick.raw, F_SETFL, 0)
                }
                #expect(try guest.ask(17, []) == 3)
            }
        }

        @Test("a VMM that doesn't read its answers, or sends half a message, holds nothing up")
        func deafVMM() async throws {
            let path = "/tmp/vsock-test-\(getpid())-deaf.sock"
            let device = try VsockDevice(socketPath: path)
            defer { device.close() }
            do {
                let half = try UnixSocket.connect(path)
                try half.send(u32(1) + u32(1) + u32(8), descriptors: [])
                // Its deadline is kept by the same thread.
                await #expect(throws: VsockError.timedOut(port: 1)) {
                    try await device.dial(port: 1, timeout: .milliseconds(20))
                }
            }
            let deaf = try UnixSocket.connect(path)
            for _ in 0..<100_000 {
                let message = u32(1) + u32(1) + u32(0)
                if Glibc.send(deaf.raw, message, message.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) < 0 {
                    if errno == EPIPE || errno == ECONNRESET { break }
                    sched_yield()
                }
            }
            // Let go of, though it has not hung up.
            let guest = try FakeGuest(devicePath: path)
            let (socket, _) = try await guest.open(device)
            close(socket)
        }

        @Test("a message with more descriptors than any has, in pieces, ends the connection and leaves none open")
        func manyDescriptors() async throws {
            try await withDevice { device, guest in
                let scratch = Scratch()
                let file = try FileDescriptor.open(scratch.path + "/file", O_RDWR | O_CREAT)
                let eight = [Int32](repeating: file.raw, count: 8)
                try guest.socket.send(u32(5) + u32(1) + u32(100), descriptors: eight)
                for _ in 0..<20 {
                    do { try guest.socket.send([0], descriptors: eight) } catch { break }
                }
                var gone: UInt8 = 0
                #expect(recv(guest.socket.raw, &gone, 1, 0) <= 0)
                try await eventually { openCopies(of: file.raw) == 1 }
            }
        }
    }
}

/// Descriptors of this process that lead to the same file.
private func openCopies(of file: Int32) -> Int {
    var (wanted, facts) = (stat(), stat())
    fstat(file, &wanted)
    return Files.list("/proc/self/fd").compactMap { Int32($0) }.count {
        fstat($0, &facts) == 0 && facts.st_dev == wanted.st_dev && facts.st_ino == wanted.st_ino
    }
}
