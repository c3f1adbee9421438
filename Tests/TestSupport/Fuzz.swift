import Glibc
import LinuxKernel

/// How long fuzz tests go on, and what they try: `make fuzz` gives them more than `make test` does, and counts.
package enum Fuzz {
    /// 0: a twentieth, for runs under a sanitizer.
    private static let factor = getenv("KATA_FUZZ").flatMap { Int(String(cString: $0)) } ?? 1

    /// - Parameters:
    ///   - few: in `make test`.
    ///   - decoder: whose inputs they are, for the table in docs/reliability.md.
    ///   - each: inputs a round.
    package static func rounds(_ few: Int, of decoder: String? = nil, each: Int = 1) -> Int {
        let rounds = factor > 0 ? few * factor : max(1, few / 20)
        if let decoder { count(decoder, rounds * each) }
        return rounds
    }

    /// Every input of the corpus, then variations of them, the same every time.
    ///
    /// An input that kills the process is left in /tmp/kata-fuzz-<corpus>-<number>: it belongs into the corpus, with
    /// the repair.
    /// - Parameters:
    ///   - corpus: a directory below Tests/Corpus.
    ///   - more: inputs that are made, not stored.
    package static func inputs(_ decoder: String, corpus: String, more: [[UInt8]] = [], rounds few: Int) throws
        -> Inputs
    {
        let directory = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined() + "/Corpus/" + corpus
        let stored = try Files.list(directory).map { try Files.read(directory + "/" + $0) }
        precondition(!(stored + more).isEmpty, "\(directory) is empty")
        let rounds = rounds(few)
        count(decoder, rounds + stored.count + more.count)
        return Inputs(seeds: stored + more, rounds: rounds, witness: try Witness(corpus))
    }

    package struct Inputs: Sequence, IteratorProtocol {
        private let mutator: Mutator
        private let witness: Witness
        private var seeds: [[UInt8]]
        private var rounds: Int
        private var random = Seeded(1)

        fileprivate init(seeds: [[UInt8]], rounds: Int, witness: Witness) {
            (self.seeds, self.rounds, self.witness) = (seeds, rounds, witness)
            mutator = Mutator(seeds)
        }

        package mutating func next() -> [UInt8]? {
            guard !seeds.isEmpty || rounds > 0 else {
                witness.remove()
                return nil
            }
            let input = seeds.isEmpty ? mutator.next(using: &random) : seeds.removeLast()
            if seeds.isEmpty { rounds -= 1 }
            witness.remember(input)
            return input
        }
    }

    private static func count(_ decoder: String, _ inputs: Int) {
        guard let path = getenv("KATA_FUZZ_REPORT").map({ String(cString: $0) }),
            let file = try? FileDescriptor.open(path, O_WRONLY | O_CREAT | O_APPEND)
        else { return }
        try? file.writeAll(Array("\(decoder)\t\(inputs)\n".utf8), to: path)
    }

    /// A file that holds the input that is being tried, whatever becomes of this process.
    fileprivate struct Witness {
        private static let room = 1 << 20
        private let path: String
        private let memory: UnsafeMutableRawPointer

        init(_ corpus: String) throws {
            // Tests that share a corpus run side by side: a file that another one shortens would end this one with
            // SIGBUS.
            path = "/tmp/kata-fuzz-\(corpus)-\(UInt32.random(in: 0...UInt32.max))"
            let file = try FileDescriptor.open(path, O_RDWR | O_CREAT | O_TRUNC)
            let raw = file.raw
            try check("size", path) { ftruncate(raw, Self.room) }
            memory = mmap(nil, Self.room, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0)
        }

        func remember(_ input: [UInt8]) {
            input.prefix(Self.room - 8).withUnsafeBytes {
                memory.storeBytes(of: $0.count, as: Int.self)
                if let base = $0.baseAddress { (memory + 8).copyMemory(from: base, byteCount: $0.count) }
            }
        }

        func remove() {
            munmap(memory, Self.room)
            unlink(path)
        }
    }
}

/// Makes inputs from others: bits, numbers at their limits, pieces that are lost, doubled, or come from another input.
private struct Mutator {
    private let seeds: [[UInt8]]
    private static let numbers: [UInt64] = [
        0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff,
        .max,
    ]
    private static let words = [
        "null", "-1", "1e999", "18446744073709551616", "[[[[", "{\"a\":", "\"\\ud800\"", "\u{0}", "%s", "../..",
        "\u{1b}[2J", ",", "=", "[", "\n",
    ].map { Array($0.utf8) }

    init(_ seeds: [[UInt8]]) { self.seeds = seeds }

    func next(using random: inout Seeded) -> [UInt8] {
        var bytes = seeds.randomElement(using: &random)!
        // Most have one wound: those get furthest.
        for _ in 0..<(Bool.random(using: &random) ? 1 : Int.random(in: 2...12, using: &random)) {
            wound(&bytes, &random)
        }
        return bytes
    }

    private func wound(_ bytes: inout [UInt8], _ random: inout Seeded) {
        guard !bytes.isEmpty else {
            bytes = seeds.randomElement(using: &random)!
            return
        }
        let at = Int.random(in: 0..<bytes.count, using: &random)
        let length = min(bytes.count - at, 1 << Int.random(in: 0...8, using: &random))
        switch Int.random(in: 0..<9, using: &random) {
        case 0: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 2, 3:
            // Little-endian and big-endian, of one to eight bytes.
            let width = min(bytes.count - at, [1, 2, 4, 8].randomElement(using: &random)!)
            var number = withUnsafeBytes(of: Self.numbers.randomElement(using: &random)!.littleEndian) {
                Array($0.prefix(width))
            }
            if Bool.random(using: &random) { number.reverse() }
            bytes.replaceSubrange(at..<(at + width), with: number)
        case 4: bytes.removeSubrange(at..<(at + length))
        case 5: bytes.removeSubrange(at...)
        case 6: bytes.insert(contentsOf: bytes[at..<(at + length)], at: at)
        case 7: bytes.insert(contentsOf: Self.words.randomElement(using: &random)!, at: at)
        default:
            let other = seeds.randomElement(using: &random)!
            guard !other.isEmpty else { return }
            let from = Int.random(in: 0..<other.count, using: &random)
            bytes.replaceSubrange(at..<(at + length), with: other[from...].prefix(length))
        }
    }
}
