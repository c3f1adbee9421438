import LinuxKernel

/// The place of a machine's memory.
package enum Memory: Sendable, Equatable {
    /// Anonymous memory of the host, private to this machine.
    case own
    /// A file that remains after the machine, for a template.
    case file(String)
    /// A file with saved contents; the machine waits for the rest of its state.
    case saved
}

/// The firmware that runs before a machine's kernel.
package enum Firmware: Sendable, Equatable {
    /// The firmware that starts the kernel soonest.
    case fastest
    /// A file that was installed with the hypervisor, by its name.
    case named(String)
    case file(OpenFile)
}

/// A virtual machine to start: all decisions are taken, nothing is looked up.
///
/// Settings of one kind of hypervisor are in that kind's type instead.
package struct VMConfiguration: Sendable, Equatable {
    package var name: String
    /// Directory of the machine's sockets and pid file.
    package var directory: String
    package var consoleFile: String

    package var kernel: OpenFile
    package var initrd: OpenFile?
    package var image: RootImage?
    package var firmware = Firmware.fastest
    /// The user's parameters for the guest's kernel; they come last and win.
    package var kernelParameters: [String] = []
    /// Whether the guest's kernel and init log everything to the console.
    package var debug = false

    package var memoryMiB = 2048
    package var maxMemoryMiB = 2048
    /// The maximum number of memory modules that can be added.
    package var memorySlots = 0
    package var memory = Memory.own
    /// Whether memory is added by a virtio-mem device instead of modules.
    package var virtioMem = false
    /// Whether the guest reports freed pages, and the host takes them back.
    package var reclaimsMemory = false
    package var vcpus = 1
    package var maxVCPUs = 1
    /// The maximum number of devices that can be added while the machine runs.
    package var hotPlugPorts = 4
    package var entropySource = "/dev/urandom"

    /// Unix socket of the vhost-user vsock device; nil for none.
    package var vsockSocket: String?
    /// The guest's number on the host kernel's vsock (vhost-vsock), instead of our vhost-user device.
    package var hostVsockCID: UInt32?
    /// Unix socket of the vhost-user device of shared files; nil for none.
    package var shareSocket: String?
    /// The name by which the guest mounts the shared files.
    package var shareTag = ""
    package var shareQueueSize = 1024

    /// Path of the network namespace to start in; nil for an empty one.
    package var networkNamespace: String?
    /// The user of the hypervisor; nil: root, without its capabilities.
    package var user: ProcessUser?

    package init(name: String, directory: String, consoleFile: String, kernel: OpenFile) {
        (self.name, self.directory, self.consoleFile, self.kernel) = (name, directory, consoleFile, kernel)
    }

    /// The directory in which the hypervisor's own mount namespace is prepared.
    package var rootDirectory: String { directory + "/root" }

    /// Files of the host that the guest boots from, without those that a template has in its memory.
    package var bootFiles: [OpenFile] {
        var files = memory == .saved ? [] : [kernel] + (initrd.map { [$0] } ?? [])
        if let image { files.append(image.file) }
        if case .file(let file) = firmware { files.append(file) }
        return files
    }
}
