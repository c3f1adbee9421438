import Foundation

/// One cell of the crash matrix: who is struck, how, and when. The matrix is every sensible combination of the three.
struct CrashCell: Sendable, CustomStringConvertible {
    enum Victim: String, CaseIterable {
        case shim, qemu, virtiofsd, files, attach, agent, kernel, containerd, dockerd
        // What the host, or the guest, has too little of.
        case disk, pids, descriptors, memory, guest, workload
    }
    enum Blow: String, CaseIterable {
        case kill = "KILL"
        case stop = "STOP"
        case full = "FULL"
        case inodes = "INODES"
        case limit = "LIMIT"
        case outOfMemory = "OOM"
    }
    enum Moment: String, CaseIterable { case booting, created, running, exec, stopping, deleting }

    let victim: Victim
    let blow: Blow
    let moment: Moment

    var description: String { "\(victim.rawValue) \(blow.rawValue) \(moment.rawValue)" }

    static let all: [CrashCell] = Victim.allCases.flatMap { victim in
        Blow.allCases.flatMap { blow in Moment.allCases.map { CrashCell(victim: victim, blow: blow, moment: $0) } }
    }.filter(\.isSensible)

    /// Some of each kind: what `make test` has time for.
    static let few = all.filter {
        switch ($0.victim, $0.blow, $0.moment) {
        case (.shim, .kill, .booting), (.shim, .kill, .exec), (.shim, .stop, .running): true
        case (.qemu, .kill, .booting), (.qemu, .kill, .exec), (.qemu, .stop, .running): true
        case (.virtiofsd, .kill, .running), (.files, .stop, .running): true
        case (.attach, .kill, .running), (.attach, .stop, .running): true
        case (.kernel, _, .running), (.containerd, .kill, .running): true
        case (.disk, .full, .booting), (.disk, .inodes, .running), (.pids, _, .booting): true
        case (.memory, _, .running), (.guest, _, .exec): true
        default: false
        }
    }

    private var isSensible: Bool {
        let blows: [Blow] =
            switch victim {
            case .disk: [.full, .inodes]
            case .pids, .descriptors: [.limit]
            case .memory, .guest, .workload: [.outOfMemory]
            case .agent, .kernel, .containerd, .dockerd: [.kill]
            case .shim, .qemu, .virtiofsd, .files, .attach: [.kill, .stop]
            }
        let moments: [Moment] =
            switch victim {
            // Before there is a container it is a child that waits; in the foreground the command line itself is it.
            case .attach: [.created, .running, .stopping]
            case .agent: [.created, .running, .exec, .stopping]
            // Where the agent is the guest's init, its death is the kernel's.
            case .kernel: [.running, .exec, .stopping]
            case .containerd: [.booting, .running, .exec, .stopping, .deleting]
            // Killed while it starts a container, dockerd forgets what containerd has of it, whatever the runtime.
            case .dockerd: [.running, .exec, .stopping, .deleting]
            // What is open stays open.
            case .descriptors: [.booting]
            case .memory: [.booting, .running, .exec]
            case .guest, .workload: [.running, .exec]
            case .shim, .qemu, .virtiofsd, .files, .disk, .pids: Moment.allCases
            }
        return blows.contains(blow) && moments.contains(moment)
    }

    /// What this host lacks for it; nil when it can be tried.
    var obstacle: String? { victim == .agent ? Lab.ownKernelObstacle : nil }

    /// Prints `ok`, how many milliseconds until the manager saw the end, and how many the deletion took; or what was wrong.
    /// - Parameter step: between two sizes of what there is too little of.
    func script(_ lab: Lab, step: Int = 1) -> String {
        """
        export PATH=\(lab.binaries):$PATH KATA_RUNTIME_CONFIG=\(lab.configuration) KATA_CRASH_STEP=\(step)
        \(Lab.source!)/Tests/VMTests/crash-cell \(victim.rawValue) \(blow.rawValue) \(moment.rawValue)
        """
    }
}
