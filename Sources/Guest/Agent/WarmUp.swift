import Container
import OCISpec

/// Reads and plans a container that nobody wants, while the host gets the first one ready: what a process does for the first time takes five
/// times as long as the second.
enum WarmUp {
    static func run(_ zygote: Zygote) {
        if let plan = try? plan() { zygote.warmUp(plan) }
    }

    static func plan() throws -> ContainerPlan {
        try ContainerPlan(
            OCISpec.Spec.decode(json: Array(document.utf8), source: "warmUp"), container: "warmUp")
    }

    /// As managers write it. A text, as what encodes one is of no further use here.
    private static let document = #"""
        {"ociVersion":"1.2.0","process":{"args":["sh"],
          "capabilities":{"bounding":["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"],"effective":["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"],"permitted":["CAP_AUDIT_WRITE","CAP_KILL","CAP_NET_BIND_SERVICE"]},
          "cwd":"/",
          "env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","TERM=xterm"],
          "noNewPrivileges":true,
          "rlimits":[{"hard":1024,"soft":1024,"type":"RLIMIT_NOFILE"}],
          "terminal":false,
          "user":{"uid":0,"gid":0,"additionalGids":[0]}},
         "root":{"path":"rootfs","readonly":true},"hostname":"kata","mounts":[
          {"destination":"/proc","source":"proc","type":"proc"},
          {"destination":"/dev","options":["nosuid","strictatime","mode=755","size=65536k"],"source":"tmpfs","type":"tmpfs"},
          {"destination":"/dev/pts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"],"source":"devpts","type":"devpts"},
          {"destination":"/dev/shm","options":["nosuid","noexec","nodev","mode=1777","size=65536k"],"source":"shm","type":"tmpfs"},
          {"destination":"/dev/mqueue","options":["nosuid","noexec","nodev"],"source":"mqueue","type":"mqueue"},
          {"destination":"/sys","options":["nosuid","noexec","nodev","ro"],"source":"sysfs","type":"sysfs"},
          {"destination":"/sys/fs/cgroup","options":["nosuid","noexec","nodev","relatime","ro"],"source":"cgroup","type":"cgroup"}],
         "linux":{"maskedPaths":["/proc/acpi","/proc/asound","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/sys/firmware","/proc/scsi"],
          "namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"}],
          "readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"],
          "cgroupsPath":"/warmUp",
          "resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}],"memory":{"limit":268435456},"cpu":{"shares":1024,"quota":100000,"period":100000}}}}
        """#
}
