import LinuxKernel

/// Keys of the shim and of kata-runtime.
extension Keys {
    package static let runtimeDebug = Key(
        "runtime.enable_debug", false, "Log the shim's and kata-runtime's steps, at debug level.")
    package static let createTimeout = Key(
        Deadline.creation.key!, Deadline.creation.seconds, in: 1...86400,
        annotation: .atMost("create_container_timeout"),
        "Maximum time that the guest may take to create a container, in seconds.")
    package static let disableGuestSeccomp = Key(
        "runtime.disable_guest_seccomp", false, annotation: .only(false, "disable_guest_seccomp"),
        "Don't load containers' seccomp filters in the guest.")
    package static let sandboxGroupOnly = Key(
        "runtime.sandbox_cgroup_only", false, annotation: .only(true, "sandbox_cgroup_only"),
        "Put the VM, virtiofsd and the shim into the pod's cgroup on the host, whose limit of memory must hold them all. "
            + "False: they are in one below /kata_overhead, and the pod's limits bind the VM's processor time alone.")
    package static let overheadMemory = Key(
        "runtime.overhead_memory_limit", 1024, in: 0...4_194_304,
        "Memory limit of the cgroup below /kata_overhead, in MiB beside the guest's memory; 0: no limit.")
    package static let overheadTasks = Key(
        "runtime.overhead_pids_limit", 1024, in: 0...4_194_304,
        "Maximum number of processes and threads in that cgroup; 0: no limit.")
    package static let staticSizing = Key(
        "runtime.static_sandbox_resource_mgmt", false,
        "Keep the size that the VM boots with: what its first container, or the pod's annotations, ask for.")
    package static let internetworkingModel = Key(
        "runtime.internetworking_model", "tcfilter", allowed: ["tcfilter", "macvtap", "none"],
        annotation: .only("none", "internetworking_model"),
        "How frames get from an interface of the sandbox's network namespace to the guest: by tc filters to a tap, by "
            + "a macvtap on the interface, or by a tap that the runtime leaves alone.")
    package static let disableNewNamespace = Key(
        "runtime.disable_new_netns", false, annotation: .only(true, "disable_new_netns"),
        "Create no network namespace for the sandbox, and no network in the guest. Needs internetworking_model none.")

    static let runtimeKeys: [any AnyKey] = [
        runtimeDebug, createTimeout, disableGuestSeccomp, sandboxGroupOnly, overheadMemory, overheadTasks,
        staticSizing, internetworkingModel, disableNewNamespace,
    ]
}
