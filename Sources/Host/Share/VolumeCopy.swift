import CLinux
import Glibc
import LinuxKernel

/// A copy of a volume that kubelet updates in one step: ConfigMap, Secret, downwardAPI, projected.
///
/// kubelet writes a new directory, renames a link `..data` to it over the old link, and removes the old directory. The
/// guest keeps names for a while (`cache` of virtiofsd): through the old link it would look for files that are gone.
/// In the copy the old directory stays longer than the guest keeps names, so a reader sees the old files or the new.
///
/// The guest can't write to the copy. It may write to the source, where another volume leads to a directory that looks
/// like this kind. So nothing of the source is followed as a link, or used as a path, without a check.
struct VolumeCopy {
    private static let link = "..data"
    private static let kinds: Set<String> = [
        "kubernetes.io~configmap", "kubernetes.io~secret", "kubernetes.io~projected", "kubernetes.io~downward-api",
    ]
    /// Limits of what is copied. A larger volume is shared as it is. Kubernetes allows 1 MiB for each source.
    private static let maxFiles = 1000
    private static let maxBytes = 4 << 20
    /// Attempts at the first copy, where kubelet updates the volume at that time.
    private static let maxAttempts = 10

    /// Without links.
    let source: String
    let target: String
    /// Changes of the files' owners; nil: they are the volume's.
    private let owners: OwnerMap?
    /// The directory that `..data` leads to.
    private var current = ""
    /// Directories that it led to before, and the time at which each may go.
    private(set) var outdated: [(name: String, until: ContinuousClock.Instant)] = []

    /// Whether a directory is such a volume: kubelet names its parent for the kind.
    static func isNeeded(for path: String) -> Bool {
        kinds.contains(Files.name(of: Files.parent(of: path))) && Files.isLink(path + "/" + link)
    }

    /// Makes the copy.
    /// - Throws: `SystemError` for what can't be copied.
    init(of source: String, at target: String, owners: OwnerMap? = nil) throws(SystemError) {
        guard let real = Files.real(source) else { throw SystemError("look at", source, errno: errno) }
        (self.source, self.target, self.owners) = (real, target, owners)
        let facts = try FoundFile(source).facts
        try Files.makeDirectory(target)
        try give(target, facts)
        for _ in 1..<Self.maxAttempts where try updateIfStill() { return }
        try update()
    }

    /// - Returns: false where kubelet has updated the volume meanwhile.
    private mutating func updateIfStill() throws(SystemError) -> Bool {
        do {
            try update()
            return true
        } catch  where error.code == ENOENT {
            return false
        }
    }

    /// Brings the copy to the present state of the volume.
    ///
    /// First reads all of it, then shows it to the guest: kubelet removes files and names of a version only after it
    /// has exchanged the link. So what was read is whole if the link is still the same.
    /// - Throws: ENOENT where kubelet has updated the volume meanwhile: another change is reported then.
    mutating func update() throws(SystemError) {
        let name = try Files.link(source + "/" + Self.link)
        // kubelet's name is `..` and a time. `..` itself would be the directory above.
        guard name.hasPrefix(".."), name != "..", !name.utf8.contains(UInt8(ascii: "/")), name != Self.link else {
            throw SystemError("copy volume", source, errno: EINVAL)
        }
        let unready = target + "/..new"
        if name != current { try read(name, to: unready) }
        var links: [String: String] = [:]
        for name in try Files.names(in: source) where !name.hasPrefix("..") {
            links[name] = try Files.link(source + "/" + name)
        }
        guard try Files.link(source + "/" + Self.link) == name else {
            throw SystemError("copy volume", source, errno: ENOENT)
        }
        if name != current { try show(unready, as: name) }
        try setLinks(links)
    }

    /// Removes directories that no reader can be in any more.
    mutating func removeOutdated() {
        for directory in outdated where directory.until <= .now { Files.removeTree(target + "/" + directory.name) }
        outdated.removeAll { $0.until <= .now }
    }

    /// Copies a version to a directory that no reader looks at.
    private func read(_ name: String, to unready: String) throws(SystemError) {
        guard try Self.facts(source + "/" + name).st_mode & S_IFMT == S_IFDIR else {
            throw SystemError("copy volume", source, errno: ENOTDIR)
        }
        Files.removeTree(unready)
        var (files, bytes) = (Self.maxFiles, Self.maxBytes)
        try copy(source + "/" + name, to: unready, &files, &bytes)
    }

    /// Makes a copied version the present one.
    private mutating func show(_ unready: String, as name: String) throws(SystemError) {
        let directory = target + "/" + name
        Files.removeTree(directory)
        outdated.removeAll { $0.name == name }
        // SAFETY: the call only reads the two paths.
        try check("rename", unready) { unsafe rename(unready, directory) }
        try setLink(Self.link, to: name)
        if !current.isEmpty { outdated.append((current, .now + Deadline.oldVolume.limit)) }
        current = name
    }

    /// Sets the links in the volume's top directory, which lead through `..data`.
    private func setLinks(_ links: [String: String]) throws(SystemError) {
        for (name, place) in links where (try? Files.link(target + "/" + name)) != place {
            try setLink(name, to: place)
        }
        for name in try Files.names(in: target) where !name.hasPrefix("..") && links[name] == nil {
            // SAFETY: the call only reads the path.
            unsafe unlink(target + "/" + name)
        }
    }

    private func setLink(_ name: String, to place: String) throws(SystemError) {
        let (unready, path) = (target + "/..link", target + "/" + name)
        // SAFETY: the calls only read their paths.
        unsafe unlink(unready)
        try check("make link", path) { unsafe symlink(place, unready) }
        try check("rename", unready) { unsafe rename(unready, path) }
        let facts = try? Self.facts(source + "/" + name)
        if let owner = facts.map(owner) { unsafe lchown(path, owner.user, owner.group) }
    }

    // MARK: Files

    private static func facts(_ path: String) throws(SystemError) -> stat {
        var facts = stat()
        // SAFETY: lstat(2) reads the path and fills the whole structure.
        try check("look at", path) { unsafe lstat(path, &facts) }
        return facts
    }

    private func copy(_ source: String, to target: String, _ files: inout Int, _ bytes: inout Int)
        throws(SystemError)
    {
        let facts = try Self.facts(source)
        files -= 1
        bytes -= facts.st_mode & S_IFMT == S_IFREG ? Int(facts.st_size) : 0
        guard files >= 0, bytes >= 0 else { throw SystemError("copy volume", source, errno: EFBIG) }
        // SAFETY: the calls only read their paths.
        switch facts.st_mode & S_IFMT {
        case S_IFDIR:
            try check("make directory", target) { unsafe mkdir(target, 0o700) }
            for name in try Files.names(in: source) {
                try copy(source + "/" + name, to: target + "/" + name, &files, &bytes)
            }
        case S_IFREG: try Files.write(target, try Self.read(source))
        case S_IFLNK:
            let place = try Files.link(source)
            try check("make link", target) { unsafe symlink(place, target) }
            let owner = owner(facts)
            unsafe lchown(target, owner.user, owner.group)
            return
        default: throw SystemError("copy volume", source, errno: EINVAL)
        }
        try give(target, facts)
    }

    /// The owner in the copy.
    private func owner(_ facts: stat) -> (user: UInt32, group: UInt32) {
        owners?.owner(user: facts.st_uid, group: facts.st_gid) ?? (facts.st_uid, facts.st_gid)
    }

    /// Reads a regular file whose path has no link.
    private static func read(_ path: String) throws(SystemError) -> [UInt8] {
        // Without waiting: it may be a fifo by now.
        let file = FileDescriptor(
            // SAFETY: the call only reads the path.
            owning: try unsafe checkNegativeErrno(
                "open", path, clx_open_without_links(path, O_RDONLY | O_NONBLOCK)))
        guard try file.facts(path).st_mode & S_IFMT == S_IFREG else { throw SystemError("read", path, errno: EINVAL) }
        return try file.readAll(path, limit: maxBytes)
    }

    /// Gives a file or directory the attributes of another.
    private func give(_ path: String, _ facts: stat) throws(SystemError) {
        let owner = owner(facts)
        // SAFETY: the calls only read the path, and utimensat(2) the two times of the array.
        try check("give", path) { unsafe chown(path, owner.user, owner.group) }
        // Last: a change of the owner may clear bits (chown(2)).
        try check("set mode of", path) { unsafe chmod(path, facts.st_mode & 0o7777) }
        let times = [facts.st_atim, facts.st_mtim]
        try check("set times of", path) { unsafe utimensat(AT_FDCWD, path, times, 0) }
    }
}
