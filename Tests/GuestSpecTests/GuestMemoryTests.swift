import AgentAPI
import Cleanup
import LinuxKernel
import OCISpec
import Testing

@testable import GuestSpec

@Suite("Memory of the guest in place of the host's")
struct GuestMemoryTests {
    private static let volume = "/var/lib/kubelet/pods/p1/volumes/kubernetes.io~empty-dir/v"
    private static let inGuest = "/run/kata-containers/sandbox/ephemeral/57"

    /// The specification of a container that binds these sources at these destinations.
    private func guest(
        _ binds: [(source: String, destination: String)], known: KnownMemory = KnownMemory(), isInPod: Bool = false,
        _ memory: @escaping @Sendable (String) -> MemoryFileSystem?
    ) throws -> GuestSpec {
        var spec = Spec.example
        if isInPod { spec.annotations = ["io.kubernetes.cri.container-type": "container"] }
        spec.mounts = binds.map {
            Mount(destination: $0.destination, type: "bind", source: $0.source, options: ["rbind", "nodev"])
        }
        return try GuestSpec(
            spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), known: known, kind: { _ in .directory },
            memory: memory)
    }

    private func sources(_ guest: GuestSpec) -> [String?] { guest.spec.mounts?.map(\.source) ?? [] }

    private static func memory(
        _ mountPoint: String, _ content: MemoryFileSystem.Content = .nothing, place: String = "/"
    ) -> MemoryFileSystem {
        var memory = MemoryFileSystem(device: 57, mountPoints: [mountPoint])
        (memory.content, memory.place) = (content, place)
        return memory
    }

    @Test(
        "memory with mapped owners stays the host's, for all mounts of it; memory that is the guest's already is refused"
    )
    func mappedOwners() throws {
        func guest(known: KnownMemory = KnownMemory()) throws -> GuestSpec {
            var spec = Spec.example
            let ids = [IDMapping(containerID: 0, hostID: 100_000, size: 10)]
            spec.mounts = ["/dev/shm", "/cache"].map {
                Mount(destination: $0, type: "bind", source: "/pod/shm", options: ["rbind"])
            }
            spec.mounts?[1].uidMappings = ids
            spec.mounts?[1].gidMappings = ids
            return try GuestSpec(
                spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), known: known, kind: { _ in .directory },
                memory: { Self.memory($0) })
        }
        let shared = try guest()
        #expect(shared.memories.isEmpty && shared.shares.map(\.owners?.isRecursive) == [nil, false])
        let error = #expect(throws: SpecError.self) {
            try guest(known: KnownMemory(inGuest: [57: GuestSpec.Memory(Self.memory("/pod/shm"), isKept: false)]))
        }
        #expect(error?.path == "mounts[1].source")
    }

    @Test("an empty tmpfs at /dev/shm is the guest's, with the host's size, permissions and restrictions")
    func sharedMemory() throws {
        var shm = Self.memory("/pod/shm")
        (shm.size, shm.restrictions, shm.top.mode) = ("65536k", ["nosuid", "nodev"], 0o1777)
        let found = shm
        let pod = try guest([("/pod/shm", "/dev/shm")], isInPod: true) { _ in found }
        #expect(pod.memories.map(\.options) == [["nosuid", "nodev", "mode=1777", "size=65536k"]])
        #expect(pod.memories.map(\.path) == [Self.inGuest] && pod.memories.map(\.isKept) == [true])
        #expect(
            pod.shares.isEmpty
                && pod.spec.mounts == [
                    Mount(destination: "/dev/shm", type: "bind", source: Self.inGuest, options: ["rbind", "nodev"])
                ])
        #expect(try guest([("/pod/shm", "/dev/shm")]) { _ in found }.memories.map(\.isKept) == [false])
        for other in [
            try guest([("/pod/shm", "/dev/shm")]) { _ in nil }, try guest([("/pod/shm", "/data")]) { _ in found },
            try guest([("/pod/shm", "/dev/shm")]) { _ in Self.memory("/pod/shm", .directories) },
            try guest([("/pod/shm", "/dev/shm")]) { _ in Self.memory("/pod", place: "/shm") },
        ] { #expect(other.memories.isEmpty && other.shares.map(\.source) == ["/pod/shm"]) }
    }

    @Test("a volume in memory is the guest's wherever it is mounted, kept for the pod, and its group passes on")
    func volume() throws {
        var volume = Self.memory(Self.volume)
        (volume.top.mode, volume.top.group) = (0o2777, 2000)
        let found = volume
        for destination in ["/cache", "/dev/shm"] {
            let guest = try guest([(Self.volume, destination)]) { _ in found }
            #expect(guest.memories.map(\.options) == [["mode=2777", "fsgid=2000"]] && guest.shares.isEmpty)
            #expect(guest.memories.map(\.isKept) == [true] && sources(guest) == [Self.inGuest])
        }
        let filled = try guest([(Self.volume, "/cache")]) { _ in Self.memory(Self.volume, .files) }
        #expect(filled.memories.isEmpty && filled.shares.map(\.source) == [Self.volume])
    }

    @Test("kubelet's volume of huge pages is the pod's, with the same size of pages, and no other hugetlbfs is")
    func hugePages() throws {
        var volume = Self.memory(Self.volume, .files)
        (volume.pageSize, volume.size) = ("2M", "8M")
        let found = volume
        let guest = try guest([(Self.volume, "/huge")]) { _ in found }
        #expect(guest.memories.map(\.fileSystem) == ["hugetlbfs"] && guest.memories.map(\.isKept) == [true])
        #expect(guest.memories.map(\.options) == [["mode=755", "size=8M", "pagesize=2M"]] && guest.shares.isEmpty)
        var other = Self.memory("/dev/hugepages")
        other.pageSize = "2M"
        let hosts = other
        #expect(try self.guest([("/dev/hugepages", "/huge")]) { _ in hosts }.shares.map(\.source) == ["/dev/hugepages"])
    }

    @Test("a directory of a volume is found in the guest's memory, with the attributes that kubelet gave it")
    func subPath() throws {
        let subPath = "/var/lib/kubelet/pods/p1/volume-subpaths/v/c/0"
        let guest = try guest([(subPath, "/sub"), (Self.volume, "/all")]) { source in
            guard source == subPath else { return Self.memory(Self.volume, .directories) }
            var memory = Self.memory(Self.volume, .directories, place: "/a/b")
            (memory.attributes.mode, memory.attributes.group) = (0o2750, 2000)
            return memory
        }
        #expect(guest.memories.map(\.path) == [Self.inGuest] && guest.shares.isEmpty)
        #expect(sources(guest) == ["/run/kata-containers/c1/memory0", Self.inGuest])
        let directory = VolumeDirectory(place: "/a/b", mode: 0o2750, owner: 0, group: 2000)
        #expect(
            guest.memoryDirectories == [
                GuestSpec.MemoryDirectory(
                    volume: Self.inGuest, directory: directory, path: "/run/kata-containers/c1/memory0")
            ])
        #expect(VolumeDirectory(directory.options) == directory)
    }

    @Test("one tmpfs of the host has one place in a pod: all its mounts are the guest's, or all are the host's")
    func onePlace() throws {
        let found: @Sendable (String) -> MemoryFileSystem? = { $0 == "/v" ? Self.memory("/v") : nil }
        let both = try guest([("/v", "/cache"), ("/v", "/dev/shm"), ("/x", "/x")], found)
        #expect(both.memories.count == 1 && both.shares.map(\.source) == ["/x"])
        #expect(sources(both).prefix(2) == [Self.inGuest, Self.inGuest])
        let known = KnownMemory(inGuest: [57: both.memories[0]])
        #expect(try guest([("/v", "/cache")], known: known, found).memories == both.memories)
        let shared = try guest([("/v", "/dev/shm")], known: KnownMemory(shared: [57]), found)
        #expect(shared.memories.isEmpty && shared.shares.map(\.source) == ["/v"])
    }
}
