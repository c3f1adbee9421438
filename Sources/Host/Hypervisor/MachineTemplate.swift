import CLinux
import EventLoop
import FoundationEssentials
import Glibc
import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A machine that was booted once, before any sandbox's share or channel was in it, and saved: others go on from there.
///
/// Its directory holds the memory, the rest of the state, and what it was made from. Devices of vhost-user can't be saved (QEMU marks them
/// so); a clone gets its own while it still stands.
package struct MachineTemplate: Sendable, Equatable {
    package let directory: String
    /// Of the machine that is saved, and of its clones.
    private let machine: VMConfiguration

    private var memory: String { directory + "/memory" }
    private var state: String { directory + "/state" }
    private static let label = "template.json"

    /// Ports for the channel and the share, beside those of the configuration.
    private static let portsForDevices = 2
    /// What the agent says on the console when all is loaded and nobody has come.
    private static let readyLine = "kata-agent: ready, and waits for its host"

    /// - Parameter machine: of a sandbox: what is only that sandbox's is left out.
    package init(directory: String, of machine: VMConfiguration) {
        self.directory = directory
        var machine = machine
        (machine.name, machine.consoleFile, machine.pidFile) = ("template", "", "")
        (machine.vsockSocket, machine.shareSocket, machine.hostVsockCID) = (nil, nil, nil)
        (machine.networkNamespace, machine.user) = (nil, nil)
        machine.rootPorts = min(16, machine.rootPorts + Self.portsForDevices)
        self.machine = machine
    }

    // MARK: What it was made from

    /// Why there is no template to go on from; nil when there is one.
    package func obstacle(version: String) -> String? {
        let label = directory + "/" + Self.label
        guard Files.exists(label) else { return "there is none in \(directory): kata-runtime factory init makes it" }
        let bytes: [UInt8]
        do {
            try FileOwner.checkDirectory(directory)
            bytes = try FileOwner.open(label).readAll(label, limit: 1 << 20)
        } catch { return "\(error)" }
        guard let made = try? JSONDecoder().decode(MachineLabel.self, from: Data(bytes)) else {
            return "\(directory)/\(Self.label) is no label of a template"
        }
        return made.difference(from: MachineLabel(machine, version: version)).map {
            "that in \(directory) was made \($0): kata-runtime factory init makes it anew"
        }
    }

    func writeLabel(version: String, in directory: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try Files.write(
            directory + "/" + Self.label, Array(try encoder.encode(MachineLabel(machine, version: version))))
    }

    /// Whether a directory is a template's, and nothing else's.
    package static func isTemplate(_ directory: String) -> Bool { Files.exists(directory + "/" + label) }

    // MARK: Making it

    /// Boots a machine, waits until its agent has everything ready, saves it. What was in the directory before is replaced at once, in
    /// the end.
    package func make(version: String, within limit: Duration, on loop: any EventLoop) async throws {
        guard !Files.exists(directory) || Self.isTemplate(directory) else {
            throw SystemError("make a template in (it holds something else)", directory, errno: EEXIST)
        }
        removeHalfMade()
        let work = directory + ".new-\(getpid())"
        try Files.makeDirectory(work)
        defer { Files.removeTree(work) }
        // Before the files are read: one that changes meanwhile makes another template.
        try writeLabel(version: version, in: work)
        var machine = machine
        machine.memory = .file(work + "/memory")
        (machine.consoleFile, machine.pidFile) = (work + "/console.log", work + "/qemu.pid")
        let logs = try BoundedLogs()
        defer { logs.stop() }
        let running = try await QEMUVirtualMachine.start(
            machine, qmpSocket: work + "/qmp.sock", logs: logs, on: loop
        ) { _ in }
        do {
            try await Self.waitUntilReady(running, console: machine.consoleFile, within: limit, loop)
            let state = try FileDescriptor.open(work + "/state", O_RDWR | O_CREAT | O_TRUNC)
            try await running.migrate("migrate", through: state, within: Deadline.saving.limit)
        } catch {
            await running.stop(timeout: .zero)
            throw error
        }
        await running.stop(timeout: .zero)
        for name in ["console.log", "console.log.qemu", "qmp.sock", "qemu.pid"] { unlink(work + "/" + name) }
        Files.removeTree(machine.rootDirectory)
        try remove()
        try check("rename", work) { rename(work, directory) }
    }

    /// What a `make` left that was killed.
    private func removeHalfMade() {
        let (parent, own) = (Files.parent(of: directory), directory.split(separator: "/").last ?? "")
        for name in Files.list(parent) where name.hasPrefix(own + ".new-") {
            if !ProcessIdentity.isOwnerAlive(ofName: name) { Files.removeTree(parent + "/" + name) }
        }
    }

    private static func waitUntilReady(
        _ machine: QEMUVirtualMachine, console: String, within limit: Duration, _ loop: any EventLoop
    ) async throws {
        let deadline = ContinuousClock.now + limit
        while !((try? Files.readText(console)) ?? "").contains(readyLine) {
            guard machine.end == nil, .now < deadline else {
                let end = machine.end.map { "QEMU \($0)" } ?? "its agent was not ready within \(limit)"
                let words = machine.complaints() + machine.consoleTail(lines: 4)
                throw QMPError("the template's machine: \(end); it said: \(words.joined(separator: " | "))")
            }
            try await sleep(.milliseconds(20), on: loop)
        }
    }

    /// Only what is a template's goes.
    package func remove() throws {
        guard Files.exists(directory) else { return }
        guard Self.isTemplate(directory) else {
            throw SystemError("remove (it is no template)", directory, errno: EPERM)
        }
        Files.removeTree(directory)
    }

    // MARK: Going on from it

    /// A clone's machine, in the place of `machine`, which would be booted.
    package func configuration(for machine: VMConfiguration) -> VMConfiguration {
        var clone = self.machine
        (clone.name, clone.consoleFile, clone.pidFile) = (machine.name, machine.consoleFile, machine.pidFile)
        (clone.networkNamespace, clone.user) = (machine.networkNamespace, machine.user)
        clone.memory = .saved
        return clone
    }

    /// As large as the memory, and empty: `fill` copies what there is. QEMU may have it before; it can't make it shorter, and the channel's
    /// device takes no other memory.
    package func emptyMemory() throws(SystemError) -> SharedDescriptor {
        let source = try FileOwner.open(memory)
        var facts = stat()
        try check("look at", memory) { fstat(source.raw, &facts) }
        return SharedDescriptor(try FileDescriptor.memory("clone", size: facts.st_size))
    }

    /// Copies the pages that hold something. Blocks.
    package func fill(_ copy: SharedDescriptor) throws(SystemError) {
        let source = try FileOwner.open(memory)
        var end: off_t = 0
        while true {
            // ENXIO: nothing but holes behind (lseek(2)).
            let start = lseek(source.raw, end, Int32(clx_seek_data))
            guard start >= 0 else { return }
            end = lseek(source.raw, start, Int32(clx_seek_hole))
            var offset = start
            lseek(copy.raw, start, SEEK_SET)
            while offset < end {
                let count = try check("copy", memory) { sendfile(copy.raw, source.raw, &offset, Int(end - offset)) }
                if count == 0 { throw SystemError("copy (it became shorter)", memory, errno: EIO) }
            }
        }
    }

    /// Brings a clone, whose memory is there, to where the template was.
    package func restore(_ clone: QEMUVirtualMachine) async throws {
        let state = try FileOwner.open(state)
        try await clone.migrate("migrate-incoming", through: state, within: Deadline.saving.limit)
    }

    /// Gives it devices of its own, and lets it go on.
    package func resume(_ clone: QEMUVirtualMachine, as machine: VMConfiguration) async throws {
        try await clone.plugIn(machine)
        try await clone.monitor().execute("cont")
    }
}

extension QEMUVirtualMachine {
    /// The channel and the share of a sandbox, for a machine that was made without.
    fileprivate func plugIn(_ machine: VMConfiguration) async throws {
        let monitor = try await monitor()
        func plug(_ id: String, _ socket: String, _ device: String) async throws {
            let port = try slots.withLock { (slots) throws(QMPError) in try slots.take(id) }
            let connection = try UnixSocket.connect(socket)
            try await monitor.execute("getfd", #"{"fdname":"\#(id)"}"#, descriptor: connection.raw)
            try await monitor.execute(
                "chardev-add",
                #"{"id":"\#(id)","backend":{"type":"socket","data":{"addr":{"type":"fd","data":{"str":"\#(id)"}},"server":false}}}"#
            )
            try await monitor.execute(
                "device_add", #"{\#(device),"id":"\#(id)-device","chardev":"\#(id)","bus":"\#(port)"}"#)
        }
        if let socket = machine.shareSocket {
            try await plug(
                "share", socket,
                #""driver":"vhost-user-fs-pci","tag":"\#(machine.shareTag)","queue-size":\#(machine.shareQueueSize)"#)
        }
        if let socket = machine.vsockSocket { try await plug("vsock", socket, #""driver":"vhost-user-vsock-pci""#) }
    }
}
