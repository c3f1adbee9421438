import CLinux
import GuestSpec
import LinuxKernel

/// Finds the sources of a container's shares among the mounts that its manager sees. It reads the mounts once.
struct ShareSources {
    /// A source's place in its file system, as far as the path leads to the same file later.
    struct Place {
        let place: FilePlace
        let identity: SourceCopy.Identity
        /// The source's path without links.
        let path: String
    }

    let view: ManagerView?
    /// The mounts that this process sees.
    let ownTable: @Sendable () -> [MountEntry]
    private let numbers: MountNumbers

    init(_ view: ManagerView?) {
        self.view = view
        let ownTable = MountTable.once(of: "thread-self")
        self.ownTable = ownTable
        numbers = MountNumbers(view?.mountTable ?? ownTable())
    }

    /// Whether something is mounted below a source.
    func hasMounts(below source: String, _ place: Place?) -> Bool {
        let path = place?.path ?? source
        return view?.hasMounts(below: path) ?? Mounts.hasMounts(below: Files.absolute(path), table: ownTable())
    }

    /// The place of a source; nil when it can't be told.
    func place(of source: String) -> Place? {
        guard let file = open(source), let facts = try? file.facts(source),
            let (place, path) = numbers.place(of: file)
        else { return nil }
        return Place(place: place, identity: SourceCopy.Identity(facts), path: path)
    }

    private func open(_ source: String) -> FileDescriptor? {
        guard let view else { return try? FileDescriptor.open(source, Int32(clx_open_path)) }
        return view.open(source)
    }

    /// Shares with their places, directories before what is below them, and writers before readers: so that one share
    /// serves all.
    func inOrder(_ shares: [GuestSpec.HostPathShare]) -> [(share: GuestSpec.HostPathShare, place: Place?)] {
        shares.map { ($0, $0.layers == nil ? place(of: $0.source) : nil) }.enumerated().sorted { one, other in
            let keys = [one, other].map { (length($0.element.1), $0.element.0.readOnly ? 1 : 0, $0.offset) }
            return keys[0] < keys[1]
        }.map(\.element)
    }

    private func length(_ place: Place?) -> Int { place?.place.path.utf8.count ?? 0 }
}

extension ShareTable.Wanted {
    /// - Throws: `SystemError` of fstatvfs(3).
    init(_ copy: borrowing SourceCopy, _ share: GuestSpec.HostPathShare, _ place: FilePlace?) throws(SystemError) {
        let flags = try copy.tree.mountFlags(share.source)
        self.init(
            file: .init(device: copy.identity.device, inode: copy.identity.inode), place: place,
            isWritable: !flags.isReadOnly, kind: .init(owners: share.owners, flags: flags.others))
    }
}
