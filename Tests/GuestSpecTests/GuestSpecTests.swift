import AgentAPI
import Cleanup
import LinuxKernel
import OCISpec
import Pod
import Testing

@testable import GuestSpec
@testable import OCISpec

@Suite("The specification that goes to the guest")
struct GuestSpecTests {
    @Test("the guest's specification has the guest's paths, and shares what the host binds")
    func guestSpec() throws {
        var spec = Spec.example
        spec.mounts?.append(Mount(destination: "/data", type: "bind", source: "/host/dir", options: ["rbind", "ro"]))
        spec.linux?.namespaces?.append(.init(type: "user"))
        let guest = try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"))
        #expect(guest.spec.root?.path == "/run/kata-containers/shared/containers/c1/rootfs")
        #expect(guest.spec.linux?.namespaces?.map(\.type) == ["pid", "ipc", "uts", "mount", "cgroup", "user"])
        #expect(
            guest.spec.mounts?.last
                == Mount(
                    destination: "/data", type: "bind", source: "/run/kata-containers/shared/containers/c1-7",
                    options: ["rbind", "ro"]))
        #expect(
            guest.shares == [
                GuestSpec.HostPathShare(
                    source: "/host/dir", mounted: "/run/kata-containers/shared/sandboxes/s1/mounts/c1-7",
                    readOnly: true, recursive: true)
            ])
        #expect(
            guest.translatePaths(
                in: "mount /run/kata-containers/shared/containers/c1-7 on /data: x", paths: .init(sandbox: "s1"))
                == "mount /host/dir on /data: x")
    }

    @Test("the owners of a mount's files are changed on the host: by the mount's own ids, or else by the container's")
    func owners() throws {
        let ids = { (host: UInt32) in [IDMapping(containerID: 0, hostID: host, size: 10)] }
        func guest(_ options: [String], own: [IDMapping]?, _ kind: Files.Kind = .directory) throws -> GuestSpec {
            var spec = Spec.example
            spec.linux?.uidMappings = ids(100)
            spec.linux?.gidMappings = ids(200)
            var mount = Mount(destination: "/x", type: "bind", source: "/s", options: ["rbind"] + options)
            (mount.uidMappings, mount.gidMappings) = (own, own)
            spec.mounts = [mount]
            return try GuestSpec(
                spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), kind: { _ in kind },
                memory: { _ in MemoryFileSystem(device: 57, mountPoints: ["/s"]) })
        }
        func map(_ users: UInt32, _ groups: UInt32, _ isRecursive: Bool) -> OwnerMap {
            let ranges = { (shown: UInt32) in [OwnerMap.Range(first: 0, shown: shown, count: 10)] }
            return OwnerMap(users: ranges(users), groups: ranges(groups), isRecursive: isRecursive)
        }
        for (options, own, expected) in [
            ([], ids(5), map(5, 5, false)), (["idmap"], nil, map(100, 200, false)),
            (["ridmap"], ids(7), map(7, 7, true)), ([], nil, nil),
        ] as [([String], [IDMapping]?, OwnerMap?)] {
            let guest = try guest(options, own: own)
            #expect(guest.shares.map(\.owners) == [expected])
            let mount = guest.spec.mounts?.first
            #expect(mount?.options == ["rbind"] && mount?.uidMappings == nil && mount?.gidMappings == nil)
        }
        let error = #expect(throws: SpecError.self) { try guest(["idmap"], own: nil, .blockDevice) }
        #expect(error?.path == "mounts[0].source")
    }

    @Test(
        "binds over the kernel's own files are left to the guest; other files of the host are shared, whatever their destination"
    )
    func boundFiles() throws {
        func bind(_ source: String, _ destination: String, _ kind: Files.Kind = .directory, _ option: String = "rbind")
            throws
            -> (guest: GuestSpec, mount: Mount?)
        {
            var spec = Spec.example
            spec.mounts = [Mount(destination: destination, type: "bind", source: source, options: [option])]
            let guest = try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), kind: { _ in kind })
            return (guest, guest.spec.mounts?.first)
        }
        for (source, destination, type) in [
            ("/sys/fs/cgroup", "/sys/fs/cgroup", "cgroup"), ("/x", "/proc", "proc"), ("/dev", "/dev", "tmpfs"),
            ("/dev/shm", "/dev/shm", "tmpfs"), ("/dev/mqueue", "/dev/mqueue", "mqueue"),
        ] {
            let (guest, mount) = try bind(source, destination, .directory, "ro")
            #expect(mount?.type == type && mount?.isReadOnly == true && guest.shares.isEmpty, "\(destination)")
        }
        #expect(try bind("/dev/shm", "/dev/shm").mount?.options == ["nosuid", "noexec", "nodev", "mode=1777"])
        for (source, destination, kind) in [
            ("/x", "/dev/x", Files.Kind.directory), ("/log", "/dev/termination-log", .other),
            ("/x/shm", "/dev/shm", .directory),
            ("/dev/net/tun", "/dev/net/tun", .characterDevice(major: 10, minor: 200)),
        ] {
            #expect(try bind(source, destination, kind).guest.shares.map(\.source) == [source])
        }
        #expect(try bind("/x", "/x", .directory, "bind").guest.shares.map(\.recursive) == [false])
        for destination in ["/proc/cpuinfo", "/sys/module"] {
            let (guest, mount) = try bind("/x", destination)
            #expect(mount == nil && guest.droppedMounts == [destination] && guest.shares.isEmpty)
        }
        for source in ["/proc", "/proc/self/mountinfo"] {
            let error = #expect(throws: SpecError.self) { try bind(source, "/host/proc") }
            #expect(error?.path == "mounts[0].source")
            #expect(error?.reason.contains("would read its files as empty") == true)
        }
        let error = #expect(throws: SpecError.self) {
            try bind("/dev/sg0", "/s", .characterDevice(major: 21, minor: 0))
        }
        #expect(error?.path == "mounts[0].source" && error?.reason.contains("(c 21:0) belongs to the host") == true)
    }

    @Test("an overlay is put together on the host, where its directories are, and shared")
    func layers() throws {
        let options = ["lowerdir=/a:/b", "upperdir=/u", "workdir=/w", "private", "ro"]
        let guest = try guestSpec {
            $0.mounts = [Mount(destination: "/o", type: "overlay", source: "/merged", options: options)]
        }
        #expect(guest.shares.map(\.layers) == [options] && guest.shares.map(\.readOnly) == [true])
        #expect(
            guest.spec.mounts == [
                Mount(
                    destination: "/o", type: "bind", source: "/run/kata-containers/shared/containers/c1-0",
                    options: ["private", "ro", "bind"])
            ])
    }

    @Test("what another container has in the guest already is found there, and errors still name the host's path")
    func shown() throws {
        let paths = SandboxPaths(sandbox: "s1")
        let guest = try guestSpec {
            $0.mounts = ["/a", "/b"].map {
                Mount(destination: $0, type: "bind", source: "/host" + $0, options: ["rbind"])
            }
        }
        let wanted = guest.shares.map(\.mounted)
        let moved = guest.moved(
            [wanted[0]: .init(mounted: wanted[1]), wanted[1]: .init(mounted: wanted[1] + "0", isReadOnly: true)],
            paths: paths)
        #expect(
            moved.shares.map(\.mounted) == [wanted[1], wanted[1] + "0"]
                && moved.shares.map(\.source) == ["/host/a", "/host/b"])
        let inGuest = GuestPaths.path(of: wanted[1], below: paths.mounts)
        #expect(moved.spec.mounts?.map(\.source) == [inGuest, inGuest + "0"])
        // The second source's own mount is read-only. The specification does not say so.
        #expect(moved.spec.mounts?.map(\.options) == [["rbind"], ["rbind", "ro"]])
        #expect(moved.translatePaths(in: "mount \(inGuest) on /a: x", paths: paths) == "mount /host/a on /a: x")
        #expect(moved.translatePaths(in: "mount \(inGuest)0 on /b: x", paths: paths) == "mount /host/b on /b: x")
        #expect(guest.moved([:], paths: paths).spec == guest.spec)
    }

    @Test("with the host's /dev come the guest's terminals, memory and queues, unless others are asked for")
    func wholeDev() throws {
        let guest = try guestSpec {
            $0.mounts = [
                Mount(destination: "/dev", type: "bind", source: "/dev", options: ["rbind"]),
                Mount(destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["size=1m"]),
            ]
        }
        #expect(guest.spec.mounts?.map(\.destination) == ["/dev", "/dev/pts", "/dev/mqueue", "/dev/shm"])
    }

    private func guestSpec(_ change: (inout Spec) -> Void) throws -> GuestSpec {
        var spec = Spec.example
        change(&spec)
        return try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), kind: { _ in .other })
    }

    @Test("what belongs to the host is refused with its field, or its place is the guest's")
    func hostThings() throws {
        func field(_ change: (inout Spec) -> Void) -> String? {
            do {
                _ = try guestSpec(change)
                return nil
            } catch { return (error as? SpecError)?.path }
        }
        let disk = Linux.Device(type: "c", path: "/dev/sg0", major: 21, minor: 0)
        let fuse = Linux.Device(type: "c", path: "/dev/fuse", major: 10, minor: 229)
        #expect(field { $0.linux?.devices = [fuse, disk] } == "linux.devices[1]")
        #expect(
            field { $0.linux?.namespaces = [.init(type: "ipc", path: "/proc/1/ns/ipc")] } == "linux.namespaces[0].path")
        var limits = Linux.Resources()
        limits.blockIO = .init()
        limits.blockIO?.throttleReadBpsDevice = [.init(major: 8, minor: 0, rate: 1)]
        #expect(field { $0.linux?.resources = limits } == "linux.resources.blockIO.throttleReadBpsDevice")

        let privileged = try guestSpec {
            $0.linux?.devices = [fuse, disk]
            $0.linux?.resources = Linux.Resources()
            $0.linux?.resources?.devices = [.init(allow: true, access: "rwm")]
        }
        #expect(privileged.droppedDevices == 1)
        let paths = privileged.spec.linux?.devices?.map(\.path) ?? []
        #expect(
            paths == ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"] + (0..<8).map { "/dev/loop\($0)" })
    }

    @Test("of all devices of its host, a privileged container gets those that were asked for beside")
    func askedDevices() throws {
        func privileged(_ devices: [Linux.Device], has paths: [String]) throws -> GuestSpec {
            var spec = Spec.example
            spec.linux?.devices = devices
            spec.linux?.resources = Linux.Resources()
            spec.linux?.resources?.devices = [.init(allow: true, access: "rwm")]
            return try GuestSpec(
                spec, container: "c1", paths: SandboxPaths(sandbox: "s1"),
                kind: { paths.contains($0) ? .blockDevice : nil })
        }
        let (all, once) = (
            Linux.Device(type: "b", path: "/dev/sda", major: 8, minor: 0),
            Linux.Device(type: "b", path: "/dev/mine", major: 8, minor: 16)
        )
        let own = Set(try privileged([], has: []).spec.linux?.devices?.map(\.path) ?? [])
        #expect(own.count == 11)
        for devices in [[all, once], [all, all]] {
            let guest = try privileged(devices, has: ["/dev/sda"])
            #expect(
                guest.droppedDevices == 1
                    && guest.spec.linux?.devices?.prefix { !own.contains($0.path) } == [devices[1]])
            #expect(guest.disks.map(\.use) == [.device(devices[1].path)] && guest.disks.map(\.readOnly) == [false])
        }
        let error = #expect(throws: SpecError.self) {
            try privileged([Linux.Device(type: "c", path: "/dev/modem", major: 4, minor: 64)], has: [])
        }
        #expect(error?.path == "linux.devices[0]")
        var spec = Spec.example
        spec.linux?.resources = Linux.Resources()
        spec.linux?.resources?.devices = [.init(allow: true, access: "rwm")]
        spec.linux?.namespaces?.append(.init(type: "user"))
        let paths = SandboxPaths(sandbox: "s1")
        #expect(try GuestSpec(spec, container: "c1", paths: paths, kind: { _ in nil }).spec.linux?.devices == [])
    }

    @Test("a filter that asks a listener is refused, unless filters stay out of the guest")
    func seccompListener() throws {
        var spec = Spec.example
        var profile = Linux.Seccomp(defaultAction: "SCMP_ACT_ALLOW")
        profile.listenerPath = "/run/l.sock"
        spec.linux?.seccomp = profile
        func guest(_ filtered: Bool) throws -> GuestSpec {
            try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), guestSeccomp: filtered)
        }
        #expect(try guest(true).spec.linux?.seccomp == Linux.Seccomp(defaultAction: "SCMP_ACT_ALLOW"))
        spec.linux?.seccomp?.syscalls = [.init(names: ["mount"], action: "SCMP_ACT_NOTIFY")]
        #expect(throws: SpecError.self) { try guest(true) }
        #expect(try guest(false).spec.linux?.seccomp == nil)
    }

    @Test("in a pod, a namespace's path is the sandbox's; the guest's own replaces it")
    func pods() throws {
        let guest = try guestSpec {
            $0.annotations = ["io.kubernetes.cri.container-type": "container"]
            $0.linux?.namespaces = ["ipc", "uts", "network", "pid"].map { .init(type: $0, path: "/proc/7/ns/\($0)") }
            $0.hostname = nil
        }
        #expect(guest.spec.linux?.namespaces == [] && guest.sharesProcesses)
    }

    @Test("a pod has one IPC namespace, one host name and its settings: the guest's own, for its first container too")
    func podsOwn() throws {
        let first = try guestSpec {
            $0.annotations = ["io.kubernetes.cri.container-type": "sandbox"]
            $0.linux?.namespaces = ["ipc", "uts", "pid", "mount"].map { .init(type: $0) }
            ($0.hostname, $0.domainname) = ("web-0", "example.org")
            $0.linux?.sysctl = ["kernel.shm_rmid_forced": "1"]
        }
        #expect(first.spec.linux?.namespaces?.map(\.type) == ["pid", "mount"] && !first.sharesProcesses)
        // The guest gets the name when the sandbox is made.
        #expect(first.spec.hostname == nil && first.spec.domainname == nil)
        #expect(first.spec.linux?.sysctl == ["kernel.shm_rmid_forced": "1"])
        var spec = Spec.example
        spec.annotations = ["io.kubernetes.cri.container-type": "container"]
        spec.hostname = "web-0"
        spec.linux?.namespaces = ["ipc", "uts", "network", "pid"].map { .init(type: $0, path: "/proc/7/ns/\($0)") }
        // kubectl debug --target: the process ids of one container, everything else of the pod.
        let joins = ["ipc": "s1", "uts": "s1", "pid": "c1"]
        let debug = try GuestSpec(spec, container: "c2", paths: SandboxPaths(sandbox: "s1"), joins: joins)
        #expect(
            debug.spec.linux?.namespaces == [.init(type: "pid", path: ContainerNamespace.path(of: "c1", "pid"))])
        #expect(!debug.sharesProcesses && debug.spec.hostname == nil)
        let alone = try guestSpec { $0.hostname = "alone" }
        #expect(alone.spec.hostname == "alone" && alone.spec.linux?.namespaces?.contains { $0.type == "ipc" } == true)
    }

    @Test(
        "under CRI-O, namespaces that it pins are the guest's own, and the host name that each container states is the pod's",
        arguments: ["sandbox", "container"])
    func pinned(role: String) throws {
        var spec = Spec.example
        spec.annotations = ["io.kubernetes.cri-o.ContainerType": role, "io.kubernetes.cri-o.SandboxID": "s1"]
        spec.hostname = "web-0"
        spec.linux?.namespaces = [.init(type: "pid"), .init(type: "mount")]
        for (type, directory) in [("network", "netns"), ("ipc", "ipcns"), ("uts", "utsns")] {
            spec.linux?.namespaces?.append(.init(type: type, path: "/var/run/\(directory)/2c9a"))
        }
        try spec.validate(source: "config.json")
        let membership = try SandboxMembership(annotationsOf: spec, id: role == "sandbox" ? "s1" : "c1")
        #expect(membership == SandboxMembership(sandbox: "s1", exists: role == "container"))
        let guest = try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"))
        #expect(guest.spec.linux?.namespaces == [.init(type: "pid"), .init(type: "mount")])
        #expect(guest.spec.hostname == nil && !guest.sharesProcesses)
        try guest.spec.validate(source: "the guest's config.json")
    }

    @Test("a pod with ids of its own has one user namespace: its containers join that of the one that opened it")
    func podsUsers() throws {
        let ids = [IDMapping(containerID: 0, hostID: 100_000, size: 65536)]
        func users(_ role: String, path: String?, ids: [IDMapping]?) throws -> [Linux.Namespace]? {
            var spec = Spec.example
            spec.annotations = ["io.kubernetes.cri.container-type": role, "io.kubernetes.cri.sandbox-id": "s1"]
            spec.linux?.namespaces = [
                .init(type: "mount"), .init(type: "ipc"), .init(type: "uts"), .init(type: "user", path: path),
            ]
            spec.linux?.uidMappings = ids
            spec.linux?.gidMappings = ids
            let guest = try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1")).spec
            try guest.validate(source: "the guest's config.json")
            return guest.linux?.namespaces?.filter { $0.type == "user" }
        }
        // containerd names the process of the first container, CRI-O pins a namespace for that one too.
        let joined = Linux.Namespace(type: "user", path: ContainerNamespace.path(of: "s1", "user"))
        #expect(try users("container", path: "/proc/7/ns/user", ids: ids) == [joined])
        #expect(try users("container", path: "/run/userns/2c9a", ids: ids) == [joined])
        #expect(try users("container", path: nil, ids: ids) == [.init(type: "user")])
        #expect(try users("sandbox", path: "/run/userns/2c9a", ids: ids) == [.init(type: "user")])
    }

    @Test("no part of a destination is in a shared path's name on the host")
    func longNames() throws {
        let id = String(repeating: "c", count: 76)
        let names = [String(repeating: "d", count: 255), String(repeating: "\u{20ac}", count: 85)]
        var spec = Spec.example
        spec.mounts = names.map {
            Mount(destination: "/vol/" + $0, type: "bind", source: "/usr", options: ["bind"])
        }
        let guest = try GuestSpec(spec, container: id, paths: SandboxPaths(sandbox: "s1"), kind: { _ in .directory })
        let made = guest.shares.map { Files.name(of: $0.mounted) }
        #expect(made == ["\(id)-0", "\(id)-1"])
        #expect(guest.spec.mounts?.map(\.destination) == names.map { "/vol/" + $0 })
        #expect(guest.spec.mounts?.map { Files.name(of: $0.source ?? "") } == made)
    }

    @Test("missing resource limits are the caller's; stated ones stay")
    func limits() throws {
        let callers = try #require(ResourceLimits((1...16).map { "\($0):\($0 * 10)" }.joined(separator: ",")))
        var spec = Spec.example
        spec.process?.rlimits = [.init(type: "RLIMIT_NOFILE", hard: 3, soft: 2)]
        let guest = try GuestSpec(spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), limits: callers)
        let process = try #require(guest.spec.process)
        #expect(
            process.rlimits?.count == 16 && process.rlimits?.first == .init(type: "RLIMIT_NOFILE", hard: 3, soft: 2))
        #expect(process.rlimits?.contains(.init(type: "RLIMIT_CPU", hard: 10, soft: 1)) == true)
        #expect(process.rlimits?.contains(.init(type: "RLIMIT_RTTIME", hard: 160, soft: 16)) == true)
        try process.validate(source: "process.json")
    }

    @Test(
        "below a read-only bind, mounts stay writable one by one, unless the bind is recursively read-only or there are too many",
        arguments: [
            (["rbind", "ro"], 2, true), (["rbind", "rro"], 2, false), (["bind", "ro"], 2, false),
            (["rbind"], 2, false), (["rbind", "ro"], 65, false),
        ])
    func writableBelow(options: [String], count: Int, isOpen: Bool) throws {
        var spec = Spec.example
        spec.mounts = [Mount(destination: "/data", type: "bind", source: "/host/dir", options: options)]
        let table =
            (1...count).map { "3\($0) 22 0:\($0) / /host/dir/m\($0) rw - tmpfs none rw" } + [
                "21 22 0:8 / /host/dir/closed ro - tmpfs none rw"
            ]
        let entries = MountTable.parse(table.joined(separator: "\n"))
        let paths = SandboxPaths(sandbox: "s1")
        let guest = try GuestSpec(
            spec, container: "c1", paths: paths, kind: { _ in .other }, mountTable: { entries })
        let share = "/run/kata-containers/shared/containers/c1-0"
        #expect(guest.shares.map(\.writableBelow) == [isOpen])
        #expect(guest.shares.map(\.readOnly) == [options != ["rbind"]])
        #expect(guest.closedMounts == (count > 64 ? ["/data"] : []))
        #expect(
            guest.spec.mounts?.dropFirst().map { $0 }
                == (isOpen
                    ? (1...2).map {
                        Mount(destination: "/data/m\($0)", type: "bind", source: share + "/m\($0)", options: ["bind"])
                    } : []))
        let wanted = guest.shares[0].mounted
        let moved = guest.moved([wanted: .init(mounted: wanted + "+")], paths: paths)
        #expect(moved.spec.mounts?.allSatisfy { $0.source?.hasPrefix(share + "+") == true } == true)
    }

    @Test("a namespace that another container of the guest has is named by that container; any other path is refused")
    func joined() throws {
        func namespaces(_ joins: [String: String]) throws -> [OCISpec.Linux.Namespace]? {
            var spec = Spec.example
            spec.linux?.namespaces = ["network", "ipc", "mount", "pid"].map {
                .init(type: $0, path: $0 == "mount" ? nil : "/proc/7/ns/\($0)")
            }
            return try GuestSpec(spec, container: "c2", paths: SandboxPaths(sandbox: "c1"), joins: joins).spec.linux?
                .namespaces
        }
        let path = "/run/kata-containers/c1/namespaces/"
        #expect(
            try namespaces(["ipc": "c1", "pid": "c1"])
                == [
                    .init(type: "ipc", path: path + "ipc"), .init(type: "mount"),
                    .init(type: "pid", path: path + "pid"),
                ])
        let error = #expect(throws: SpecError.self) { try namespaces(["ipc": "c1"]) }
        #expect(error?.path == "linux.namespaces[3].path")
        func refusal(_ type: String, _ path: String) -> String {
            var spec = Spec.example
            spec.linux?.namespaces = [.init(type: type, path: path)]
            let error = #expect(throws: SpecError.self) {
                try GuestSpec(spec, container: "c2", paths: SandboxPaths(sandbox: "c1"), joins: [:])
            }
            return error?.description ?? ""
        }
        for (type, path) in [("mount", "/proc/1/ns/mnt"), ("uts", "/proc/thread-self/ns/uts")] {
            #expect(refusal(type, path).contains("\(path) is the host's"))
        }
        // Another type's namespace.
        #expect(refusal("uts", "/proc/thread-self/ns/ipc").contains("is not of this container's machine"))
        #expect(ContainerNamespace.container(of: path + "ipc") == "c1")
        for other in ["/proc/7/ns/ipc", "/run/kata-containers/c1/rootfs", "/run/kata-containers/a/b/namespaces/ipc"] {
            #expect(ContainerNamespace.container(of: other) == nil)
        }
    }

    @Test(
        "a manager's default AppArmor profile becomes the guest's, another goes along, and unconfined is no profile",
        arguments: [
            ("docker-default", "kata-default"), ("cri-containerd.apparmor.d", "kata-default"),
            ("crio-default", "kata-default"), ("crio-default-1.20.0", "kata-default"),
            ("containers-default-0.57.4", "kata-default"), ("nerdctl-default", "kata-default"),
            ("kata-default", "kata-default"), ("mine", "mine"), ("crio-defaults", "crio-defaults"),
            ("unconfined", nil), ("", nil), (nil, nil),
        ] as [(String?, String?)])
    func profiles(name: String?, inGuest: String?) throws {
        let process = try guestSpec { $0.process?.apparmorProfile = name }.spec.process
        #expect(process?.apparmorProfile == inGuest)
    }

    @Test("labels stay on the host, unless the guest applies them instead of the default profile")
    func labels() throws {
        var process = OCISpec.Process(args: ["a"])
        (process.apparmorProfile, process.selinuxLabel) = ("docker-default", "u:r:t:s0")
        process.replaceHostProfiles(guestSELinux: true)
        #expect(process.apparmorProfile == nil && process.selinuxLabel == "u:r:t:s0")
        #expect(try guestSpec { $0.process?.selinuxLabel = "u:r:t:s0" }.spec.process?.selinuxLabel == nil)
    }

    @Test("hooks of the host stay there, those of the container go along")
    func hooks() throws {
        let hooks = try guestSpec {
            $0.hooks = Hooks(prestart: [Hook(path: "/p")], startContainer: [Hook(path: "/s")])
        }.spec.hooks
        #expect(hooks == Hooks(startContainer: [Hook(path: "/s")]))
    }
}
