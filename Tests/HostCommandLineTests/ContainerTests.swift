import Configuration
import Glibc
import LinuxKernel
import OCISpec
import TestSupport
import Testing

@testable import CommandLine

@Suite("Containers of the command line, without a shim")
struct ContainerTests {
    private func options(_ bundle: String, console: String? = nil, socket: String? = nil, isForeground: Bool = false)
        -> CreateContainer.Options
    {
        CreateContainer.Options(
            id: "c", bundle: bundle, consoleSocket: socket, console: console, pidFile: nil, isForeground: isForeground)
    }

    @Test("a state is read back; one of a later version is refused, also by delete")
    func states() throws {
        let place = try CommandPlace()
        try place.save(place.state("c"))
        let state = try ContainerState.load(root: place.root, id: "c")
        #expect(state.pid == getpid() && state.process?.life == .running && state.sandboxName == "c")
        try Files.write(place.root + "/c/state.json", #"{"version": 2}"#)
        #expect(throws: RuntimeError.self) { try ContainerState.load(root: place.root, id: "c") }
        #expect(throws: RuntimeError.self) { try ContainerState.forRemoval(root: place.root, id: "c") }
        try Files.write(place.root + "/c/state.json", "{}")
        #expect(try ContainerState.forRemoval(root: place.root, id: "c") == nil)
    }

    @Test("a container whose shim has gone is stopped, and has no pid")
    func stopped() throws {
        let place = try CommandPlace()
        try place.save(place.state("c"))
        let state = try place.context.state("c")
        #expect(state.status == "stopped" && state.json.contains("\"pid\" : 0"))
        let lines = ContainerList(root: place.root).table.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(lines.map { $0.first } == ["ID", "c"] && lines[1][2] == "stopped")
        let error = #expect(throws: RuntimeError.self) {
            try SignalContainer("c", in: place.context).send(SIGTERM, all: false)
        }
        #expect(error?.description == "container \"c\" is not running")
        try SignalContainer("c", in: place.context).send(SIGTERM, all: true)
        #expect(throws: RuntimeError.self) { try SignalContainer("c", in: place.context).send(0, all: false) }
    }

    @Test("ps of a container that has ended prints the heading alone, and null as JSON")
    func processes() throws {
        let place = try CommandPlace()
        try place.save(place.state("c"))
        let list = try ProcessList("c", in: place.context)
        #expect(try list.table([]) == Array("UID PID PPID C STIME TTY TIME CMD\n".utf8))
        #expect(try list.table(["-o", "pid"]) == ProcessList.heading)
        #expect(try list.json == "null")
        #expect(throws: RuntimeError.self) { try ProcessList("nope", in: place.context) }
        var young = place.state("young")
        young.creator = .own
        try place.save(young)
        #expect(throws: SystemError.self) { try ProcessList("young", in: place.context).table([]) }
        #expect(try ProcessList("young", in: place.context).json == "[\(getpid())]")
    }

    @Test("a container whose create runs is being created; one whose create was killed is stopped, and a leak")
    func creation() throws {
        let place = try CommandPlace()
        let creator = try ChildProcess(Command("/bin/sleep", ["60"]))
        var state = place.state("c")
        (state.pid, state.start, state.creator) = (0, nil, ProcessIdentity(creator.pid))
        try place.save(state)
        #expect(try place.context.state("c").status == "creating")
        #expect(throws: RuntimeError.self) { try RemoveContainer("c", in: place.context).checkStopped() }
        creator.signal(SIGKILL)
        _ = creator.wait()
        let left = try place.context.state("c")
        #expect(left.status == "stopped" && left.isAbandoned)
        let leaks = ContainerState.leaks(root: place.root)
        #expect(leaks.map(\.description) == [place.root + "/c: its create has ended half-way"])
        #expect(leaks.allSatisfy { $0.remove() } && Files.list(place.root).isEmpty)
    }

    @Test("a state whose shim and bundle are gone is a leak; a stopped container with a bundle is none")
    func leaks() throws {
        let place = try CommandPlace()
        var state = place.state("c")
        state.bundle = try place.bundle { _ in }
        try place.save(state)
        #expect(ContainerState.leaks(root: place.root).isEmpty)
        state.bundle = place.root + "-none"
        try place.save(state)
        #expect(ContainerState.leaks(root: place.root).count == 1)
    }

    @Test("create says which terminal options are missing or too many, and makes nothing; run needs none of them")
    func terminals() throws {
        let place = try CommandPlace()
        let bundle = try place.bundle { $0.process?.terminal = true }
        #expect(throws: RuntimeError.self) { try CreateContainer(options(bundle), in: place.context) }
        _ = try CreateContainer(options(bundle, console: "/dev/pts/0"), in: place.context)
        _ = try CreateContainer(options(bundle, isForeground: true), in: place.context)
        let plain = try place.bundle { $0.process?.terminal = false }
        #expect(throws: RuntimeError.self) { try CreateContainer(options(plain, socket: "/s"), in: place.context) }
        #expect(Files.list(place.root).isEmpty)
    }

    @Test("create reports an error of configuration.toml, and of an annotation, before it makes anything")
    func configurationErrors() throws {
        let place = try CommandPlace(configuration: "[runtime]\ncreate_container_timeout = \"x\"\n")
        let bundle = try place.bundle { $0.process?.terminal = false }
        let error = #expect(throws: ConfigurationError.self) {
            try CreateContainer(options(bundle), in: place.context)
        }
        #expect(error?.line == 2 && error?.key == "runtime.create_container_timeout")
        let other = try CommandPlace()
        let annotated = try other.bundle {
            $0.process?.terminal = false
            $0.annotations = ["io.katacontainers.config.hypervisor.default_memory": "512"]
        }
        #expect(throws: ConfigurationError.self) { try CreateContainer(options(annotated), in: other.context) }
        #expect(Files.list(place.root).isEmpty && Files.list(other.root).isEmpty)
    }

    @Test("the attach process's view has the bind mounts of the host, and covers for what only the guest has")
    func view() throws {
        let place = try CommandPlace()
        let path = try place.bundle {
            $0.root?.readonly = true
            $0.mounts = [
                .init(destination: "/proc", type: "proc", source: "proc", options: nil),
                .init(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: nil),
                .init(destination: "/data", type: "bind", source: "/etc", options: ["rbind", "ro"]),
                .init(destination: "/tmp", type: "tmpfs", source: "tmpfs", options: nil),
            ]
        }
        let view = ContainerView(try Bundle(path))
        #expect(view.root == path + "/rootfs" && view.isRootReadOnly && view.hasProc)
        #expect(view.parts.map(\.destination) == ["/data", "/tmp"] && view.parts.map(\.source) == ["/etc", nil])
        #expect(view.parts[0].isReadOnly && view.parts[0].isRecursive)
        #expect(try ContainerView(json: view.json) == view)
    }
}
