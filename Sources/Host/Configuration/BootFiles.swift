import Digest
import Glibc
import LinuxKernel

/// What a machine boots from, each file opened once: its hash is taken of the descriptor that QEMU gets.
package struct BootFiles: Sendable, Equatable {
    package let kernel: OpenFile
    package let initrd: OpenFile?
    package let image: OpenFile?
    /// nil for firmware that QEMU finds by its name.
    package let firmware: OpenFile?
}

extension Configuration {
    /// Opens every file that a VM needs, before it is started, and checks that each is the one whose hash is given.
    /// - Parameter checkingHashes: false for a look at the files that starts nothing.
    /// - Throws: for a file or program that is missing, or has another hash.
    package func openFiles(checkingHashes: Bool = true) throws(ConfigurationError) -> BootFiles {
        for key in [Keys.path, Keys.virtioFSDaemon] {
            guard Files.exists(self[key]) else { throw wrong(key, "\(self[key]): no such file") }
        }
        guard !self[Keys.image].isEmpty || !self[Keys.initrd].isEmpty else {
            throw wrong(Keys.initrd, "not set: neither image nor initrd is")
        }
        let hasFirmware = self[Keys.firmware].hasPrefix("/")
        return BootFiles(
            kernel: try open(Keys.kernel, hash: checkingHashes ? Keys.kernelHash : nil),
            initrd: self[Keys.initrd].isEmpty
                ? nil : try open(Keys.initrd, hash: checkingHashes ? Keys.initrdHash : nil),
            image: self[Keys.image].isEmpty
                ? nil : try open(Keys.image, hash: checkingHashes ? Keys.imageHash : nil, isMapped: true),
            firmware: hasFirmware ? try open(Keys.firmware) : nil)
    }

    /// - Parameter isMapped: the guest reads it in place: it isn't copied.
    private func open(_ key: Key<String>, hash: Key<String>? = nil, isMapped: Bool = false) throws(ConfigurationError)
        -> OpenFile
    {
        let path = self[key]
        guard !path.isEmpty else { throw wrong(key, "not set") }
        let expected = hash.map { self[$0] }?.lowercased() ?? ""
        var file: OpenFile
        var found = expected
        do throws(SystemError) {
            // An annotation's path was matched without links.
            file = try OpenFile(path, followsLinks: !wasAnnotated(key))
            // Another user's QEMU couldn't read it; a pod might change it after it was hashed.
            let needsCopy = self[Keys.rootless] && !file.isReadableByAll || wasAnnotated(key) && !expected.isEmpty
            // What is larger than the machine's memory can't be booted.
            if needsCopy, !isMapped { file = try file.sealedCopy(limit: self[Keys.memory] << 20) }
            if !expected.isEmpty, let open = file.file { found = try SHA512.hex(of: open.descriptor, path) }
        } catch {
            throw wrong(key, error.code == ENOENT ? "\(path): no such file" : "\(error)")
        }
        guard found == expected else {
            throw wrong(
                hash ?? key, "\(path) has the SHA-512 \(found.prefix(16))…, not \(expected.prefix(16))…")
        }
        return file
    }
}
