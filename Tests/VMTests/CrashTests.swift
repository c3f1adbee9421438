import Foundation
import Testing

@Suite(
    "crashes", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct CrashTests {
    /// Variables of `make crash`: every cell, and the table in the documentation. Processes by name, with commas
    /// between, select their cells and rows.
    private static let wanted = ProcessInfo.processInfo.environment["KATA_CRASH"]
    private static let isFull = wanted == "full"

    private static var cells: [CrashCell] {
        guard let wanted, !isFull else { return isFull ? CrashCell.all : CrashCell.few }
        let names = wanted.split(separator: ",")
        return CrashCell.all.filter { names.contains(Substring($0.victim.rawValue)) }
    }

    @Test(
        "whichever process is killed or stopped, and whenever: the manager sees the end, delete succeeds, nothing is left, and another sandbox goes on"
    )
    func matrix() throws {
        let lab = try Lab()
        defer { lab.remove() }
        // SIGTERM has no effect there, and the kernel can be made to panic.
        try lab.bundle("trap : TERM; touch /tmp/ready; while :; do sleep 0.1; done")
        let prepared = try lab.sh(
            """
            jq '.linux.maskedPaths = [] | .linux.readonlyPaths = [] | .process.capabilities |= map_values(["CAP_SYS_ADMIN"])' \\
                bundle/config.json > c && mv c bundle/config.json
            """)
        #expect(prepared.status == 0)
        let other = try lab.sh("\(lab.kata) run -d -b bundle \(Self.other) > /dev/null < /dev/null")
        defer { _ = try? lab.sh("\(lab.kata) delete --force \(Self.other)") }
        #expect(other.status == 0, "\(other.error)")
        if Self.cells.contains(where: { $0.victim == .agent && $0.obstacle == nil }) {
            // In this guest the agent is not init.
            let image = try lab.sh(
                "\(lab.binaries)/kata-osbuilder image --init systemd --rootfs \(Lab.source!)/out/systemd-rootfs --agent \(lab.binaries)/kata-agent -o agent.img"
            )
            #expect(image.status == 0, "\(image.error)")
        }
        var results: [(CrashCell, String)] = []
        for cell in Self.cells {
            if let obstacle = cell.obstacle {
                results.append((cell, obstacle))
                continue
            }
            let outcome = try lab.sh(cell.script(lab, step: Self.wanted == nil ? 6 : 1))
            let words = outcome.output.split(separator: "\n").last.map(String.init) ?? "no answer"
            results.append((cell, words))
            #expect(words.hasPrefix("ok "), "\(cell): \(outcome.output) \(outcome.error)")
            let beside = try lab.sh(
                "grep -c kata_overhead/\(Self.other) /proc/$(cat /run/vc/vm/\(Self.other)/qemu.pid)/cgroup | grep -cv '^0$'"
            )
            #expect(beside.output == "1\n", "\(cell): the sandbox beside it: \(beside.error)")
            // Removes the remains of a cell before the next one.
            if !words.hasPrefix("ok ") { _ = try lab.sh(Self.sweep(lab)) }
        }
        if Self.wanted != nil { try Reliability.write(table: try Self.table(results), named: "crash matrix") }
    }

    @Test("a shim's delete that its manager kills half-way comes to its end")
    func killedDelete() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("true")
        let outcome = try lab.sh(
            """
            cd bundle; ledger=/run/vc/vm/t-cut-short/ledger
            shim() { exec \(lab.binaries)/containerd-shim-kata-v2 -namespace t-cut-short -address a -id t-cut-short $1 < /dev/null; }
            (shim start) > /dev/null; kill -9 $(cat shim.pid)
            # Somebody else has begun to take it away.
            flock $ledger sleep 1 & for i in $(seq 400); do flock -n $ledger true || break; sleep 0.02; done
            shim delete > answer & deletion=$!
            sleep 0.3; kill -9 $deletion; wait $deletion; echo $?; wc -c < answer; ls $ledger
            """)
        #expect(outcome.output == "137\n0\n/run/vc/vm/t-cut-short/ledger\n", "\(outcome.error)")
        #expect(try lab.leftovers("t-cut-short") == "")
    }

    private static let other = "t-bystander"

    private static func sweep(_ lab: Lab) -> String {
        """
        for i in $(pgrep -f 't-crash'); do kill -CONT $i; done; \(lab.kata) delete --force t-crash; \(lab.kata) check --leaks --fix; sleep 1; rm -rf state/t-crash
        """
    }

    /// Keeps rows of processes that were not tried this time.
    private static func table(_ results: [(CrashCell, String)]) throws -> String {
        let before = try Reliability.table(named: "crash matrix")
        var lines = ["| who | blow | \(CrashCell.Moment.allCases.map(\.rawValue).joined(separator: " | ")) |"]
        lines.append("|---|---|" + String(repeating: "---|", count: CrashCell.Moment.allCases.count))
        for victim in CrashCell.Victim.allCases {
            for blow in CrashCell.Blow.allCases {
                let row = results.filter { $0.0.victim == victim && $0.0.blow == blow }
                let name = "| \(victim.rawValue) | \(blow.rawValue) | "
                if row.isEmpty {
                    lines += before.filter { $0.hasPrefix(name) }
                    continue
                }
                let cells = CrashCell.Moment.allCases.map { moment -> String in
                    guard let (cell, words) = row.first(where: { $0.0.moment == moment }) else { return "–" }
                    if let obstacle = cell.obstacle { return obstacle }
                    let parts = words.split(separator: " ")
                    guard parts.first == "ok", parts.count == 3 else { return "FAILED" }
                    return "\(parts[1]) + \(parts[2])"
                }
                lines.append(name + cells.joined(separator: " | ") + " |")
            }
        }
        let cells = lines.dropFirst(2).flatMap { $0.split(separator: "|").dropFirst(2) }
        let (passed, failed) = (cells.filter { $0.contains(" + ") }.count, cells.filter { $0.contains("FAILED") }.count)
        lines.append("\n\(passed) of \(passed + failed) cells passed.")
        return lines.joined(separator: "\n")
    }
}

/// docs/reliability.md, whose tables come from test runs.
enum Reliability {
    /// The lines of the table with that name.
    static func table(named name: String) throws -> [String] {
        let text = try String(contentsOfFile: Lab.source! + "/docs/reliability.md", encoding: .utf8)
        let lines = text.components(separatedBy: "\n")
        let begin = lines.firstIndex(of: "<!-- begin \(name) -->") ?? 0
        return Array(lines[begin...].prefix { $0 != "<!-- end \(name) -->" })
    }

    /// Replaces the text between `<!-- begin NAME -->` and `<!-- end NAME -->`.
    static func write(table: String, named name: String) throws {
        let path = Lab.source! + "/docs/reliability.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard let begin = text.range(of: "<!-- begin \(name) -->\n"), let end = text.range(of: "<!-- end \(name) -->")
        else { throw LabError(text: "\(path) has no place for the \(name)") }
        try text.replacingCharacters(in: begin.upperBound..<end.lowerBound, with: table + "\n")
            .write(toFile: path, atomically: true, encoding: .utf8)
    }
}
