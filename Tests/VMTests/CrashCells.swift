import Foundation

/// One cell of the crash matrix: who is struck, how, and when. The matrix is every sensible combination of the three.
struct CrashCell: Sendable, CustomStringConvertible {
    enum Victim: String, CaseIterable { case shim, qemu, virtiofsd, files, attach, kernel, containerd }
    enum Blow: String, CaseIterable {
        case kill = "KILL"
        case stop = "STOP"
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
        default: false
        }
    }

    private var isSensible: Bool {
        switch victim {
        case .attach:
            // Before there is a container it is a child that waits; in the foreground the command line itself is it.
            moment == .created || moment == .running || moment == .stopping
        // The agent is the guest's init: its death is the kernel's.
        case .kernel: blow == .kill && (moment == .running || moment == .exec || moment == .stopping)
        case .containerd: blow == .kill && moment != .created
        default: true
        }
    }

    /// Prints `ok`, how many milliseconds until the manager saw the end, and how many the deletion took; or what was wrong.
    func script(_ lab: Lab) -> String {
        """
        export PATH=\(lab.binaries):$PATH KATA_RUNTIME_CONFIG=\(lab.configuration)
        \(Lab.source!)/Tests/VMTests/crash-cell \(victim.rawValue) \(blow.rawValue) \(moment.rawValue)
        """
    }
}
