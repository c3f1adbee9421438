import TestSupport
import Testing

@testable import OCISpec

@Suite("config.json")
struct SpecTests {
    private func decode(_ text: String) throws -> Spec {
        try Spec.decode(json: Array(text.utf8), source: "config.json")
    }

    @Test("the example survives a round trip and is valid")
    func example() throws {
        let again = try Spec.decode(json: Spec.example.json(pretty: true), source: "config.json")
        #expect(again == Spec.example)
        try again.validate(source: "config.json")
    }

    @Test("unknown fields are ignored, as the specification asks")
    func unknownFields() throws {
        #expect(try decode(#"{"ociVersion":"1.0.2","vm":{},"x":1}"#).ociVersion == "1.0.2")
        // A backslash and six letters are no NUL.
        #expect(try decode(#"{"ociVersion":"1.0.2","hostname":"\\u0000"}"#).hostname == #"\u0000"#)
    }

    @Test(
        "an error names the file, the place and the expected value",
        arguments: [
            (#"{"#, "config.json: not valid JSON"),
            (#"{}"#, "config.json: ociVersion: missing"),
            (
                #"{"ociVersion":"1.0.2","process":{"user":{"uid":"x","gid":0},"cwd":"/"}}"#,
                "config.json: process.user.uid: \"x\" where a whole number is expected"
            ),
            (#"{"ociVersion":"1.0.2","mounts":[{"source":"x"}]}"#, "config.json: mounts[0].destination: missing"),
            (#"{"ociVersion":7}"#, "config.json: ociVersion: 7 where a string is expected"),
            (
                #"{"ociVersion":"1.0.2","mounts":{"a":1}}"#,
                "config.json: mounts: an object where a list or an object is expected"
            ),
            (
                #"{"ociVersion":"1.0.2","process":{"user":{"uid":-5,"gid":0},"cwd":"/"}}"#,
                "config.json: process.user.uid: -5 is out of range"
            ),
            (
                #"{"ociVersion":"1.0.2","linux":{"devices":[{"path":"/x","type":"c","major":-5},{"path":"/x","type":"c","uid":1.5}],"x":-5}}"#,
                "config.json: linux.devices[1].uid: 1.5 is out of range"
            ),
            // To the kernel, a text ends at a NUL: what was checked would not be what is used.
            (
                #"{"ociVersion":"1.0.2","linux":{"devices":[{"path":"/dev/a"},{"path":"/dev/b\u0000/c"}]}}"#,
                "config.json: linux.devices[1].path: holds a NUL byte"
            ),
            // Unknown fields may hold what no value can.
            (#"{"ociVersion":"1.0.2","x":1e999,"hostname":"a\u0000b"}"#, "config.json: holds a NUL byte"),
            (
                #"{"ociVersion":"1.0.2","annotations":{"a\u0000b":"c"}}"#,
                "config.json: annotations.a b: holds a NUL byte"
            ),
        ])
    func errors(text: String, expected: String) {
        do {
            _ = try decode(text)
            Issue.record("accepted \(text)")
        } catch { #expect("\(error)" == expected) }
    }

    @Test(
        "rules of config.md are checked before anything is started",
        arguments: [
            (#"{"ociVersion":"2.0.0"}"#, "ociVersion"), (#"{"ociVersion":"1.0.2"}"#, "root.path"),
            (#"{"ociVersion":"1.0.2","root":{"path":"r"},"mounts":[{"destination":"x"}]}"#, "mounts[0].destination"),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"linux":{"namespaces":[{"type":"x"}]}}"#,
                "linux.namespaces[0].type"
            ),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"/"}}"#,
                "process.args"
            ),
            (
                #"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"x","args":["a"]}}"#,
                "process.cwd"
            ),
        ])
    func rules(text: String, path: String) throws {
        let spec = try decode(text)
        do {
            try spec.validate(source: "config.json")
            Issue.record("accepted \(text)")
        } catch { #expect(error.path == path) }
    }

    @Test(
        "every field is checked; errors name its value and the allowed ones",
        arguments: [
            (#"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"env":["X"]}"#, "process.env[0]"),
            (
                #"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"rlimits":[{"type":"RLIMIT_LUCK","hard":1,"soft":1}]}"#,
                "process.rlimits[0].type"
            ),
            (#"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"oomScoreAdj":1001}"#, "process.oomScoreAdj"),
            (
                #"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"scheduler":{"policy":"SCHED_FAST"}}"#,
                "process.scheduler.policy"
            ),
            (
                #"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"scheduler":{"policy":"SCHED_OTHER","priority":5}}"#,
                "process.scheduler.priority"
            ),
            (
                #"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":8}}"#,
                "process.ioPriority.priority"
            ),
            (
                #"process: {"user":{"uid":0,"gid":0},"cwd":"/","args":["a"],"execCPUAffinity":{"initial":"3-1"}}"#,
                "process.execCPUAffinity.initial"
            ),
            (#"hooks: {"poststop":[{"path":"x"}]}"#, "hooks.poststop[0].path"),
            (#"hooks: {"prestart":[{"path":"/x","timeout":0}]}"#, "hooks.prestart[0].timeout"),
            (#"mounts: [{"destination":"/x","uidMappings":[{"containerID":0,"hostID":0,"size":1}]}]"#, "mounts[0]"),
            (
                #"mounts: [{"destination":"/x","type":"bind","source":"/s","gidMappings":[{"containerID":0,"hostID":0,"size":1}]}]"#,
                "mounts[0].uidMappings, mounts[0].gidMappings"
            ),
            (
                #"mounts: [{"destination":"/x","type":"bind","source":"/s","uidMappings":[{"containerID":0,"hostID":0,"size":1}],"gidMappings":[{"containerID":1,"hostID":0,"size":4294967295}]}]"#,
                "mounts[0].gidMappings[0].size"
            ),
            (
                #"mounts: [{"destination":"/x","type":"bind","source":"/s","uidMappings":[{"containerID":0,"hostID":0,"size":9},{"containerID":8,"hostID":90,"size":1}],"gidMappings":[{"containerID":0,"hostID":0,"size":1}]}]"#,
                "mounts[0].uidMappings[1]"
            ),
            (
                #"mounts: [{"destination":"/x","type":"bind","source":"/s","options":["ridmap"]}]"#,
                "mounts[0].options"
            ),
            (
                #"mounts: [{"destination":"/x","type":"bind","source":"/s","options":["idmap=uids=0-1-10"]}]"#,
                "mounts[0].options"
            ),
            (#"hostname: "x""#, "hostname"),
            (#"linux: {"namespaces":[{"type":"pid"},{"type":"pid"}]}"#, "linux.namespaces[1].type"),
            (#"linux: {"namespaces":[{"type":"user"}]}"#, "linux.uidMappings, linux.gidMappings"),
            (#"linux: {"uidMappings":[{"containerID":0,"hostID":0,"size":1}]}"#, "linux.uidMappings"),
            (#"linux: {"timeOffsets":{"boottime":{"secs":1}}}"#, "linux.timeOffsets"),
            (#"linux: {"namespaces":[{"type":"time"}],"timeOffsets":{"realtime":{"secs":1}}}"#, "linux.timeOffsets"),
            (#"linux: {"devices":[{"type":"x","path":"/dev/x"}]}"#, "linux.devices[0].type"),
            (#"linux: {"devices":[{"type":"c","path":"/dev/x"}]}"#, "linux.devices[0]"),
            (#"linux: {"sysctl":{"../x":"1"}}"#, "linux.sysctl"),
            (#"linux: {"rootfsPropagation":"loud"}"#, "linux.rootfsPropagation"),
            (#"linux: {"maskedPaths":["x"]}"#, "linux.maskedPaths[0]"),
            (#"linux: {"personality":{"domain":"BSD"}}"#, "linux.personality.domain"),
            (#"linux: {"intelRdt":{"closID":"x"}}"#, "linux.intelRdt"),
            (#"linux: {"memoryPolicy":{"mode":"x"}}"#, "linux.memoryPolicy"),
            (#"linux: {"resources":{"memory":{"limit":10,"swap":5}}}"#, "linux.resources.memory.swap"),
            (#"linux: {"resources":{"memory":{"disableOOMKiller":true}}}"#, "linux.resources.memory.disableOOMKiller"),
            (#"linux: {"resources":{"cpu":{"cpus":"a"}}}"#, "linux.resources.cpu.cpus"),
            (#"linux: {"resources":{"cpu":{"realtimeRuntime":5}}}"#, "linux.resources.cpu.realtimeRuntime"),
            (#"linux: {"resources":{"blockIO":{"weight":5}}}"#, "linux.resources.blockIO.weight"),
            (
                #"linux: {"resources":{"hugepageLimits":[{"pageSize":"2 MB","limit":1}]}}"#,
                "linux.resources.hugepageLimits[0].pageSize"
            ),
            (#"linux: {"resources":{"network":{"classID":1}}}"#, "linux.resources.network"),
            (#"linux: {"resources":{"unified":{"../memory.max":"1"}}}"#, "linux.resources.unified"),
            (#"linux: {"resources":{"devices":[{"allow":true,"access":"rx"}]}}"#, "linux.resources.devices[0].access"),
        ])
    func fields(text: String, path: String) throws {
        let colon = try #require(text.firstIndex(of: ":"))
        let field = "\"\(text[..<colon])\":\(text[text.index(after: colon)...])"
        let spec = try decode(#"{"ociVersion":"1.2.0","root":{"path":"r"},"# + field + "}")
        do {
            try spec.validate(source: "config.json")
            Issue.record("accepted \(text)")
        } catch { #expect(error.path == path, "\(error)") }
    }

    @Test("a host name in the host's network is refused with the network's name")
    func hostNetwork() throws {
        for (namespaces, isNamed) in [("", true), (#"{"type":"network"}"#, false)] {
            let spec = try decode(
                #"{"ociVersion":"1.2.0","root":{"path":"r"},"hostname":"x","linux":{"namespaces":[\#(namespaces)]}}"#)
            let error = #expect(throws: SpecError.self) { try spec.validate(source: "config.json") }
            #expect(error?.description.hasSuffix("; host networking is not possible in a machine") == isNamed)
        }
    }

    @Test("a capability that no kernel has is warned of, and no error")
    func capabilities() throws {
        var process = Process(args: ["a"])
        process.capabilities = .init()
        process.capabilities?.bounding = ["CAP_KILL", "CAP_FLY"]
        process.capabilities?.ambient = ["SWIM"]
        try process.validate(source: "x")
        #expect(
            process.warnings(at: "process.") == [
                #"process.capabilities.bounding[1]: unknown capability "CAP_FLY" is left out (capabilities(7))"#,
                #"process.capabilities.ambient[0]: unknown capability "SWIM" is left out (capabilities(7))"#,
            ])
    }

    @Test("features are the specification's fields, and list only supported ones")
    func features() throws {
        guard case .object(let fields)? = JSONValue.parse(Features.current.json()) else {
            Issue.record("no object")
            return
        }
        #expect(
            fields.keys.sorted() == ["annotations", "hooks", "linux", "mountOptions", "ociVersionMax", "ociVersionMin"])
        guard case .object(let linux)? = fields["linux"], case .object(let seccomp)? = linux["seccomp"] else {
            Issue.record("no linux.seccomp")
            return
        }
        let known = [
            "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt", "memoryPolicy",
            "mountExtensions",
            "netDevices",
        ]
        #expect(Set(linux.keys).isSubset(of: known))
        #expect(
            Set(seccomp.keys).isSubset(of: ["enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"])
        )
        let hook = [Hook(path: "/x")]
        let all = Hooks(
            prestart: hook, createRuntime: hook, createContainer: hook, startContainer: hook, poststart: hook,
            poststop: hook)
        #expect(Features.current.hooks == all.stages.map(\.name))
    }

    @Test("a hook's program has the last of several values of a variable")
    func hookEnvironment() {
        #expect(Hook(path: "/h", env: ["A=1", "B=2", "A=3"]).program.environment == ["B=2", "A=3"])
    }

    @Test("capabilities of an exec become ambient too where the container lists inheritable ones")
    func addedCapabilities() {
        var sets = Process.Capabilities()
        sets.bounding = ["CAP_KILL"]
        var added = sets.adding(["CAP_CHOWN"])
        #expect(added.bounding == ["CAP_KILL", "CAP_CHOWN"])
        #expect(added.effective == ["CAP_CHOWN"] && added.permitted == ["CAP_CHOWN"])
        #expect(added.ambient == nil && added.inheritable == nil)
        sets.inheritable = ["CAP_CHOWN"]
        added = sets.adding(["CAP_CHOWN"])
        #expect(added.ambient == ["CAP_CHOWN"] && added.inheritable == ["CAP_CHOWN"])
    }

    @Test("a hook gets the state, and ends with its status or at its limit")
    func hooks() throws {
        let state = State(Spec.example, id: "c1", bundle: "/b", pid: 7)
        try Hook(path: "/bin/sh", args: ["sh", "-c", "grep -q '\"id\":\"c1\"'"], env: ["PATH=/bin:/usr/bin"]).program
            .run("prestart", input: state.json(), within: Hook.defaultLimit)
        func failure(_ hook: Hook) -> String {
            do {
                try hook.program.run("prestart", input: state.json(), within: Hook.defaultLimit)
                return ""
            } catch { return error.description }
        }
        let talking = Hook(path: "/bin/sh", args: ["sh", "-c", "echo no luck >&2; exit 3"])
        #expect(failure(talking) == "prestart hook /bin/sh: exited with status 3: no luck")
        #expect(failure(Hook(path: "/nope")).contains("no such file"))
        let slow = Hook(path: "/bin/sh", args: ["sh", "-c", "exec sleep 30"], env: ["PATH=/bin:/usr/bin"], timeout: 1)
        #expect(failure(slow) == "prestart hook /bin/sh: took longer than 1.0 seconds")
        // A background process of the hook delays nothing.
        let leaving = Hook(path: "/bin/sh", args: ["sh", "-c", "sleep 2 &"], env: ["PATH=/bin:/usr/bin"], timeout: 60)
        let begin = ContinuousClock.now
        #expect(failure(leaving) == "" && ContinuousClock.now - begin < .seconds(2))
    }
}
