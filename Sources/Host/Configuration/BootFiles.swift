import Digest
import Glibc
import LinuxKernel

/// The files that a VM boots from. Each is opened once: the hypervisor gets the descriptor that was hashed.
package struct BootFiles: Sendable, Equatable {
    package let kernel: OpenFile
    package let initrd: OpenFile?
    package let image: OpenFile?
    /// nil if the hypervisor finds its firmware by name.
    package let firmware: OpenFile?
}

extension Configuration {
    /// Opens the files that a VM boots from, and checks their hashes.
    /// - Parameter checkingHashes: false if no VM is started from them.
    /// - Throws: `ConfigurationError` for a file or program that is missing, or has another hash.
    package func openFiles(checkingHashes: Bool = true) throws(ConfigurationError) -> BootFiles {
        for key in known.keys where key.hostFile == .program {
            guard case .string(let path) = value(key), Files.exists(path) else {
                throw wrong(key, "\(value(key)): no such file")
            }
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

    /// - Parameter isMapped: whether the guest maps the file, which is then not copied.
    private func open(_ key: Key<String>, hash: Key<String>? = nil, isMapped: Bool = false) throws(ConfigurationError)
        -> OpenFile
    {
        let path = self[key]
        guard !path.isEmpty else { throw wrong(key, "not set") }
        let expected = hash.map { self[$0] }?.lowercased() ?? ""
        var file: OpenFile
        var found = expected
        do throws(SystemError) {
            // The path of an annotation was resolved when it was matched.
            file = try OpenFile(path, followsLinks: !wasAnnotated(key))
            // Copy a file that the hypervisor's user can't read, or that a pod could change after it was hashed.
            let needsCopy = self[Keys.rootless] && !file.isReadableByAll || wasAnnotated(key) && !expected.isEmpty
            // A file larger than the VM's memory could not boot.
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
