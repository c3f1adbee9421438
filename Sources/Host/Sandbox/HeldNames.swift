/// Names of containers that managers no longer see, while something of them is still removed. No new container gets
/// such a name: the guest, the share, cgroups and hooks know a container by its name alone.
struct HeldNames: Sendable {
    private var holders: [String: Int] = [:]

    func contains(_ name: String) -> Bool { holders[name] != nil }

    /// Holds a name until as many calls of `free` as of this.
    mutating func hold(_ name: String) { holders[name, default: 0] += 1 }

    mutating func free(_ name: String) { holders[name] = holders[name].flatMap { $0 > 1 ? $0 - 1 : nil } }
}
