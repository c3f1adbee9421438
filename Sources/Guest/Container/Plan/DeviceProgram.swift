extension DeviceFilter {
    /// The filter as a program for the kernel (BPF_PROG_TYPE_CGROUP_DEVICE): struct bpf_cgroup_dev_ctx in, 1 (allowed)
    /// or 0 out.
    package var program: [UInt64] {
        Self.loadRequest + exceptions.flatMap(block) + [BPF.set(.result, allowsByDefault ? 1 : 0), BPF.exit]
    }

    // Registers that hold the request.
    private static let kind = BPF.Register.second
    private static let access = BPF.Register.third
    private static let major = BPF.Register.fourth
    private static let minor = BPF.Register.fifth
    /// Holds the context until the request is loaded.
    private static let scratch = BPF.Register.context

    /// Loads access << 16 | kind, major and minor.
    private static let loadRequest: [UInt64] = [
        BPF.loadContext(kind, offset: 0), BPF.and(kind, 0xffff), BPF.loadContext(access, offset: 0),
        BPF.shiftRight(access, 16), BPF.loadContext(major, offset: 4), BPF.loadContext(minor, offset: 8),
    ]

    /// Answers requests that the exception is about. Each test that fails jumps over the rest of the block.
    private func block(_ exception: Exception) -> [UInt64] {
        var tests: [(Int16) -> UInt64] = []
        if exception.kind != .any {
            tests.append { BPF.skip($0, unless: Self.kind, is: exception.kind.rawValue) }
        }
        if let major = exception.major { tests.append { BPF.skip($0, unless: Self.major, is: major) } }
        if let minor = exception.minor { tests.append { BPF.skip($0, unless: Self.minor, is: minor) } }
        if exception.access != .all {
            // The part of the requested access that the exception names: any of it is denied, all of it must be
            // allowed.
            tests.append { _ in BPF.move(Self.scratch, from: Self.access) }
            tests.append { _ in BPF.and(Self.scratch, exception.access.rawValue) }
            tests.append { [allowsByDefault] in
                allowsByDefault
                    ? BPF.skip($0, if: Self.scratch, is: 0) : BPF.skip($0, unless: Self.scratch, equals: Self.access)
            }
        }
        let answer = [BPF.set(.result, allowsByDefault ? 0 : 1), BPF.exit]
        let length = tests.count + answer.count
        return tests.enumerated().map { index, test in test(Int16(length - index - 1)) } + answer
    }
}
