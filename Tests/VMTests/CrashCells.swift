import Foundation

/// One cell of the crash matrix: process, fault and time. The matrix has every sensible combination of the three.
struct CrashCell: Sendable, CustomStringConvertible {
    enum Victim: String, CaseIterable {
        case shim, qemu, virtiofsd, files, attach, agent, kernel, containerd, dockerd
        // Shortages of the host or the guest.
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

    /// Some cells of each kind, within the time of `make test`.
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
            // Before the container exists it is a waiting child; in the foreground it is the command line itself.
            case .attach: [.created, .running, .stopping]
            case .agent: [.created, .running, .exec, .stopping]
            // The agent is the guest's init: when it ends, the kernel panics.
            case .kernel: [.running, .exec, .stopping]
            case .containerd: [.booting, .running, .exec, .stopping, .deleting]
            // Killed while it starts a container, dockerd forgets what containerd has of it, whatever the runtime.
            case .dockerd: [.running, .exec, .stopping, .deleting]
            // Open descriptors stay open.
            case .descriptors: [.booting]
            case .memory: [.booting, .running, .exec]
            case .guest, .workload: [.running, .exec]
            case .shim, .qemu, .virtiofsd, .files, .disk, .pids: Moment.allCases
            }
        return blows.contains(blow) && moments.contains(moment)
    }

    /// The reason why this host can't run the cell; nil when it can.
    var obstacle: String? { victim == .agent ? Lab.ownKernelObstacle : nil }

    /// Prints `ok`, the milliseconds until the manager saw the end, and those of the deletion; or the fault.
    /// - Parameter step: the difference between two sizes of a scarce resource.
    func script(_ lab: Lab, step: Int = 1) -> String {
        """
        export PATH=\(lab.binaries):$PATH KATA_RUNTIME_CONFIG=\(lab.configuration) KATA_CRASH_STEP=\(step)
        \(Lab.source!)/Tests/VMTests/crash-cell \(victim.rawValue) \(blow.rawValue) \(moment.rawValue)
        """
    }
}
