import Glibc
import LinuxKernel

/// Traffic control.
extension NetlinkSocket {
    /// The kind of a link's ingress queueing discipline, which holds its ingress filters.
    /// - Returns: `ingress`, `clsact`, or nil where the link has none.
    /// - Throws: `SystemError` with the kernel's errno.
    package func ingressDiscipline(of link: Int32) throws(SystemError) -> String? {
        try dump(
            MessageType.getQueueingDiscipline, header: TrafficControl.headerSize, "queueing disciplines",
            of: MessageType.newQueueingDiscipline
        ).lazy.compactMap { QueueingDiscipline($0.payload) }.first {
            $0.link == link && $0.parent == TrafficValue.ingressParent
        }?.kind
    }

    /// Adds an ingress queueing discipline to a link.
    /// - Throws: EEXIST when it has one.
    package func addIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.newQueueingDiscipline, flags: MessageFlags.createNew, TrafficControl.ingress(link),
            "take packets of link", "\(link)")
    }

    /// Removes the ingress queueing discipline and its filters.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link.
    package func deleteIngress(_ link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.deleteQueueingDiscipline, flags: 0, TrafficControl.ingress(link), "give back packets of link",
            "\(link)")
    }

    /// The filters of a link's ingress queueing discipline, whatever its kind.
    /// - Throws: `SystemError` with the kernel's errno.
    package func ingressFilters(of link: Int32) throws(SystemError) -> [IngressFilter] {
        try dump(
            MessageType.getTrafficFilter, header: TrafficControl.filters(link), "filters of link \(link)",
            of: MessageType.newTrafficFilter
        ).compactMap { IngressFilter($0.payload) }
    }

    /// Adds a rule to a link's ingress queueing discipline.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link, or EINVAL without the
    ///   discipline.
    package func add(_ rule: IngressRule, on link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.newTrafficFilter, flags: MessageFlags.createNew, rule.payload(on: link),
            "add a rule for packets of link", "\(link)")
    }

    /// Adds a program to a link's ingress queueing discipline.
    /// - Throws: `SystemError` with the kernel's errno, such as ENOENT where the kernel has no bpf filters, or EINVAL
    ///   without the discipline.
    package func add(_ program: IngressProgram, on link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.newTrafficFilter, flags: MessageFlags.createNew, program.payload(on: link),
            "add a program for packets of link", "\(link)")
    }

    /// Removes all filters with the priority and protocol of one.
    /// - Throws: `SystemError` with the kernel's errno, such as ENODEV without the link, or ENOENT without such a
    ///   filter.
    package func delete(_ filter: IngressFilter, on link: Int32) throws(SystemError) {
        try acknowledge(
            MessageType.deleteTrafficFilter, flags: 0,
            TrafficControl.filters(link, priority: filter.priority, protocol: filter.protocol),
            "remove a rule for packets of link", "\(link)")
    }
}
