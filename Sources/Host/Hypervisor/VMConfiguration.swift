import Glibc
import LinuxKernel

/// Where a machine's memory is.
package enum Memory: Sendable, Equatable {
    /// New, and nobody else's.
    case own
    /// In a file that stays: a template's.
    case file(String)
    /// In the file that QEMU gets as descriptor `QEMUArguments.memoryDescriptor`; the machine waits for the rest of its state.
    case saved
}

/// What a machine runs before its kernel.
package enum Firmware: Sendable, Equatable {
    case fastest
    /// A file of QEMU's own, which finds it.
    case named(String)
    case file(OpenFile)
}

/// A virtual machine to start: everything is decided, nothing is looked up.
package struct VMConfiguration: Sendable, Equatable {
    package var name: String
    package var executable: String
    package var machineType = "q35"
    package var machineAccelerators = ""
    package var accelerator: Accelerator = .tcg
    package var cpuFeatures = ""
    package var kernel: OpenFile
    package var initrd: OpenFile?
    package var image: RootImage?
    package var kernelParameters: [String] = []
    package var firmware = Firmware.fastest
    package var memoryMiB = 2048
    package var maxMemoryMiB = 2048
    package var memorySlots = 0
    package var memory = Memory.own
    /// Memory is added by a virtio-mem device instead of modules (pc-dimm).
    package var virtioMem = false
    /// The guest tells which pages it has freed, and the host takes them.
    package var reclaimsMemory = false
    package var vcpus = 1
    package var maxVCPUs = 1
    package var rootPorts = 4
    package var entropySource = "/dev/urandom"
    package var seccompSandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    /// Half the host's bogomips × 1000; TCG's guests are told, as their own calibration is off.
    package var hostKilohertz = 0
    package var debug = false

    /// Unix sockets of the vhost-user devices; nil for none.
    package var vsockSocket: String?
    /// The guest's number on the host's own vsock instead of a device of ours.
    package var hostVsockCID: UInt32?
    package var shareSocket: String?
    package var shareTag = "kataShared"
    package var shareQueueSize = 1024
    /// Path of the network namespace to start in; nil for an empty one.
    package var networkNamespace: String?
    /// Whom QEMU runs as; nil: root, without its rights.
    package var user: ProcessUser?
    package var consoleFile: String
    package var pidFile: String
    /// Where QEMU's own view of the host's files is put together.
    package var rootDirectory: String { Files.absolute(pidFile + "/../root") }

    package init(name: String, executable: String, kernel: OpenFile, consoleFile: String, pidFile: String) {
        self.name = name
        self.executable = executable
        self.kernel = kernel
        self.consoleFile = consoleFile
        self.pidFile = pidFile
    }
}

extension VMConfiguration {
    /// What the guest boots, by the numbers that QEMU's descriptors of them have. A saved machine has kernel and initrd in its memory.
    var bootFiles: [Int32: OpenFile] {
        var files: [Int32: OpenFile] = [:]
        if memory != .saved {
            files[QEMUArguments.kernelDescriptor] = kernel
            files[QEMUArguments.initrdDescriptor] = initrd
        }
        files[QEMUArguments.imageDescriptor] = image?.file
        if case .file(let file) = firmware { files[QEMUArguments.firmwareDescriptor] = file }
        return files
    }

    /// All that QEMU finds by a path: itself with its libraries and firmware. What the guest boots, sockets, disks, memory and logs come as
    /// open descriptors.
    var privateRoot: PrivateRoot {
        let paths = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache"] + Self.installation(executable)
        var devices = ["/dev/null", entropySource]
        if accelerator == .kvm { devices.append("/dev/kvm") }
        if hostVsockCID != nil { devices.append("/dev/vhost-vsock") }
        return PrivateRoot(directory: rootDirectory, paths: paths, devices: devices)
    }

    /// A program and what was installed with it, where it lies as installed programs do (hier(7)).
    private static func installation(_ executable: String) -> [String] {
        // A script wants a shell and whatever it runs.
        var start: [UInt8] = [0, 0]
        if let file = try? FileDescriptor.open(executable, O_RDONLY), read(file.raw, &start, 2) == 2,
            start == Array("#!".utf8)
        {
            return [executable, "/bin", "/sbin", "/usr"]
        }
        let names = executable.split(separator: "/")
        guard names.count > 1, ["bin", "sbin", "libexec"].contains(names[names.count - 2]) else { return [executable] }
        let prefix = names.dropLast(2).map { "/" + $0 }.joined()
        return [executable, prefix + "/lib", prefix + "/lib64", prefix + "/share"]
    }
}
