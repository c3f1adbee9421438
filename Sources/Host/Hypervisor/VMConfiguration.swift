import LinuxKernel

/// Where a machine's memory is.
package enum Memory: Sendable, Equatable {
    /// In memory of the host that no other machine has.
    case own
    /// In a file that remains after the machine: a template's.
    case file(String)
    /// In a file that is handed over at the start; the machine waits for the rest of its state.
    case saved
}

/// What a machine runs before its kernel.
package enum Firmware: Sendable, Equatable {
    /// The one that starts the kernel soonest.
    case fastest
    /// A file that was installed with the hypervisor, by its name.
    case named(String)
    case file(OpenFile)
}

/// A virtual machine to start: everything is decided, nothing is looked up.
///
/// Settings of one kind of hypervisor are not here but in that kind's type.
package struct VMConfiguration: Sendable, Equatable {
    package var name: String
    /// Directory of the machine's sockets and pid file.
    package var directory: String
    package var consoleFile: String

    package var kernel: OpenFile
    package var initrd: OpenFile?
    package var image: RootImage?
    package var firmware = Firmware.fastest
    /// Words of the user for the guest's kernel; they come last and win.
    package var kernelParameters: [String] = []
    /// The guest's kernel and init write all they do to the console.
    package var debug = false

    package var memoryMiB = 2048
    package var maxMemoryMiB = 2048
    /// How many times memory can be added as a module.
    package var memorySlots = 0
    package var memory = Memory.own
    /// Memory is added by a virtio-mem device instead of modules.
    package var virtioMem = false
    /// The guest reports the pages that it has freed, and the host takes them back.
    package var reclaimsMemory = false
    package var vcpus = 1
    package var maxVCPUs = 1
    /// How many devices can be added while the machine runs.
    package var hotPlugPorts = 4
    package var entropySource = "/dev/urandom"

    /// Unix socket of the vhost-user vsock device; nil for none.
    package var vsockSocket: String?
    /// The guest's number on the host's own vsock, instead of a device of ours.
    package var hostVsockCID: UInt32?
    /// Unix socket of the vhost-user device of shared files; nil for none.
    package var shareSocket: String?
    /// The name by which the guest mounts the shared files.
    package var shareTag = ""
    package var shareQueueSize = 1024

    /// Path of the network namespace to start in; nil for an empty one.
    package var networkNamespace: String?
    /// The user that the hypervisor runs as; nil: root, without its capabilities.
    package var user: ProcessUser?

    package init(name: String, directory: String, consoleFile: String, kernel: OpenFile) {
        (self.name, self.directory, self.consoleFile, self.kernel) = (name, directory, consoleFile, kernel)
    }

    /// Where the hypervisor's own view of the host's files is put together.
    package var rootDirectory: String { directory + "/root" }

    /// Files of the host that the guest boots from, but for those that a saved machine has in its memory.
    package var bootFiles: [OpenFile] {
        var files = memory == .saved ? [] : [kernel] + (initrd.map { [$0] } ?? [])
        if let image { files.append(image.file) }
        if case .file(let file) = firmware { files.append(file) }
        return files
    }
}
